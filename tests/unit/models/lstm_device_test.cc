// The LSTM's states in a device's memory, against those of the host: what is carried there, what
// becomes of new series, of pasts that come late, and of a device that fails.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "models/lstm/device.h"
#include "models/lstm/lstm.h"
#include "models/means/means.h"
#include "tests/unit/kernels/guarded_ops.h"
#include "tests/unit/models/lstm_world.h"

namespace foreshadow::models {
namespace {

using namespace testing;  // of this folder
using ::testing::NanSensitiveFloatEq;
using ::testing::Pointwise;

constexpr int64_t kChunk = 64;  // so that there are several
constexpr int64_t kMinuteMs = 60'000;
constexpr int kMinutes = 30;
constexpr double kNear = 1e-5;  // of the spread of a step's quantiles

class LstmOnDevice : public kernels::testing::OnDevice {
 protected:
  void Make(int window_steps) {
    std::unique_ptr<LstmNetwork> network;
    const LstmCard card = Card(window_steps, /*hidden=*/8);
    MakeNetwork(card, network, runner_);
    auto lstm = MakeLstm(card, network->Weights(), 2);
    ASSERT_TRUE(lstm.ok()) << lstm.status();
    at_finer_steps_ = OverMeans(*std::move(lstm), kStepMs);
  }
  // What the host says that sees all of it at once.
  QuantileBlock Window(const History& history) const {
    QuantileBlock out;
    FollowLstm(runner_, history, kSteps, 2, nullptr, out);
    return out;
  }
  void ExpectWindow(LstmDevice& device, const History& history) const {
    const absl::Status status = device.Follow(runner_, history, kSteps, 2);
    ASSERT_TRUE(status.ok()) << status;
    const QuantileBlock& out = device.answers();
    ASSERT_EQ(out.series, history.values.series);
    EXPECT_LT(Difference(out, Window(history), 0, out.series), kNear) << history.values.steps;
  }
  // The same of the world's steps as minutes, which the model sees in fives.
  void ExpectWindowOfMinutes(std::any& carried, History history) const {
    history.end_ms = kStartMs + (history.end_ms - kStartMs) / kStepMs * kMinuteMs;
    history.step_ms = kMinuteMs;
    absl::Status status = at_finer_steps_->ContinueOn(*device_, history, kMinutes, carried);
    ASSERT_TRUE(status.ok()) << status;
    QuantileBlock out, window;
    at_finer_steps_->TakeAnswers(carried, 0, history, kMinutes, out);
    std::any anew;
    status = at_finer_steps_->Continue(history, kMinutes, anew, window);
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_EQ(out.series, history.values.series);
    EXPECT_LT(Difference(out, window, 0, out.series), kNear) << history.values.steps;
    constexpr int64_t kFirst = 10;
    History part = history;
    part.values.data += kFirst;
    part.values.series -= kFirst;
    QuantileBlock of_part;
    at_finer_steps_->TakeAnswers(carried, kFirst, part, kMinutes, of_part);
    EXPECT_TRUE(
        std::ranges::equal(std::span(of_part.status), std::span(out.status).subspan(kFirst)));
    for (int64_t s = 0; s < of_part.series; ++s) {
      EXPECT_THAT(of_part.at(s, kMinutes - 1),
                  Pointwise(NanSensitiveFloatEq(), out.at(kFirst + s, kMinutes - 1)));
    }
  }

  LstmRunner runner_;
  std::shared_ptr<const Forecaster> at_finer_steps_;
};
FORESHADOW_ON_DEVICES(LstmOnDevice);

TEST_P(LstmOnDevice, StepsAreTheWindow) {
  Make(200);
  const World world(130, 137);
  LstmDevice device(*device_, kChunk);
  for (const int64_t end : {100, 101, 102, 110, 130}) {  // ticks may be missing
    ExpectWindow(device, world.Until(end, 137));
  }
}

TEST_P(LstmOnDevice, NewSeriesComeAtTheEnd) {
  Make(200);
  World world(130, 200);
  for (int64_t s = 0; s < world.series; ++s) world.drivers[s] = {};
  for (int64_t t = 0; t < 120; ++t) world.values[t * world.series + 14] = kMissing;
  LstmDevice device(*device_, kChunk);
  for (const auto& [end, count] :
       {std::pair{100, 15}, {101, 15}, {102, 40}, {103, 64}, {104, 65}, {106, 200}, {121, 200}}) {
    ExpectWindow(device, world.Until(end, count));
  }
}

TEST_P(LstmOnDevice, AnImportedPastIsSeen) {
  Make(200);
  World world(110, 80);
  const World whole = world;
  for (int64_t t = 0; t < 110; ++t) {
    for (const int64_t s : {0, 6, 7, 70}) world.values[t * 80 + s] = kMissing;
  }
  LstmDevice device(*device_, kChunk);
  ExpectWindow(device, world.Until(107, 80));
  ExpectWindow(device, world.Until(108, 80));
  ExpectWindow(device, whole.Until(110, 80));
}

TEST_P(LstmOnDevice, ADriverMayBeFoundLater) {
  Make(200);
  World world(110, 100);
  World before = world;
  std::ranges::fill(before.drivers, Driver{});
  LstmDevice device(*device_, kChunk);
  LstmDevice without(*device_, kChunk);
  ExpectWindow(device, before.Until(100, 100));
  ExpectWindow(without, before.Until(100, 100));
  world.drivers[0] = {99, 3, 0.4f};  // of another chunk
  ASSERT_TRUE(device.Follow(runner_, world.Until(101, 100), kSteps, 1).ok());
  ASSERT_TRUE(without.Follow(runner_, before.Until(101, 100), kSteps, 1).ok());
  const QuantileBlock& out = device.answers();
  // The state of before knows nothing of it, so this is not quite what the window says.
  EXPECT_GT(Difference(out, without.answers(), 0, 1), 1e-3);
  EXPECT_LT(Difference(out, Window(world.Until(101, 100)), 0, 1), 0.05);
}

TEST_P(LstmOnDevice, WhatDoesNotFollowIsWarmedAnew) {
  Make(20);
  const World world(400, 12);
  LstmDevice device(*device_, kChunk);
  ExpectWindow(device, world.Until(350, 12, 40));
  ExpectWindow(device, world.Until(350, 12, 40));  // no new step
  ExpectWindow(device, world.Until(400, 12, 40));  // too many
  ExpectWindow(device, world.Until(400, 10, 40));  // fewer series
  Make(21);                                        // another model
  ExpectWindow(device, world.Until(400, 10, 40));
}

TEST_P(LstmOnDevice, MinutesAreTheWindow) {
  Make(200);
  const World world(380, 137);
  std::any carried;
  // The same minute twice, and after minutes that are
  // missing.
  for (const int64_t end : {300, 301, 302, 304, 305, 306, 306, 308, 321, 340, 380}) {
    ExpectWindowOfMinutes(carried, world.Until(end, 137));
  }
}

TEST_P(LstmOnDevice, MinutesOfNewSeriesAndPasts) {
  Make(200);
  World world(340, 90);
  for (int64_t s = 0; s < world.series; ++s) world.drivers[s] = {};
  World before = world;
  for (int64_t t = 0; t < 340; ++t) {
    for (const int64_t s : {0, 6, 7, 70}) before.values[t * 90 + s] = kMissing;
  }
  std::any carried;
  ExpectWindowOfMinutes(carried, before.Until(300, 40));
  ExpectWindowOfMinutes(carried, before.Until(301, 64));
  ExpectWindowOfMinutes(carried, before.Until(302, 64));
  ExpectWindowOfMinutes(carried, before.Until(305, 80));
  ExpectWindowOfMinutes(carried, world.Until(306, 80));
  ExpectWindowOfMinutes(carried, world.Until(307, 90));
  ExpectWindowOfMinutes(carried, world.Until(310, 90));
  ExpectWindowOfMinutes(carried, world.Until(311, 90));
}

// Device memory for some series only.
class SmallDevice {
 public:
  static kernels::Ops Make(const kernels::Ops& of) {
    ops_ = &of;
    kernels::Ops small = of;
    small.allocate = [](size_t bytes) {
      return bytes > most_bytes ? nullptr : ops_->allocate(bytes);
    };
    small.wait = [](kernels::Stream stream) {
      const std::string_view error = ops_->wait(stream);
      return fails ? "the device is lost" : error;
    };
    return small;
  }
  static inline size_t most_bytes = 0;
  static inline bool fails = false;

 private:
  static inline const kernels::Ops* ops_ = nullptr;
};

TEST_P(LstmOnDevice, AFailureIsToldAndOver) {
  Make(20);
  const World world(60, 70);
  const kernels::Ops small = SmallDevice::Make(*device_);
  LstmDevice device(small, kChunk);
  SmallDevice::most_bytes = 70 * 288 * sizeof(float);
  absl::Status status = device.Follow(runner_, world.Until(50, 70), kSteps, 1);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  SmallDevice::most_bytes = size_t{1} << 30;
  ExpectWindow(device, world.Until(51, 70));
  SmallDevice::fails = true;
  status = device.Follow(runner_, world.Until(52, 70), kSteps, 1);
  SmallDevice::fails = false;
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(status.message(), "the device is lost");
  ExpectWindow(device, world.Until(53, 70));
}

}  // namespace
}  // namespace foreshadow::models
