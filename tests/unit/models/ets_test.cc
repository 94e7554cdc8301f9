// Exponential smoothing against R's HoltWinters and forecast::ets (tests/golden/make_ets.R), and
// against closed forms.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <random>
#include <sstream>

#include "models/empirical.h"
#include "models/ets/smoothing.h"

namespace foreshadow::models {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

std::map<std::string, std::vector<double>> Golden(const std::string& name) {
  std::map<std::string, std::vector<double>> golden;
  std::ifstream in(FORESHADOW_SOURCE_DIR "/tests/golden/ets/" + name + ".txt");
  std::string line;
  while (std::getline(in, line)) {
    std::istringstream words(line);
    std::string key, values, value;
    words >> key >> values;
    std::istringstream list(values);
    while (std::getline(list, value, ',')) {
      golden[key].push_back(value == "NA" ? kMissing : std::stod(value));
    }
  }
  EXPECT_FALSE(golden["forecast"].empty()) << name;
  return golden;
}

void ExpectForecast(const EtsParams& params, const EtsState& state,
                    const std::vector<double>& expected, double tolerance) {
  for (size_t h = 0; h < expected.size(); ++h) {
    EXPECT_NEAR(ForecastEts(params, state, static_cast<int>(h) + 1), expected[h], tolerance) << h;
  }
}

TEST(Ets, SimpleEqualsR) {
  auto golden = Golden("nile_simple_fixed");
  const std::span<const double> samples = golden["samples"];
  EtsState state{samples[0], 0, {}};
  const EtsParams params{golden["alpha"][0], 0, 1, 0};
  EXPECT_NEAR(SmoothEts(params, samples.subspan(1), 0, state, {}), golden["squares"][0], 1e-3);
  ExpectForecast(params, state, golden["forecast"], 1e-6);
}

TEST(Ets, TrendEqualsR) {
  auto golden = Golden("uspop_trend_fixed");
  const std::span<const double> samples = golden["samples"];
  EtsState state{samples[1], samples[1] - samples[0], {}};
  const EtsParams params{golden["alpha"][0], golden["beta"][0], 1, 0};
  EXPECT_NEAR(SmoothEts(params, samples.subspan(2), 0, state, {}), golden["squares"][0], 1e-6);
  ExpectForecast(params, state, golden["forecast"], 1e-6);
}

// The season's start as make_ets.R gives it to R, behind the first year.
EtsState FirstTwoYears(std::span<const double> samples) {
  EtsState start;
  for (int i = 0; i < 24; ++i) start.level += samples[i] / 24;
  for (int i = 0; i < 12; ++i) {
    start.season.push_back((samples[i] + samples[i + 12]) / 2 - start.level);
  }
  return start;
}

TEST(Ets, SeasonEqualsR) {
  auto golden = Golden("nottem_season_fixed");
  const std::span<const double> samples = golden["samples"];
  EtsState state = FirstTwoYears(samples);
  const EtsParams params{golden["alpha"][0], 0, 1, golden["gamma"][0]};
  EXPECT_NEAR(SmoothEts(params, samples.subspan(12), 0, state, {}), golden["squares"][0], 1e-5);
  ExpectForecast(params, state, golden["forecast"], 1e-6);
}

TEST(Ets, FindsAtLeastAsGoodASimpleFitAsR) {
  auto golden = Golden("nile_simple");
  const std::span<const double> samples = golden["samples"];
  const EtsFit fit = FitEts(EtsKind::kSimple, samples.subspan(1), 0, {samples[0], 0, {}});
  EXPECT_NEAR(fit.params.alpha, golden["alpha"][0], 1.0 / 64);
  EXPECT_LT(fit.squared_error, golden["squares"][0] * 1.001);
}

TEST(Ets, FindsAtLeastAsGoodASeasonalFitAsR) {
  auto golden = Golden("nottem_season");
  const std::span<const double> samples = golden["samples"];
  const EtsFit fit = FitEts(EtsKind::kSeasonal, samples.subspan(12), 0, FirstTwoYears(samples));
  EXPECT_LT(fit.squared_error, golden["squares"][0] * 1.001);
}

// forecast::ets on real series: from its start with its parameters the same errors, forecasts and
// widths; from its start with a search of our own nothing worse.
class ForecastPackage : public testing::TestWithParam<std::string> {};

TEST_P(ForecastPackage, EqualsR) {
  auto golden = Golden("ets_" + GetParam());
  const std::vector<double>& samples = golden["samples"];
  const double alpha = golden["alpha"][0];
  const EtsParams params{alpha, golden["beta"][0] / alpha, golden["phi"][0],
                         golden["gamma"][0] / (1 - alpha)};
  const EtsState start{golden["level"][0], golden["trend"][0], golden["season"]};
  const double squares = golden["squares"][0];
  EtsState state = start;
  EXPECT_NEAR(SmoothEts(params, samples, 0, state, {}) / squares, 1, 1e-8);
  const std::vector<double>& expected = golden["forecast"];
  std::vector<float> weights(expected.size());
  WeightsEts(params, state, weights);
  double variance = 0;
  for (size_t h = 0; h < expected.size(); ++h) {
    EXPECT_NEAR(ForecastEts(params, state, static_cast<int>(h) + 1) / expected[h], 1, 1e-8) << h;
    variance += static_cast<double>(weights[h]) * weights[h];
    // At whole seasons R has a season's error one step early: its k is h / m where table 6.2 of
    // Hyndman et al. (2008) has (h - 1) / m.
    if (!start.season.empty() && (h + 1) % start.season.size() == 0) continue;
    EXPECT_NEAR(std::sqrt(variance) / golden["spread"][h], 1, 1e-5) << h;
  }
  const EtsKind kind = !start.season.empty()  ? EtsKind::kSeasonal
                       : golden["phi"][0] < 1 ? EtsKind::kDampedTrend
                                              : EtsKind::kSimple;
  EXPECT_LT(FitEts(kind, samples, 0, start).squared_error, squares * 1.001);
}

INSTANTIATE_TEST_SUITE_P(Ets, ForecastPackage,
                         testing::Values("ann_nile", "aadn_uspop", "aadn_wwwusage", "ana_nottem",
                                         "ana_usaccdeaths"),
                         [](const auto& param) { return param.param; });

TEST(Ets, DampedTrendIsAsWorkedOutByHand) {
  // level 10, trend 2, damping 0.5: expected 11. 13 comes, an error of 2.
  const EtsParams params{0.5, 0.5, 0.5, 0};
  EtsState state{10, 2, {}};
  const double one[] = {13};
  EXPECT_DOUBLE_EQ(SmoothEts(params, one, 0, state, {}), 4);
  EXPECT_DOUBLE_EQ(state.level, 12);                 // 11 + 0.5 * 2
  EXPECT_DOUBLE_EQ(state.trend, 1 + 0.5 * 0.5 * 2);  // damped, plus alpha beta error
  EXPECT_DOUBLE_EQ(ForecastEts(params, state, 2), 12 + (0.5 + 0.25) * 1.5);
}

TEST(Ets, WeightsGiveTheSpreadOfSimulatedErrors) {
  // 20,000 futures of a seasonal process and of a damped trend, against the formula.
  std::mt19937_64 random(3);
  std::normal_distribution<double> normal(0, 1);
  for (const EtsParams& params : {EtsParams{0.4, 0, 1, 0.5}, EtsParams{0.4, 0.3, 0.9, 0}}) {
    EtsState start{0, 0, {}};
    if (params.gamma > 0) start.season = {0, 0, 0};
    constexpr int kAhead = 8;
    std::vector<double> squares(kAhead);
    for (int i = 0; i < 20'000; ++i) {
      EtsState state = start;
      for (double& square : squares) {
        const double one[] = {ForecastEts(params, state, 1) + normal(random)};
        SmoothEts(params, one, 0, state, {});
        square += one[0] * one[0] / 20'000;
      }
    }
    std::vector<float> weights(kAhead);
    WeightsEts(params, start, weights);
    double variance = 0;
    for (int h = 0; h < kAhead; ++h) {
      variance += weights[h] * weights[h];
      EXPECT_NEAR(std::sqrt(variance), std::sqrt(squares[h]), 0.03) << h;
    }
  }
}

TEST(Ets, ErrorsAheadAreThoseOfForecastsMadeThen) {
  // Each distance's errors out of one pass, against forecasts from every origin by a pass up to it.
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal(20, 4);
  std::vector<double> samples(60);
  std::ranges::generate(samples, [&] { return normal(random); });
  samples[31] = kMissing;
  for (const EtsParams& params : {EtsParams{0.4, 0, 1, 0.5}, EtsParams{0.4, 0.3, 0.9, 0}}) {
    EtsState start{20, 0, {}};
    if (params.gamma > 0) start.season = {1, 0, -1};
    EtsState end = start;
    std::vector<double> errors(samples.size());
    SmoothEts(params, samples, 0, end, errors);
    const std::vector<float> one_step(errors.begin(), errors.end());
    std::vector<float> weights(8), ahead;
    WeightsEts(params, start, weights);
    for (const int distance : {1, 2, 3, 8}) {
      std::vector<float> expected;
      for (int64_t origin = 0; origin + distance <= std::ssize(samples); ++origin) {
        const auto between = std::span(samples).subspan(origin, distance);
        if (std::ranges::any_of(between, [](double x) { return std::isnan(x); })) continue;
        EtsState state = start;
        SmoothEts(params, std::span(samples).first(origin), 0, state, {});
        expected.push_back(
            static_cast<float>(between.back() - ForecastEts(params, state, distance)));
      }
      ErrorsAhead(one_step, weights, distance, ahead);
      EXPECT_THAT(ahead, testing::Pointwise(testing::FloatNear(1e-4f), expected)) << distance;
    }
  }
}

TEST(Ets, MissingSamplesMoveTheSeasonOn) {
  const EtsParams params{0.3, 0, 1, 0.2};
  EtsState state{5, 0, {1, 2, 3}};
  const double gap[] = {kMissing, kMissing};
  std::vector<double> errors(2);
  EXPECT_EQ(SmoothEts(params, gap, 0, state, errors), 0);
  EXPECT_THAT(state.season, testing::ElementsAre(3, 1, 2));
  EXPECT_TRUE(std::isnan(errors[1]));
  EXPECT_EQ(state.level, 5);
}

}  // namespace
}  // namespace foreshadow::models
