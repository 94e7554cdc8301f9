// A model of 5 min at finer steps: what it is shown, and what is made of what it says.
#include "models/means/means.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "models/lstm/lstm.h"
#include "tests/unit/models/tiny_lstm.h"

namespace foreshadow::models {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kMinuteMs = 60'000;
constexpr int64_t kOwnMs = 300'000;
constexpr int64_t kStartMs = 1'700'000'100'000;  // a whole number of the model's intervals
static_assert(kStartMs % kOwnMs == 0);

// Remembers all that it was shown: of each series the means, and when they ended. Says the newest
// mean of each series as the median, and `kWide` about it.
class Witness : public Forecaster {
 public:
  static constexpr float kWide = 3;
  struct Seen {
    std::vector<int64_t> ends_ms;
    std::vector<std::vector<float>> means;  // [end][series]
  };
  static inline int64_t most_rows = 0;        // that it was shown at once
  static inline std::vector<Driver> drivers;  // of late

  std::string_view name() const override { return "witness"; }
  uint64_t fingerprint() const override { return 7; }
  int MaxSteps(int64_t step_ms) const override { return step_ms == kOwnMs ? 48 : 0; }
  absl::Status Forecast(const History& history, int steps, QuantileBlock& out) const override {
    std::any nothing;
    return Continue(history, steps, nothing, out);
  }
  bool carries() const override { return true; }
  absl::Status Continue(const History& history, int steps, std::any& carried,
                        QuantileBlock& out) const override {
    EXPECT_EQ(history.step_ms, kOwnMs);
    if (!carried.has_value()) carried = Seen{};
    auto& seen = std::any_cast<Seen&>(carried);
    drivers.assign(history.drivers.begin(), history.drivers.end());
    const auto& values = history.values;
    most_rows = std::max(most_rows, values.steps);
    for (int64_t row = 0; row < values.steps; ++row) {
      const int64_t end_ms = history.end_ms - (values.steps - 1 - row) * kOwnMs;
      if (!seen.ends_ms.empty() && end_ms <= seen.ends_ms.back()) continue;
      EXPECT_TRUE(seen.ends_ms.empty() || end_ms == seen.ends_ms.back() + kOwnMs);
      seen.ends_ms.push_back(end_ms);
      seen.means.emplace_back(&values.at(row, 0), &values.at(row, 0) + values.series);
    }
    out.Resize(values.series, steps);
    for (int64_t s = 0; s < values.series; ++s) {
      for (int step = 0; step < steps; ++step) {
        for (int q = 0; q < kQuantiles; ++q) {
          const float side = q == kMedian ? 0 : q < kMedian ? -kWide : kWide;
          out.at(s, step)[q] = seen.means.back()[s] + static_cast<float>(step) + side;
        }
      }
    }
    return absl::OkStatus();
  }
  std::string Save(const std::any& carried) const override {
    return std::to_string(std::any_cast<const Seen&>(carried).ends_ms.back());
  }
  absl::Status Restore(const std::string& bytes, std::any& carried) const override {
    carried = Seen{{std::stoll(bytes)}, {{}}};
    return absl::OkStatus();
  }
};

// Minutes of two series: the number of the minute and noise of deviation 2 about 1000.
struct Minutes {
  static constexpr int64_t kSeries = 2;
  std::vector<float> values;
  std::vector<SignalKind> signals = {SignalKind::kCpu, SignalKind::kNetwork};
  std::vector<int32_t> periods = {1'440, 0};
  std::vector<Driver> drivers;

  explicit Minutes(int64_t count) {
    std::mt19937 random(2);
    std::normal_distribution<float> noise(1'000, 2);
    for (int64_t t = 0; t < count; ++t) {
      values.push_back(static_cast<float>(t));
      values.push_back(noise(random));
    }
  }
  // The first minute ends at kStartMs + a minute.
  History Until(int64_t end, int64_t length = 0) const {
    const int64_t first = length == 0 ? 0 : end - length;
    return {kStartMs + end * kMinuteMs,
            kMinuteMs,
            {values.data() + first * kSeries, end - first, kSeries, kSeries},
            signals,
            periods,
            {},
            {},
            drivers};
  }
  float Mean(int64_t end, int64_t s) const {  // of the five minutes that end there
    float sum = 0;
    for (int64_t t = end - 5; t < end; ++t) sum += values[t * kSeries + s];
    return sum / 5;
  }
};

class MeansTest : public ::testing::Test {
 protected:
  std::shared_ptr<const Witness> witness_ = std::make_shared<Witness>();
  std::shared_ptr<const Forecaster> model_ = OverMeans(witness_, kOwnMs);
};

TEST_F(MeansTest, AnswersWhereItsIntervalIsAWholeNumberOfSteps) {
  EXPECT_EQ(model_->name(), "witness");
  EXPECT_EQ(model_->fingerprint(), 7u);
  EXPECT_EQ(model_->MaxSteps(kOwnMs), 48);
  EXPECT_EQ(model_->MaxSteps(kMinuteMs), 240);
  EXPECT_EQ(model_->MaxSteps(30'000), 480);
  for (const int64_t step_ms : {10'000, 90'000, 600'000, 0})
    EXPECT_EQ(model_->MaxSteps(step_ms), 0);
}

TEST_F(MeansTest, SaysOfEachStepWhatIsSaidOfItsInterval) {
  Minutes minutes(603);
  minutes.values[600 * 2 + 1] = kMissing;  // of the newest five
  QuantileBlock out;
  ASSERT_TRUE(model_->Forecast(minutes.Until(603), 60, out).ok());
  ASSERT_EQ(out.steps, 60);
  for (int step = 0; step < 60; ++step) {
    const auto later = static_cast<float>(step / 5);
    EXPECT_FLOAT_EQ(out.at(0, step)[kMedian], 600 + later);
    // The minutes 598 to 602 lie two deviations of sqrt(2.5) about their mean.
    EXPECT_NEAR(out.at(0, step)[kHigh80] - out.at(0, step)[kMedian],
                std::hypot(Witness::kWide, 1.2816 * std::sqrt(2.5)), 1e-3);
    // Noise of deviation 2.
    EXPECT_NEAR(out.at(1, step)[kMedian] - out.at(1, step)[kLow80],
                std::hypot(Witness::kWide, 1.2816 * 2), 0.5);
    for (int q = 1; q < kQuantiles; ++q) EXPECT_LE(out.at(0, step)[q - 1], out.at(0, step)[q]);
  }
  const float four = minutes.values[598 * 2 + 1] + minutes.values[599 * 2 + 1] +
                     minutes.values[601 * 2 + 1] + minutes.values[602 * 2 + 1];
  EXPECT_NEAR(out.at(1, 0)[kMedian], four / 4, 1e-3);
}

TEST_F(MeansTest, FollowsTheClockAndLooksAheadOnACopy) {
  const Minutes minutes(700);
  std::any carried;
  QuantileBlock out;
  for (const int64_t end : {601, 602, 603, 604, 605, 605, 606, 606, 619, 620, 621, 690}) {
    ASSERT_TRUE(model_->Continue(minutes.Until(end), 5, carried, out).ok());
    EXPECT_FLOAT_EQ(out.at(0, 0)[kMedian], minutes.Mean(end, 0)) << end;
    EXPECT_FLOAT_EQ(out.at(1, 4)[kMedian], minutes.Mean(end, 1)) << end;
    // What is kept has seen whole intervals only, each once.
    EXPECT_EQ(model_->Save(carried), std::to_string(kStartMs + end / 5 * kOwnMs)) << end;
  }
}

// Steps since are enough for a state that knows the rest; what was restored, or was told of other
// drivers, is shown all.
TEST_F(MeansTest, ShowsNoMoreThanIsNew) {
  Minutes minutes(700);
  QuantileBlock out;
  std::any carried;
  const auto shown = [&](const History& history) {
    Witness::most_rows = 0;
    EXPECT_TRUE(model_->Continue(history, 5, carried, out).ok());
    return Witness::most_rows;
  };
  EXPECT_EQ(shown(minutes.Until(600)), 120);
  EXPECT_EQ(shown(minutes.Until(605)), 2);
  EXPECT_EQ(shown(minutes.Until(608)), 2);
  EXPECT_EQ(shown(minutes.Until(620)), 4);
  minutes.drivers = {{1, 7, 0.5f}, {0, 1, 0.5f}};
  EXPECT_EQ(shown(minutes.Until(625)), 125);
  EXPECT_EQ(Witness::drivers[0].lead_steps, 1) << "7 min";
  EXPECT_EQ(Witness::drivers[1].series, -1) << "a minute is no lead at 5 min";
  ASSERT_TRUE(model_->Restore(model_->Save(carried), carried).ok());
  EXPECT_EQ(shown(minutes.Until(630)), 126);
  EXPECT_EQ(shown(minutes.Until(635)), 2);
}

TEST_F(MeansTest, TooLittleHistoryIsSaidToBe) {
  const Minutes minutes(20);
  QuantileBlock out;
  std::any carried;
  EXPECT_EQ(model_->Forecast(minutes.Until(4), 5, out).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(model_->Continue(minutes.Until(4), 5, carried, out).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(model_->Continue(minutes.Until(7, 5), 5, carried, out).ok());  // none ends at 5
  EXPECT_FLOAT_EQ(out.at(0, 0)[kMedian], minutes.Mean(7, 0));
  EXPECT_EQ(model_->Forecast(minutes.Until(20), 241, out).code(),
            absl::StatusCode::kInvalidArgument);
}

// The LSTM carried at a minute's steps against itself on the means, where all of the past is in its
// window.
TEST(MeansOfLstm, GoesOnAsTheModelDoesAtItsOwnInterval) {
  const std::string folder = ::testing::TempDir() + "/means_lstm";
  foreshadow::testing::SaveTinyLstm(folder, 3, 0);
  const auto model = LoadLstm(folder, 1);
  ASSERT_TRUE(model.ok()) << model.status();
  const Minutes minutes(640);
  std::any carried;
  std::any of_means;
  QuantileBlock out, expected;
  for (int64_t end = 600; end <= 640; ++end) {
    ASSERT_TRUE((*model)->Continue(minutes.Until(end), 10, carried, out).ok());
    if (end % 5 != 0) continue;
    std::vector<float> means;
    for (int64_t t = 5; t <= end; t += 5) {
      for (int64_t s = 0; s < Minutes::kSeries; ++s) means.push_back(minutes.Mean(t, s));
    }
    History coarse = minutes.Until(end);
    coarse.step_ms = kOwnMs;
    coarse.values = {means.data(), end / 5, Minutes::kSeries, Minutes::kSeries};
    ASSERT_TRUE((*model)->Continue(coarse, 2, of_means, expected).ok());
    for (int step = 0; step < 10; ++step) {
      for (int64_t s = 0; s < Minutes::kSeries; ++s) {
        EXPECT_NEAR(out.at(s, step)[kMedian], expected.at(s, step / 5)[kMedian], 1e-3) << end;
      }
    }
  }
}

}  // namespace
}  // namespace foreshadow::models
