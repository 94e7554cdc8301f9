#include "kernels/algo/scores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "tests/unit/kernels/backends.h"

namespace foreshadow::kernels {
namespace {

using testing::Array;
using testing::Batch;
using testing::BatchOn;
using testing::kNan;

class Scores : public testing::OnBackend {
 protected:
  std::vector<float> PinballLoss(const Batch& actual, const Batch& forecast, float level) {
    const BatchOn actual_on(ops(), actual);
    const BatchOn forecast_on(ops(), forecast);
    const Array<float> loss(ops(), static_cast<size_t>(actual.series));
    ops().pinball({actual_on.view(), forecast_on.view(), level, loss.span()});
    return loss.Read();
  }
  std::vector<float> NaiveScale(const Batch& past, int season) {
    const BatchOn past_on(ops(), past);
    const Array<float> scale(ops(), static_cast<size_t>(past.series));
    ops().naive_scale({past_on.view(), season, scale.span()});
    return scale.Read();
  }
};

FORESHADOW_ON_BACKENDS(Scores);

TEST_P(Scores, PinballByHandLeavesGapsOut) {
  Batch actual(3, 2);
  Batch forecast(3, 2);
  actual.at(0, 0) = 10;
  forecast.at(0, 0) = 8;  // 2 above: 0.9 * 2
  actual.at(1, 0) = 5;
  forecast.at(1, 0) = 8;  // 3 below: 0.1 * 3
  forecast.at(2, 0) = 7;  // no actual
  const std::vector<float> loss = PinballLoss(actual, forecast, 0.9f);
  EXPECT_FLOAT_EQ(loss[0], (0.9f * 2 + 0.1f * 3) / 2);
  EXPECT_TRUE(std::isnan(loss[1]));
}

// The loss is proper: of many constants the sample's own quantile costs least.
TEST_P(Scores, PinballIsLeastAtTheQuantile) {
  std::mt19937 random(1);
  std::exponential_distribution<float> exponential(1);
  Batch actual(4'000, 41);
  Batch forecast(4'000, 41);
  for (int64_t i = 0; i < 4'000; ++i) {
    const float value = exponential(random);
    for (int64_t s = 0; s < 41; ++s) {
      actual.at(i, s) = value;
      forecast.at(i, s) = 0.1f * static_cast<float>(s);
    }
  }
  for (const float level : {0.5f, 0.9f}) {
    const std::vector<float> loss = PinballLoss(actual, forecast, level);
    const auto best = std::min_element(loss.begin(), loss.end()) - loss.begin();
    EXPECT_NEAR(0.1 * static_cast<double>(best), -std::log(1 - level), 0.1 + 1e-6);
  }
}

// The seasonal naive forecast scores exactly 1 on the past that scales it.
TEST_P(Scores, MaseOfTheNaiveForecastIsOne) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(50, 5);
  constexpr int kSeason = 7;
  Batch past(70, 3);
  for (float& value : past.values) value = normal(random);
  past.at(20, 1) = kNan;
  for (int64_t i = 0; i < 70; ++i) past.at(i, 2) = 4;
  const std::vector<float> scale = NaiveScale(past, kSeason);
  EXPECT_EQ(scale[2], 0);
  const BatchOn past_on(ops(), past);
  const Array<float> scale_on(ops(), scale);
  const Array<float> mase_on(ops(), 3);
  StepMajor<const float> actual = past_on.view();
  actual.data += kSeason * actual.stride;
  actual.steps -= kSeason;
  StepMajor<const float> naive = past_on.view();
  naive.steps -= kSeason;
  ops().mase({actual, naive, scale_on.span(), mase_on.span()});
  const std::vector<float> mase = mase_on.Read();
  EXPECT_FLOAT_EQ(mase[0], 1);
  EXPECT_FLOAT_EQ(mase[1], 1);
  EXPECT_TRUE(std::isnan(mase[2]));
}

// Any count of series, within rows that are wider: each score is that of its own column.
TEST_P(Scores, EverySeriesIsScoredByItsOwnColumn) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(1e5f, 3);
  constexpr int64_t kSteps = 50;
  constexpr int kSeason = 3;
  for (const int64_t series : {1, 2, 3, 7, 16, 33, 1'025}) {
    Batch actual(kSteps, series + 5);
    Batch forecast(kSteps, series + 5);
    for (Batch* batch : {&actual, &forecast}) {
      for (float& value : batch->values) value = random() % 9 == 0 ? kNan : normal(random);
    }
    const auto narrow = [&](StepMajor<const float> view) {
      view.series = series;
      return view;
    };
    const BatchOn actual_on(ops(), actual);
    const BatchOn forecast_on(ops(), forecast);
    const auto n = static_cast<size_t>(series);
    const Array<float> loss_on(ops(), n);
    const Array<float> scale_on(ops(), n);
    const Array<float> mase_on(ops(), n);
    const auto of_actual = narrow(actual_on.view());
    const auto of_forecast = narrow(forecast_on.view());
    ops().pinball({of_actual, of_forecast, 0.7f, loss_on.span()});
    ops().naive_scale({of_actual, kSeason, scale_on.span()});
    ops().mase({of_actual, of_forecast, scale_on.span(), mase_on.span()});
    const auto loss = loss_on.Read();
    const auto scale = scale_on.Read();
    const auto mase = mase_on.Read();
    for (int64_t s = 0; s < series; ++s) {
      long double pinball = 0, off = 0, change = 0, pairs = 0, changes = 0;
      for (int64_t i = 0; i < kSteps; ++i) {
        const long double a = actual.at(i, s);
        const long double f = forecast.at(i, s);
        if (!std::isnan(a) && !std::isnan(f)) {
          pinball += a > f ? 0.7f * (a - f) : (1 - static_cast<long double>(0.7f)) * (f - a);
          off += std::abs(a - f);
          pairs += 1;
        }
        if (i + kSeason < kSteps && !std::isnan(a) && !std::isnan(actual.at(i + kSeason, s))) {
          change += std::abs(actual.at(i + kSeason, s) - a);
          changes += 1;
        }
      }
      const auto i = static_cast<size_t>(s);
      EXPECT_FLOAT_EQ(loss[i], static_cast<float>(pinball / pairs));
      EXPECT_FLOAT_EQ(scale[i], static_cast<float>(change / changes));
      EXPECT_FLOAT_EQ(mase[i], static_cast<float>(off / pairs / (change / changes)));
    }
  }
}

TEST_P(Scores, APastShorterThanTheSeasonHasNoScale) {
  Batch past(5, 1, 3);
  EXPECT_TRUE(std::isnan(NaiveScale(past, 7)[0]));
}

}  // namespace
}  // namespace foreshadow::kernels
