#include "kernels/algo/scores.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "tests/unit/kernels/batch.h"

namespace foreshadow::kernels {
namespace {

using testing::Batch;
using testing::kNan;

TEST(Scores, PinballByHandLeavesGapsOut) {
  Batch actual(3, 2);
  Batch forecast(3, 2);
  actual.at(0, 0) = 10;
  forecast.at(0, 0) = 8;  // 2 above: 0.9 * 2
  actual.at(1, 0) = 5;
  forecast.at(1, 0) = 8;  // 3 below: 0.1 * 3
  forecast.at(2, 0) = 7;  // no actual
  std::vector<float> loss(2);
  PinballLoss(actual.view(), forecast.view(), 0.9, loss);
  EXPECT_FLOAT_EQ(loss[0], (0.9f * 2 + 0.1f * 3) / 2);
  EXPECT_TRUE(std::isnan(loss[1]));
}

// The loss is proper: of many constants the sample's own quantile costs least.
TEST(Scores, PinballIsLeastAtTheQuantile) {
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
  std::vector<float> loss(41);
  for (const double level : {0.5, 0.9}) {
    PinballLoss(actual.view(), forecast.view(), level, loss);
    const auto best = std::min_element(loss.begin(), loss.end()) - loss.begin();
    EXPECT_NEAR(0.1 * static_cast<double>(best), -std::log(1 - level), 0.1 + 1e-6);
  }
}

// The seasonal naive forecast scores exactly 1 on the past that scales it.
TEST(Scores, MaseOfTheNaiveForecastIsOne) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(50, 5);
  constexpr int kSeason = 7;
  Batch past(70, 3);
  for (float& value : past.values) value = normal(random);
  past.at(20, 1) = kNan;
  for (int64_t i = 0; i < 70; ++i) past.at(i, 2) = 4;
  std::vector<float> scale(3);
  NaiveScale(past.view(), kSeason, scale);
  EXPECT_EQ(scale[2], 0);
  StepMajor<const float> actual = past.view();
  actual.data += kSeason * actual.stride;
  actual.steps -= kSeason;
  StepMajor<const float> naive = past.view();
  naive.steps -= kSeason;
  std::vector<float> mase(3);
  Mase(actual, naive, scale, mase);
  EXPECT_FLOAT_EQ(mase[0], 1);
  EXPECT_FLOAT_EQ(mase[1], 1);
  EXPECT_TRUE(std::isnan(mase[2]));
}

TEST(Scores, APastShorterThanTheSeasonHasNoScale) {
  Batch past(5, 1, 3);
  std::vector<float> scale(1);
  NaiveScale(past.view(), 7, scale);
  EXPECT_TRUE(std::isnan(scale[0]));
}

}  // namespace
}  // namespace foreshadow::kernels
