// ARIMA against R's arima, auto.arima and ndiffs (tests/golden/make_arima.R), against closed forms,
// and the model's own promises.
#include "models/arima/arima.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <numbers>
#include <random>
#include <sstream>

#include "models/arima/choose.h"

namespace foreshadow::models {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();

using Golden = std::map<std::string, std::vector<double>>;

Golden ReadGolden(const std::string& name) {
  Golden golden;
  std::ifstream in(FORESHADOW_SOURCE_DIR "/tests/golden/arima/" + name + ".txt");
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
  EXPECT_FALSE(golden.empty()) << name;
  return golden;
}

ArimaOrder OrderOf(const std::vector<double>& v) {
  const auto at = [&](int i) { return static_cast<int>(v[i]); };
  return {at(0), at(1), at(2), at(3), at(4), at(5), at(6), v[7] != 0};
}

// In R's order.
std::vector<double> InRow(const ArimaOrder& order, const ArimaCoefficients& c) {
  std::vector<double> row;
  const auto add = [&](std::span<const double> values, int count) {
    row.insert(row.end(), values.begin(), values.begin() + count);
  };
  add(c.ar, order.p);
  add(c.ma, order.q);
  add(c.seasonal_ar, order.seasonal_p);
  add(c.seasonal_ma, order.seasonal_q);
  if (order.constant) row.push_back(c.constant);
  return row;
}

class FixedOrder : public testing::TestWithParam<std::string> {};

// R stops its search where ours may go on a little, and starts from a variance of 1e6 where ours
// knows the first samples: hence the tolerances.
TEST_P(FixedOrder, EqualsR) {
  Golden golden = ReadGolden(GetParam());
  const std::vector<double>& samples = golden["samples"];
  const ArimaOrder order = OrderOf(golden["order"]);
  ArimaSamples prepared;
  ASSERT_TRUE(prepared.Prepare(samples, order.d, order.seasonal_d, order.period));
  ArimaFitter fitter;
  const ArimaFit fit = fitter.Fit(order, prepared, nullptr, kFitTolerance);
  EXPECT_NEAR(fit.log_likelihood, golden["log_likelihood"][0], 5e-3);
  EXPECT_NEAR(fit.variance / golden["sigma2"][0], 1, 2e-3);
  const std::vector<double> row = InRow(order, fit.coefficients);
  ASSERT_EQ(row.size(), golden["coefficients"].size());
  for (size_t i = 0; i < row.size(); ++i) {
    EXPECT_NEAR(row[i], golden["coefficients"][i], 2e-3 * (1 + std::abs(row[i]))) << i;
  }
  ArimaForecast forecast;
  fitter.Forecast(fit, prepared, samples, static_cast<int>(golden["mean"].size()), forecast);
  double variance = 0;  // by the weights of past errors, where the past is known
  for (size_t h = 0; h < golden["mean"].size(); ++h) {
    variance += fit.variance * forecast.weights[h] * forecast.weights[h];
    EXPECT_NEAR(std::sqrt(variance) / golden["deviation"][h], 1, 2e-2) << h;
    // R's deviation is the unit, so that it does not matter what the series measures.
    EXPECT_NEAR((forecast.mean[h] - golden["mean"][h]) / golden["deviation"][h], 0, 5e-3) << h;
    EXPECT_NEAR(forecast.deviation[h] / golden["deviation"][h], 1, 2e-3) << h;
  }
}

INSTANTIATE_TEST_SUITE_P(Arima, FixedOrder,
                         testing::Values("nile_111", "nile_101", "lakehuron_200",
                                         "lakehuron_011_drift", "lh_300", "lh_101_zero_mean",
                                         "wwwusage_310", "wwwusage_111", "wwwusage_022",
                                         "co2_011_011", "co2_111_112", "nottem_100_210",
                                         "usaccdeaths_011_011", "presidents_300", "nile_011_gaps",
                                         "wwwusage_111_gaps", "wwwusage_022_gaps", "nile_101_gaps",
                                         "co2_011_011_gaps", "trace_111", "trace_201"),
                         [](const auto& param) { return param.param; });

class Chosen : public testing::TestWithParam<std::string> {};

TEST_P(Chosen, IsAtLeastAsGoodAsR) {
  Golden golden = ReadGolden(GetParam());
  const ArimaOrder order = OrderOf(golden["order"]);
  ArimaSamples prepared;
  ArimaFitter fitter;
  const ArimaChoice choice =
      ChooseArima(golden["samples"], order.period, order.seasonal_d, fitter, prepared);
  ASSERT_TRUE(choice.found);
  EXPECT_EQ(choice.fit.order.d, order.d);
  EXPECT_LT(choice.fit.aicc, golden["aicc"][0] + 0.01);
}

INSTANTIATE_TEST_SUITE_P(Arima, Chosen,
                         testing::Values("choice_nile", "choice_lakehuron", "choice_lh",
                                         "choice_wwwusage", "choice_nottem", "choice_usaccdeaths"),
                         [](const auto& param) { return param.param; });

TEST(Arima, KpssEqualsR) {
  const std::map<std::string, std::string> names = {
      {"nile", "nile_111"}, {"lakehuron", "lakehuron_200"}, {"co2", "co2_011_011"}};
  Golden kpss = ReadGolden("kpss");
  for (const auto& [name, file] : names) {
    EXPECT_NEAR(KpssStatistic(ReadGolden(file)["samples"]), kpss[name][0], 1e-9) << name;
  }
}

TEST(Arima, AutocovariancesAreThoseOfClosedForms) {
  const auto gamma_of = [](const ArimaOrder& order, const ArimaCoefficients& c) {
    std::array<double, 4> gamma;
    Autocovariances(Expand(order, c), order.ArLength(), order.MaLength(), gamma);
    return gamma;
  };
  ArimaCoefficients c;
  c.ar = {0.7, 0.2};
  c.ma = {0.5};
  const double arma = (1 + 0.25 + 2 * 0.7 * 0.5) / (1 - 0.49);  // Box and Jenkins 1976, section 3.4
  EXPECT_NEAR(gamma_of({1, 0, 1}, c)[0], arma, 1e-12);
  EXPECT_NEAR(gamma_of({1, 0, 1}, c)[2], 0.7 * (0.7 * arma + 0.5), 1e-12);
  const double ar2 = 0.8 / (1.2 * (0.8 * 0.8 - 0.7 * 0.7));
  EXPECT_NEAR(gamma_of({2, 0, 0}, c)[0], ar2, 1e-12);
  EXPECT_NEAR(gamma_of({2, 0, 0}, c)[1], ar2 * 0.7 / 0.8, 1e-12);
  EXPECT_THAT(gamma_of({0, 0, 1}, c), testing::ElementsAre(1.25, 0.5, 0, 0));
}

TEST(Arima, PartialsGoThereAndBack) {
  std::vector<double> values = {0.9, -0.5, 0.3, 0.99, -0.2};
  FromPartials(values);
  EXPECT_TRUE(RootsBeyond(values, 1));
  EXPECT_TRUE(ToPartials(values));
  EXPECT_THAT(values, testing::Pointwise(testing::DoubleNear(1e-12), {0.9, -0.5, 0.3, 0.99, -0.2}));
  const double near_one[] = {0.995};
  EXPECT_TRUE(RootsBeyond(near_one, 1.004));
  EXPECT_FALSE(RootsBeyond(near_one, 1.01));
}

// Log of the normal density of the samples that are there, by the Cholesky factor of their whole
// covariance matrix.
double DenseLogLikelihood(const std::vector<double>& samples, const std::vector<double>& gamma) {
  std::vector<size_t> at;
  for (size_t t = 0; t < samples.size(); ++t) {
    if (!std::isnan(samples[t])) at.push_back(t);
  }
  const size_t n = at.size();
  std::vector<std::vector<double>> l(n, std::vector<double>(n));
  double sum = 0;
  std::vector<double> z(n);
  for (size_t i = 0; i < n; ++i) {
    z[i] = samples[at[i]];
    for (size_t j = 0; j <= i; ++j) {
      double value = gamma[at[i] - at[j]];
      for (size_t k = 0; k < j; ++k) value -= l[i][k] * l[j][k];
      l[i][j] = i == j ? std::sqrt(value) : value / l[j][j];
      if (j < i) z[i] -= l[i][j] * z[j];
    }
    z[i] /= l[i][i];
    sum += -0.5 * (std::log(2 * std::numbers::pi) + z[i] * z[i]) - std::log(l[i][i]);
  }
  return sum;
}

double FilteredLogLikelihood(const ArimaFilter& filter, int lane) {
  return -0.5 * (static_cast<double>(filter.result().count) * std::log(2 * std::numbers::pi) +
                 filter.result().log_determinant.lane[lane] + filter.result().Squares(lane));
}

// Eight vectors of parameters, one a lane.
std::array<ArimaCoefficients, kLanes> RandomCoefficients(const ArimaOrder& order,
                                                         std::mt19937_64& random) {
  std::uniform_real_distribution<double> partial(-0.9, 0.9);
  std::array<ArimaCoefficients, kLanes> out{};
  const auto fill = [&](std::span<double> values, double sign) {
    for (double& value : values) value = partial(random);
    FromPartials(values);
    for (double& value : values) value *= sign;
  };
  for (ArimaCoefficients& c : out) {
    fill(std::span(c.ar).first(order.p), 1);
    fill(std::span(c.ma).first(order.q), -1);
    fill(std::span(c.seasonal_ar).first(order.seasonal_p), 1);
    fill(std::span(c.seasonal_ma).first(order.seasonal_q), -1);
  }
  return out;
}

constexpr ArimaOrder kStationary[] = {{0, 0, 0},
                                      {1, 0, 0},
                                      {0, 0, 1},
                                      {2, 0, 1},
                                      {1, 0, 3},
                                      {5, 0, 2},
                                      {1, 0, 1, 1, 0, 1, 4},
                                      {0, 0, 2, 2, 0, 0, 7}};

TEST(Arima, LikelihoodIsThatOfTheWholeCovarianceMatrix) {
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  ArimaFilter filter;
  for (const ArimaOrder& order : kStationary) {
    const auto coefficients = RandomCoefficients(order, random);
    std::vector<double> samples(60);
    for (double& sample : samples) sample = normal(random);
    std::vector<double> holes = samples;
    for (const int t : {0, 3, 4, 20, 21, 22, 23, 50}) holes[t] = kMissing;
    filter.SetModel(order, coefficients);
    for (int lane = 0; lane < kLanes; ++lane) {
      std::array<double, kStatesMax + 1> first;
      Autocovariances(Expand(order, coefficients[lane]), order.ArLength(), order.MaLength(), first);
      std::vector<double> gamma(first.begin(), first.end());
      const ArmaPolynomials poly = Expand(order, coefficients[lane]);
      for (size_t h = gamma.size(); h < 60; ++h) {
        gamma.push_back(0);
        for (int i = 0; i < order.ArLength(); ++i) gamma[h] += poly.ar[i] * gamma[h - 1 - i];
      }
      filter.RunDifferenced(samples, 1);
      EXPECT_NEAR(FilteredLogLikelihood(filter, lane), DenseLogLikelihood(samples, gamma), 1e-6);
      filter.RunLevels(samples, {}, {});
      EXPECT_NEAR(FilteredLogLikelihood(filter, lane), DenseLogLikelihood(samples, gamma), 1e-6);
      filter.RunLevels(holes, {}, {});
      EXPECT_NEAR(FilteredLogLikelihood(filter, lane), DenseLogLikelihood(holes, gamma), 1e-6);
    }
  }
}

TEST(Arima, LevelsGiveWhatDifferencingGives) {
  std::mt19937_64 random(6);
  std::normal_distribution<double> normal;
  for (const ArimaOrder& order :
       {ArimaOrder{1, 1, 1}, ArimaOrder{2, 2, 0}, ArimaOrder{0, 1, 1, 0, 1, 1, 4},
        ArimaOrder{1, 0, 0, 1, 1, 0, 6}}) {
    std::vector<double> samples(200);
    for (double& sample : samples) sample = normal(random);
    std::vector<double> differenced = samples;
    const auto difference = [&](int64_t lag) {
      for (int64_t t = std::ssize(differenced) - 1; t >= lag; --t) {
        differenced[t] -= differenced[t - lag];
      }
      differenced.erase(differenced.begin(), differenced.begin() + lag);
    };
    for (int i = 0; i < order.d; ++i) difference(1);
    for (int i = 0; i < order.seasonal_d; ++i) difference(order.period);
    ArimaFilter filter;
    filter.SetModel(order, RandomCoefficients(order, random));
    filter.RunDifferenced(differenced, 1);
    std::vector<double> expected;
    for (int lane = 0; lane < kLanes; ++lane) {
      expected.push_back(FilteredLogLikelihood(filter, lane));
    }
    filter.RunLevels(samples, {}, {});
    for (int lane = 0; lane < kLanes; ++lane) {
      EXPECT_NEAR(FilteredLogLikelihood(filter, lane), expected[lane], 1e-6) << lane;
    }
  }
}

// ARMA(1,1) about a level that may walk.
std::vector<double> Simulate(int steps, double walk, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  std::vector<double> out;
  double level = 0;
  double value = 0;
  double before = 0;
  for (int t = 0; t < steps; ++t) {
    const double error = normal(random);
    value = 0.7 * value + error + 0.4 * before;
    before = error;
    level += walk * normal(random);
    out.push_back(100 + level + value);
  }
  return out;
}

TEST(Arima, FindsTheParametersOfASimulation) {
  std::mt19937_64 random(7);
  const std::vector<double> samples = Simulate(20'000, 0, random);
  ArimaSamples prepared;
  ArimaFitter fitter;
  ASSERT_TRUE(prepared.Prepare(samples, 0, 0, 0));
  const ArimaFit fit = fitter.Fit({1, 0, 1, 0, 0, 0, 0, true}, prepared, nullptr, kFitTolerance);
  EXPECT_NEAR(fit.coefficients.ar[0], 0.7, 0.03);
  EXPECT_NEAR(fit.coefficients.ma[0], 0.4, 0.03);
  EXPECT_NEAR(fit.coefficients.constant, 100, 0.2);
  EXPECT_NEAR(fit.variance, 1, 0.03);
}

TEST(Arima, UnitsDoNotMatter) {
  std::mt19937_64 random(8);
  const std::vector<double> samples = Simulate(500, 0.2, random);
  ArimaFitter fitter;
  ArimaSamples prepared;
  const ArimaChoice plain = ChooseArima(samples, 0, 0, fitter, prepared);
  for (const double unit : {1e-9, 1e12}) {
    std::vector<double> scaled = samples;
    for (double& sample : scaled) sample *= unit;
    const ArimaChoice choice = ChooseArima(scaled, 0, 0, fitter, prepared);
    ASSERT_TRUE(choice.found);
    EXPECT_EQ(choice.fit.order, plain.fit.order);
    EXPECT_NEAR(choice.fit.coefficients.ar[0], plain.fit.coefficients.ar[0], 1e-3);
    EXPECT_NEAR(choice.fit.variance / (unit * unit * plain.fit.variance), 1, 1e-4);
  }
}

TEST(Arima, ASilenceAtTheEndOnlyWidensTheForecast) {
  std::mt19937_64 random(9);
  std::vector<double> samples = Simulate(300, 0.2, random);
  ArimaFitter fitter;
  ArimaSamples prepared;
  ASSERT_TRUE(prepared.Prepare(samples, 1, 0, 0));
  const ArimaFit fit = fitter.Fit({1, 1, 1}, prepared, nullptr, kFitTolerance);
  ArimaForecast all, late;
  fitter.Forecast(fit, prepared, samples, 6, all);
  samples.insert(samples.end(), 3, kMissing);
  fitter.Forecast(fit, prepared, samples, 3, late);
  for (int h = 0; h < 3; ++h) {
    EXPECT_DOUBLE_EQ(late.mean[h], all.mean[h + 3]);
    EXPECT_DOUBLE_EQ(late.deviation[h], all.deviation[h + 3]);
  }
}

struct Batch {
  int64_t steps;
  int64_t series;
  std::vector<float> values;
  std::vector<SignalKind> signals;
  std::vector<int32_t> periods;
  History history() const {
    return {1'700'000'000'000, 300'000, {values.data(), steps, series, series}, signals, periods};
  }
};

TEST(Arima, HoldsEightyPercentOfAProcessWithADailySeason) {
  constexpr int kPast = 1'440;
  constexpr int kAhead = 12;
  constexpr int kSeries = 150;
  std::mt19937_64 random(10);
  Batch batch{kPast, kSeries, std::vector<float>(size_t{kPast} * kSeries),
              std::vector<SignalKind>(kSeries), std::vector<int32_t>(kSeries, 288)};
  std::vector<std::vector<double>> futures;
  for (int s = 0; s < kSeries; ++s) {
    std::vector<double> samples = Simulate(kPast + kAhead, 0, random);
    for (int t = 0; t < kPast + kAhead; ++t) {
      samples[t] += 10 * std::sin(2 * std::numbers::pi * (t + 2 * s) / 288);
    }
    for (int t = 0; t < kPast; ++t) batch.values[t * kSeries + s] = static_cast<float>(samples[t]);
    futures.emplace_back(samples.end() - kAhead, samples.end());
  }
  QuantileBlock block;
  ASSERT_TRUE(MakeArima(1)->Forecast(batch.history(), kAhead, block).ok());
  double inside = 0;
  double squares = 0;
  for (int s = 0; s < kSeries; ++s) {
    EXPECT_EQ(block.status[s], ForecastStatus::kOk);
    for (int h = 0; h < kAhead; ++h) {
      const auto row = block.at(s, h);
      inside += futures[s][h] >= row[1] && futures[s][h] <= row[5] ? 1 : 0;
      squares += (futures[s][h] - row[kMedian]) * (futures[s][h] - row[kMedian]);
    }
  }
  EXPECT_NEAR(inside / (kSeries * kAhead), 0.8, 0.04);
  // The process' own deviation is 1.8; the season alone has 7.
  EXPECT_LT(std::sqrt(squares / (kSeries * kAhead)), 2.1);
}

TEST(Arima, ThreadsDoNotMatter) {
  std::mt19937_64 random(11);
  constexpr int kSeries = 40;
  Batch batch{
      400, kSeries, {}, std::vector<SignalKind>(kSeries), std::vector<int32_t>(kSeries, 12)};
  std::normal_distribution<float> normal(100, 10);
  for (int i = 0; i < 400 * kSeries; ++i) {
    batch.values.push_back(i % 97 == 0 ? static_cast<float>(kMissing) : normal(random));
  }
  QuantileBlock one, three;
  ASSERT_TRUE(MakeArima(1)->Forecast(batch.history(), 5, one).ok());
  ASSERT_TRUE(MakeArima(3)->Forecast(batch.history(), 5, three).ok());
  EXPECT_EQ(one.values, three.values);
}

}  // namespace
}  // namespace foreshadow::models
