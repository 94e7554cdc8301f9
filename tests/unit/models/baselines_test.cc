// The simple models against closed forms, and what no model may ever do: leave the order of the
// quantiles, go below zero, or let one bad series spoil its neighbours.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "models/empirical.h"
#include "models/registry.h"

namespace foreshadow::models {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

// Histories built column by column, with the arrays that a History only points to.
struct Batch {
  explicit Batch(std::vector<std::vector<float>> columns, int32_t period = 0)
      : steps(std::ssize(columns[0])),
        series(std::ssize(columns)),
        signals(columns.size(), SignalKind::kCpu),
        periods(columns.size(), period) {
    for (int64_t t = 0; t < steps; ++t) {
      for (const auto& column : columns) values.push_back(column[t]);
    }
  }
  History history() const {
    return {1'700'000'000'000, 300'000, {values.data(), steps, series, series}, signals, periods};
  }

  int64_t steps;
  int64_t series;
  std::vector<float> values;
  std::vector<SignalKind> signals;
  std::vector<int32_t> periods;
};

QuantileBlock ForecastWith(const std::string& name, const Batch& batch, int steps) {
  const auto model = MakeModel(name, "");
  EXPECT_TRUE(model.ok()) << model.status();
  QuantileBlock block;
  const absl::Status status = (*model)->Forecast(batch.history(), steps, block);
  EXPECT_TRUE(status.ok()) << status;
  return block;
}

std::vector<float> Noise(int steps, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(100, 10);
  std::vector<float> column(static_cast<size_t>(steps));
  std::ranges::generate(column, [&] { return normal(random); });
  return column;
}

// Errors of a wave in hundredths are few numbers but for their rounding. Highway's sort left one
// such series in twenty in disorder: wrong quantiles, and counts of theirs that a later tick, which
// checks them, ended the server for.
TEST(SortErrors, SortsWhatIsNearlyEqual) {
  const auto wave = [](int series, int t) {
    return static_cast<float>((series * 31 + t * 7) % 1'009) / 100;
  };
  for (int series = 0; series < 200; ++series) {
    for (int distance = 1; distance <= 60; ++distance) {
      std::vector<float> errors;
      for (int t = 0; t < 348 - distance; ++t) {
        errors.push_back(wave(series, t + distance) - wave(series, t));
      }
      std::vector<float> expected = errors;
      std::ranges::sort(expected);
      SortErrors(errors);
      ASSERT_EQ(errors, expected) << "series " << series << " at " << distance;
    }
  }
}

TEST(SortErrors, CutsAndSortsAnything) {
  constexpr float kMost = std::numeric_limits<float>::max();
  constexpr float kInfinite = std::numeric_limits<float>::infinity();
  std::vector<float> errors = {3,  -kInfinite, 0, -0.0f, 1e-40f, kInfinite, -2,
                               -2, -1e-40f,    7, kMost, -kMost, 0.5f,      -0.5f};
  SortErrors(errors);
  const std::vector<float> expected = {-kMost, -kMost, -2,   -2, -0.5f, -1e-40f, 0,
                                       0,      1e-40f, 0.5f, 3,  7,     kMost,   kMost};
  EXPECT_EQ(errors, expected);
  std::vector<float> none;
  SortErrors(none);
  std::mt19937 random(5);
  for (int count = 1; count < 600; count += 7) {
    std::vector<float> many(static_cast<size_t>(count));
    std::normal_distribution<float> normal(0, 100);
    for (float& value : many) value = normal(random);
    std::vector<float> sorted = many;
    std::ranges::sort(sorted);
    SortErrors(many);
    ASSERT_EQ(many, sorted);
  }
}

TEST(ErrorOffsets, FollowTheOrderStatistics) {
  std::vector<float> errors;
  for (int i = -49; i <= 49; ++i) errors.push_back(static_cast<float>(i));  // (n + 1) p is whole
  const Offsets offsets = ErrorOffsets(errors, 1);
  for (int q = 0; q < kQuantiles; ++q) {
    EXPECT_NEAR(offsets[q], 100 * kQuantileLevels[q] - 50, 1e-4) << kQuantileLevels[q];
  }
}

// Without ageing to speak of they are the plain order statistics.
TEST(AgedOffsets, OfErrorsOfOneAgeAreErrorOffsets) {
  std::vector<float> errors = {-6, 5, -4, 3, -2, 1, 0.5f, 9};
  std::vector<float> sorted = errors;
  const Offsets aged = AgedOffsets(errors, 1);
  const Offsets plain = ErrorOffsets(sorted, 1);
  // Eight errors within an hour: their weights differ by 7 % at most.
  for (int q = 0; q < kQuantiles; ++q) EXPECT_NEAR(aged[q], plain[q], 0.35) << q;
}

// Errors whose size doubles every 200: theirs is a mixture of normal laws, weighed by age or not,
// and so it is known how much of the next error's law lies between its quantiles 0.1 and 0.9.
TEST(AgedOffsets, FollowErrorsThatGrow) {
  std::mt19937_64 random(4);
  std::normal_distribution<float> noise;
  int aged = 0, plain = 0;
  constexpr int kRuns = 4'000;
  for (int run = 0; run < kRuns; ++run) {
    std::vector<float> errors(400);
    for (size_t t = 0; t < errors.size(); ++t) {
      errors[t] = std::exp2(static_cast<float>(t) / 200) * noise(random);
    }
    const float next = 4 * noise(random);
    const Offsets a = AgedOffsets(errors, 1);
    aged += next >= a[kLow80] && next <= a[kHigh80];
    const Offsets p = ErrorOffsets(errors, 1);
    plain += next >= p[kLow80] && next <= p[kHigh80];
  }
  EXPECT_NEAR(aged / double(kRuns), 0.662, 0.025);
  EXPECT_NEAR(plain / double(kRuns), 0.504, 0.025);
}

TEST(ErrorOffsets, LeanOnTheLaplaceLawWithoutErrors) {
  const Offsets offsets = ErrorOffsets({}, 8);
  EXPECT_FLOAT_EQ(offsets[0], 2 * std::log(0.1f));
  EXPECT_FLOAT_EQ(offsets[kMedian], 0);
  EXPECT_NEAR(offsets[8], -2 * std::log(0.02f), 1e-5);
}

TEST(LastValue, CarriesTheLastSampleForward) {
  const QuantileBlock block =
      ForecastWith("last-value", Batch({{1, 2, 3, 7}, {5, 4, 9, kMissing}}), 12);
  for (int step = 0; step < 12; ++step) {
    EXPECT_FLOAT_EQ(block.at(0, step)[kMedian], 7);
    EXPECT_FLOAT_EQ(block.at(1, step)[kMedian], 9);
  }
}

TEST(LastValue, KnowsTheErrorsOfARamp) {
  std::vector<float> ramp(400);
  for (size_t t = 0; t < ramp.size(); ++t) ramp[t] = static_cast<float>(t);
  const QuantileBlock block = ForecastWith("last-value", Batch({ramp}), 12);
  for (int step = 0; step < 12; ++step) {  // every error h steps ahead was exactly h
    EXPECT_FLOAT_EQ(block.at(0, step)[0], 399);
    EXPECT_NEAR(block.at(0, step)[8], 399 + step + 1, 1e-3);
  }
}

TEST(LastHour, IsTheMeanOrTheMedianOfTwelveSamples) {
  std::vector<float> column(40, 50);
  for (int i = 0; i < 12; ++i) column[28 + i] = static_cast<float>(i * i);
  const Batch batch({column});
  EXPECT_FLOAT_EQ(ForecastWith("last-hour-mean", batch, 3).at(0, 2)[kMedian], 506.0f / 12);
  EXPECT_FLOAT_EQ(ForecastWith("last-hour-median", batch, 3).at(0, 2)[kMedian],
                  (25.0f + 36.0f) / 2);
}

TEST(SeasonalNaive, RepeatsTheSeasonExactly) {
  std::vector<float> column;
  for (int t = 0; t < 50; ++t) column.push_back(static_cast<float>(t % 7));
  const QuantileBlock block = ForecastWith("seasonal-naive", Batch({column}, 7), 20);
  for (int step = 0; step < 20; ++step) {
    for (const float value : block.at(0, step)) {
      EXPECT_FLOAT_EQ(value, static_cast<float>((50 + step) % 7));
    }
  }
}

TEST(SeasonalNaive, GoesBackASeasonPastAGap) {
  std::vector<float> column;
  for (int t = 0; t < 21; ++t) column.push_back(static_cast<float>(t));
  column[14] = kMissing;
  EXPECT_FLOAT_EQ(ForecastWith("seasonal-naive", Batch({column}, 7), 1).at(0, 0)[kMedian], 7);
}

TEST(SeasonalNaive, CannotWithoutASeason) {
  const QuantileBlock block =
      ForecastWith("seasonal-naive", Batch({Noise(100, 1)}), 12);  // a day is 288
  EXPECT_EQ(block.status[0], ForecastStatus::kCannot);
  EXPECT_TRUE(std::isnan(block.at(0, 0)[0]));
}

class EveryModel : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Baselines, EveryModel,
                         testing::Values("last-value", "last-hour-mean", "last-hour-median",
                                         "seasonal-naive", "arima", "ets", "prophet"));

TEST_P(EveryModel, CoversIndependentNoise) {
  // 400 series of a law whose future is drawn by the same hand: the 80 % interval must hold 80 %.
  std::vector<std::vector<float>> columns;
  for (uint64_t s = 0; s < 400; ++s) columns.push_back(Noise(900, s));
  std::vector<std::vector<float>> past;
  for (const auto& column : columns) past.emplace_back(column.begin(), column.end() - 12);
  const QuantileBlock block = ForecastWith(GetParam(), Batch(past), 12);
  int held = 0;
  for (int64_t s = 0; s < 400; ++s) {
    for (int step = 0; step < 12; ++step) {
      const float came = columns[s][888 + step];
      held += came >= block.at(s, step)[1] && came <= block.at(s, step)[5];
    }
  }
  EXPECT_NEAR(held / 4'800.0, 0.8, 0.025);
}

TEST_P(EveryModel, OneBadSeriesDoesNotSpoilTheOthers) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kLargest = std::numeric_limits<float>::max();
  std::vector<float> one_sample(700, kMissing);
  one_sample.back() = 3;
  std::vector<float> extreme(700, 0);
  for (size_t t = 0; t < extreme.size(); t += 2) extreme[t] = kLargest;
  const Batch batch({Noise(700, 3), std::vector<float>(700, kMissing), one_sample,
                     std::vector<float>(700, 42), extreme, std::vector<float>(700, kInfinity)});
  const QuantileBlock block = ForecastWith(GetParam(), batch, 12);
  const QuantileBlock alone = ForecastWith(GetParam(), Batch({Noise(700, 3)}), 12);
  EXPECT_THAT(std::vector<float>(block.at(0, 11).begin(), block.at(0, 11).end()),
              testing::ElementsAreArray(alone.at(0, 11)));
  EXPECT_EQ(block.status[0], ForecastStatus::kOk);
  EXPECT_EQ(block.status[1], ForecastStatus::kNoHistory);
  EXPECT_EQ(block.status[5], ForecastStatus::kNoHistory);
  EXPECT_THAT(block.at(3, 5), testing::Each(42.0f));
  for (const int64_t s : {0, 2, 3, 4}) {
    if (block.status[s] != ForecastStatus::kOk) continue;
    for (int step = 0; step < 12; ++step) {
      EXPECT_TRUE(std::ranges::is_sorted(block.at(s, step)));
      EXPECT_THAT(block.at(s, step),
                  testing::Each(testing::AllOf(testing::Ge(0.0f), testing::Le(kLargest))));
    }
  }
}

TEST_P(EveryModel, NamesAWrongArgument) {
  const auto model = MakeModel(GetParam(), "");
  ASSERT_TRUE(model.ok());
  Batch batch({Noise(50, 1)});
  QuantileBlock block;
  EXPECT_THAT(std::string((*model)->Forecast(batch.history(), 0, block).message()),
              testing::HasSubstr("steps is 0"));
  batch.periods.clear();
  EXPECT_THAT(std::string((*model)->Forecast(batch.history(), 1, block).message()),
              testing::HasSubstr("periods 0"));
}

TEST_P(EveryModel, HasNoHistoryWithoutASingleStep) {
  const auto model = MakeModel(GetParam(), "");
  ASSERT_TRUE(model.ok());
  const std::vector<SignalKind> signals = {SignalKind::kCpu, SignalKind::kStorage};
  const std::vector<int32_t> periods = {0, 288};
  QuantileBlock block;
  ASSERT_TRUE(
      (*model)->Forecast({0, 300'000, {nullptr, 0, 2, 2}, signals, periods}, 3, block).ok());
  EXPECT_THAT(block.status, testing::Each(ForecastStatus::kNoHistory));
  EXPECT_TRUE(std::isnan(block.at(1, 2)[0]));
}

TEST(LastValue, TakesALongSilenceAsGone) {
  std::vector<float> column(600, 5);
  std::fill(column.begin() + 300, column.end(), kMissing);  // 25 h
  EXPECT_EQ(ForecastWith("last-value", Batch({column}), 1).status[0], ForecastStatus::kCannot);
}

TEST(Registry, NamesWhatThereIs) {
  const auto model = MakeModel("oracle", "");
  EXPECT_THAT(std::string(model.status().message()),
              testing::AllOf(testing::HasSubstr("'oracle'"), testing::HasSubstr("last-value")));
  EXPECT_FALSE(LoadModels("").models.empty());
}

}  // namespace
}  // namespace foreshadow::models
