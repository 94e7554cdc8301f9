// The backtest against scores worked out by hand, and the proof that it does not leak.
#include "training/backtest/backtest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "models/registry.h"

namespace foreshadow::training {
namespace {

using models::QuantileBlock;
using testing::HasSubstr;

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
const std::function<void(int64_t, int64_t)> kSilent = [](int64_t, int64_t) {};

SeriesSet Columns(const std::vector<std::vector<float>>& columns) {
  SeriesSet set;
  set.start_ms = 1'700'000'000'000;
  set.step_ms = 300'000;
  set.steps = std::ssize(columns[0]);
  set.signals.assign(columns.size(), models::SignalKind::kCpu);
  for (int64_t t = 0; t < set.steps; ++t) {
    for (const auto& column : columns) set.values.push_back(column[t]);
  }
  return set;
}

// Says 10 at every level, keeps the histories it was shown, and has no answer for series 1.
class Ten : public models::Forecaster {
 public:
  std::string_view name() const override { return "ten"; }
  int MaxSteps(int64_t) const override { return 3; }
  absl::Status Forecast(const models::History& history, int steps,
                        QuantileBlock& out) const override {
    out.Resize(history.values.series, steps);
    std::ranges::fill(out.values, 10.0f);
    if (history.values.series > 1) out.status[1] = models::ForecastStatus::kCannot;
    shown.emplace_back(history.values.data,
                       history.values.data + history.values.steps * history.values.series);
    ends_ms.push_back(history.end_ms);
    return absl::OkStatus();
  }
  mutable std::vector<std::vector<float>> shown;
  mutable std::vector<int64_t> ends_ms;
};

TEST(Backtest, ScoresAsWorkedOutByHand) {
  // The error of one step before the test is 2 on average: 4, 8, 6, 8 have differences 4, 2, 2.
  const SeriesSet set = Columns({{4, 8, 6, 8, 13, 6, kMissing}, {1, 2, 3, 4, 5, 6, 7}});
  BacktestOptions options;
  options.first_step = 4;
  options.horizon_steps = 3;
  const auto result = Backtest(set, {std::make_shared<Ten>()}, options, kSilent);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->origins, 1);
  EXPECT_EQ(result->unanswered[0], 1);
  EXPECT_DOUBLE_EQ(result->scales[0], 8.0 / 3);
  const auto scores = Summarize(*result, 1, 3);
  ASSERT_EQ(scores.size(), 2);
  const Score& all = scores[1];
  EXPECT_EQ(all.points, 2);  // errors 3 and -4; the third is missing
  EXPECT_NEAR(all.mase, 3.5 / (8.0 / 3), 1e-12);
  EXPECT_NEAR(all.smape, (2 * 3 / 23.0 + 2 * 4 / 16.0) / 2, 1e-12);
  double level = 0;
  for (const float q : models::kQuantileLevels) level += q / models::kQuantiles;
  EXPECT_NEAR(all.crps, 2 * (3 * level + 4 * (1 - level)) / 19, 1e-6);
  EXPECT_DOUBLE_EQ(all.coverage_80, 0);
  EXPECT_NEAR(Summarize(*result, 2, 2)[1].mase, 4 / (8.0 / 3), 1e-12);
}

TEST(Backtest, ShowsEachOriginItsPastOnly) {
  std::vector<float> column(40);
  for (size_t t = 0; t < column.size(); ++t) column[t] = static_cast<float>(t);
  const SeriesSet set = Columns({column});
  const auto ten = std::make_shared<Ten>();
  BacktestOptions options;
  options.first_step = 20;
  options.horizon_steps = 2;
  options.stride_steps = 7;
  options.window_steps = 5;
  ASSERT_TRUE(Backtest(set, {ten}, options, kSilent).ok());
  ASSERT_EQ(ten->shown.size(), 3);
  EXPECT_THAT(ten->shown[1], testing::ElementsAre(22, 23, 24, 25, 26));
  EXPECT_EQ(ten->ends_ms[1], set.TimeMs(26));
}

// Keeps what another model says.
class Recorder : public models::Forecaster {
 public:
  explicit Recorder(std::shared_ptr<const models::Forecaster> model) : model_(std::move(model)) {}
  std::string_view name() const override { return model_->name(); }
  int MaxSteps(int64_t step_ms) const override { return model_->MaxSteps(step_ms); }
  absl::Status Forecast(const models::History& history, int steps,
                        QuantileBlock& out) const override {
    const absl::Status status = model_->Forecast(history, steps, out);
    said.push_back(out.values);
    return status;
  }
  mutable std::vector<std::vector<float>> said;

 private:
  std::shared_ptr<const models::Forecaster> model_;
};

TEST(Backtest, ForecastsDoNotChangeWhenTheFutureDoes) {
  std::mt19937_64 random(2);
  std::normal_distribution<float> normal(50, 9);
  std::vector<std::vector<float>> columns(3, std::vector<float>(900));
  for (auto& column : columns) std::ranges::generate(column, [&] { return normal(random); });
  auto changed = columns;
  for (auto& column : changed) {
    for (size_t t = 700; t < column.size(); ++t) column[t] = 1e6f * normal(random);
  }
  BacktestOptions options;
  options.first_step = 640;
  options.stride_steps = 20;
  const std::string folder = FORESHADOW_SOURCE_DIR "/models/default";
  for (const auto& model : models::LoadModels(folder).models) {
    const auto one = std::make_shared<Recorder>(model);
    const auto other = std::make_shared<Recorder>(model);
    ASSERT_TRUE(Backtest(Columns(columns), {one}, options, kSilent).ok());
    ASSERT_TRUE(Backtest(Columns(changed), {other}, options, kSilent).ok());
    for (int origin = 0; origin <= 3; ++origin) {  // 640, 660, 680, 700
      const auto& a = one->said[origin];
      const auto& b = other->said[origin];
      EXPECT_EQ(0, std::memcmp(a.data(), b.data(), a.size() * sizeof(float)))
          << model->name() << " at origin " << origin;
    }
    EXPECT_NE(one->said[4], other->said[4]) << model->name();
  }
}

TEST(Backtest, NamesOptionsThatDoNotFit) {
  const SeriesSet set = Columns({std::vector<float>(50, 1)});
  BacktestOptions options;
  options.first_step = 45;
  EXPECT_THAT(std::string(Backtest(set, {}, options, kSilent).status().message()),
              HasSubstr("first_step is 45: allowed is 2 to 38"));
  options.first_step = 20;
  EXPECT_THAT(
      std::string(Backtest(set, {std::make_shared<Ten>()}, options, kSilent).status().message()),
      HasSubstr("model ten forecasts 3 steps"));
}

}  // namespace
}  // namespace foreshadow::training
