#include "service/forecast/forecast.h"

#include <gtest/gtest.h>

#include <cmath>

#include "service/monitor/monitor.h"
#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

TEST(MomentsOf, NormalDistribution) {
  Fleet fleet = testing::MakeFleet(1, 1);
  testing::AddAccount(fleet, 0);
  ForecastTable table = testing::EmptyTable(fleet, 1);
  testing::SetForecast(table, 0, SignalKind::kCpu, 100, 10);
  const Moments moments = MomentsOf(table.block.at(0, 0));
  // Nine levels cut the tails beyond 5 % and 99 %: a little less spread, nearly the same mean.
  EXPECT_NEAR(moments.mean, 100, 0.5);
  EXPECT_NEAR(std::sqrt(moments.variance), 10, 0.8);
}

TEST(MomentsOf, PointMassHasNoVariance) {
  const std::vector<float> quantiles(models::kQuantiles, 5.0f);
  const Moments moments = MomentsOf(quantiles);
  EXPECT_NEAR(moments.mean, 5, 1e-6);
  EXPECT_NEAR(moments.variance, 0, 1e-6);
}

// Says a fixed value for every series, or nothing at all.
class Fixed : public models::Forecaster {
 public:
  Fixed(std::string name, float value, bool answers)
      : name_(std::move(name)), value_(value), answers_(answers) {}
  std::string_view name() const override { return name_; }
  int MaxSteps(int64_t) const override { return 60; }
  absl::Status Forecast(const models::History& history, int steps,
                        models::QuantileBlock& out) const override {
    if (value_ < 0) return absl::InternalError("broken");
    out.Resize(history.values.series, steps);
    out.values.assign(out.values.size(), value_);
    if (!answers_) out.status.assign(out.status.size(), models::ForecastStatus::kCannot);
    return absl::OkStatus();
  }

 private:
  std::string name_;
  float value_;
  bool answers_;
};

WindowView ConstantWindow(std::vector<float>& values, float value, int64_t end_ms) {
  values.assign(10 * kSignals, value);
  return {{values.data(), 10, kSignals, kSignals}, end_ms, 300'000};
}

TEST(Forecast, FallsBackAndSaysSo) {
  std::vector<float> values;
  const WindowView window = ConstantWindow(values, 1, 300'000);
  LossMemory memory;
  std::vector<std::string> alerts;
  const ModelList models = {std::make_shared<Fixed>("a", -1.0f, true),
                            std::make_shared<Fixed>("b", 2.0f, false),
                            std::make_shared<Fixed>("c", 3.0f, true)};
  const std::vector<int32_t> periods(kSignals, 0);
  const ForecastTable table = Forecast(window, periods, models, memory, alerts);
  EXPECT_EQ(table.block.at(0, 0)[0], 3);
  EXPECT_EQ(table.models[table.model_of[0]], "c");
  EXPECT_EQ(table.block.status[0], models::ForecastStatus::kFellBack);
  ASSERT_EQ(alerts.size(), 1u);
  EXPECT_NE(alerts[0].find("model a failed"), std::string::npos);
}

TEST(Forecast, NoModelAnswersMeansNoNumbers) {
  std::vector<float> values;
  const WindowView window = ConstantWindow(values, 1, 300'000);
  LossMemory memory;
  std::vector<std::string> alerts;
  const std::vector<int32_t> periods(kSignals, 0);
  const ForecastTable table = Forecast(window, periods, {}, memory, alerts);
  EXPECT_TRUE(std::isnan(table.block.at(0, 0)[0]));
  EXPECT_EQ(table.block.status[0], models::ForecastStatus::kNoHistory);
}

TEST(Forecast, TheModelWithLessLossIsTaken) {
  LossMemory memory;
  std::vector<std::string> alerts;
  Scores scores;
  const ModelList models = {std::make_shared<Fixed>("far", 9.0f, true),
                            std::make_shared<Fixed>("near", 1.5f, true)};
  const std::vector<int32_t> periods(kSignals, 0);
  const std::vector<float> scale(kSignals, 1.0f);
  std::vector<float> values;
  ForecastTable table;
  for (int tick = 1; tick <= 3; ++tick) {
    const WindowView window = ConstantWindow(values, 1, tick * 300'000);
    table = Forecast(window, periods, models, memory, alerts);
    JudgeForecasts(window, scale, memory, scores);
    EXPECT_EQ(table.models[table.model_of[0]], tick <= 2 ? "far" : "near");
  }
  // Judged: one step of "far" at tick 2, two at tick 3 (the newest forecast is not yet judged when
  // the next is made). Four resources each: |1 - 9| over a scale of 1.
  EXPECT_EQ(scores.scored_count, 3u * kResources);
  EXPECT_DOUBLE_EQ(scores.scaled_error_sum, kResources * 3 * 8.0);
}

}  // namespace
}  // namespace foreshadow
