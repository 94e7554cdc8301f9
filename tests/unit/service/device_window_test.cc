#include "service/history/device_window.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>

#include "tests/unit/kernels/guarded_ops.h"

namespace foreshadow {
namespace {

using kernels::testing::GuardedMemory;
using ::testing::HasSubstr;

constexpr int64_t kStep = 60'000;

// What is copied in through a table, counted.
struct Counted {
  inline static const kernels::Ops* base = nullptr;
  inline static int64_t bytes_in = 0;
  inline static bool is_full = false;
  inline static bool is_broken = false;

  static kernels::Ops Of(const kernels::Ops& ops) {
    base = &ops;
    is_full = is_broken = false;
    kernels::Ops counted = ops;
    counted.allocate = [](size_t bytes) { return is_full ? nullptr : base->allocate(bytes); };
    counted.copy_in = [](void* to, const void* from, size_t bytes, kernels::Stream stream) {
      bytes_in += static_cast<int64_t>(bytes);
      base->copy_in(to, from, bytes, stream);
    };
    counted.wait = [](kernels::Stream stream) {
      const std::string_view wrong = base->wait(stream);
      return is_broken ? "an illegal access" : wrong;
    };
    return counted;
  }
};

std::vector<float> Read(const kernels::Ops& ops, const kernels::StepMajor<const float>& rows) {
  std::vector<float> values(static_cast<size_t>(rows.steps * rows.stride));
  ops.copy_out(values.data(), rows.data, values.size() * sizeof(float), nullptr);
  EXPECT_EQ(ops.wait(nullptr), "");
  return values;
}

void ExpectEqual(const kernels::Ops& ops, const WindowView& copy, const WindowView& window) {
  ASSERT_EQ(copy.values.steps, window.values.steps);
  ASSERT_EQ(copy.values.series, window.values.series);
  ASSERT_EQ(copy.values.stride, window.values.stride);
  ASSERT_EQ(copy.end_ms, window.end_ms);
  ASSERT_EQ(copy.step_ms, window.step_ms);
  const std::vector<float> values = Read(ops, copy.values);
  ASSERT_EQ(std::memcmp(values.data(), window.values.data, values.size() * sizeof(float)), 0);
}

class DeviceWindowOn : public kernels::testing::OnDevice {
 protected:
  void SetUp() override {
    OnDevice::SetUp();
    if (device_ != nullptr) ops_ = Counted::Of(*device_);
  }
  kernels::Ops ops_;
};

FORESHADOW_ON_DEVICES(DeviceWindowOn);

// Growth, gaps, late samples and jumps drawn at random: the copy is the window's, bit for bit.
TEST_P(DeviceWindowOn, FollowsTheWindow) {
  std::mt19937_64 random(11);
  for (int round = 0; round < 30; ++round) {
    const int64_t steps_max = 1 + static_cast<int64_t>(random() % 40);
    Window window(kStep, steps_max);
    DeviceWindow copy(ops_);
    int32_t accounts = 1;
    int64_t now = 100;
    window.Grow(kSignals);
    for (int tick = 0; tick < 120; ++tick) {
      if (random() % 8 == 0) window.Grow(++accounts * kSignals);
      now += random() % 50 == 0 ? 45 : static_cast<int64_t>(random() % 3);
      window.AdvanceTo(now * kStep);
      const auto samples = random() % 4;
      for (uint64_t i = 0; i < samples; ++i) {
        const Sample sample{static_cast<int32_t>(random() % accounts),
                            static_cast<SignalKind>(random() % kSignals),
                            (now - static_cast<int64_t>(random() % 25)) * kStep,
                            static_cast<float>(random() % 1000)};
        window.Write({&sample, 1});
      }
      if (random() % 5 == 0) continue;  // it need not look at every tick
      Counted::bytes_in = 0;
      ASSERT_TRUE(copy.Follow(window).ok());
      const WindowView view = window.view();
      ExpectEqual(ops_, copy.view(), view);
      ASSERT_LE(Counted::bytes_in,
                view.values.steps * view.values.stride * static_cast<int64_t>(sizeof(float)));
      Counted::bytes_in = 0;
      ASSERT_TRUE(copy.Follow(window).ok());
      ASSERT_EQ(Counted::bytes_in, 0) << "nothing is new";
    }
  }
}

TEST_P(DeviceWindowOn, OnlyWhatIsNewIsCarriedOver) {
  constexpr int64_t kSteps = 100;
  Window window(kStep, kSteps);
  DeviceWindow copy(ops_);
  window.Grow(40 * kSignals);
  const int64_t row = window.view().values.stride * static_cast<int64_t>(sizeof(float));
  window.AdvanceTo(1'000 * kStep);
  window.AdvanceTo(1'099 * kStep);
  Counted::bytes_in = 0;
  ASSERT_TRUE(copy.Follow(window).ok());
  EXPECT_EQ(Counted::bytes_in, kSteps * row) << "filled in one go";
  // Longer than the slack of both: rows move to the front without passing the bus again.
  for (int64_t now = 1'100; now < 1'400; ++now) {
    window.AdvanceTo(now * kStep);
    const std::vector<Sample> samples = {
        {3, SignalKind::kCpu, now * kStep, static_cast<float>(now)},
        {5, SignalKind::kMemory, (now - 50) * kStep, 7},
        {6, SignalKind::kMemory, (now - 50) * kStep, 8},
        {6, SignalKind::kMemory, (now - 200) * kStep, 8}};
    window.Write(samples);
    Counted::bytes_in = 0;
    ASSERT_TRUE(copy.Follow(window).ok());
    ASSERT_EQ(Counted::bytes_in, 2 * row) << now;
    ExpectEqual(ops_, copy.view(), window.view());
  }
}

TEST_P(DeviceWindowOn, WithoutRoomItSaysSoAndBeginsAnewLater) {
  Window window(kStep, 10);
  DeviceWindow copy(ops_);
  window.Grow(kSignals);
  window.AdvanceTo(7 * kStep);
  Counted::is_full = true;
  const absl::Status full = copy.Follow(window);
  EXPECT_EQ(full.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_THAT(std::string(full.message()), HasSubstr("MiB"));
  EXPECT_EQ(copy.view().values.steps, 0);
  Counted::is_broken = true;
  EXPECT_EQ(copy.Follow(window), absl::InternalError("an illegal access"));
  Counted::is_full = Counted::is_broken = false;
  ASSERT_TRUE(copy.Follow(window).ok());
  ExpectEqual(ops_, copy.view(), window.view());

  Counted::is_broken = true;
  window.AdvanceTo(8 * kStep);
  const absl::Status broken = copy.Follow(window);
  EXPECT_EQ(broken.code(), absl::StatusCode::kInternal);
  EXPECT_EQ(broken.message(), "an illegal access");
  EXPECT_EQ(copy.view().values.steps, 0);
  Counted::is_broken = false;
  ASSERT_TRUE(copy.Follow(window).ok());
  ExpectEqual(ops_, copy.view(), window.view());
}

TEST_P(DeviceWindowOn, AnEmptyWindowHoldsNothing) {
  Window window(kStep, 10);
  DeviceWindow copy(ops_);
  ASSERT_TRUE(copy.Follow(window).ok());
  EXPECT_EQ(copy.view().values.steps, 0);
}

}  // namespace
}  // namespace foreshadow
