// The additive model against Prophet itself on real series (tests/golden/make_prophet.py), against
// its own optimality conditions, and against futures drawn at random.
#include "models/prophet/prophet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>
#include <random>

#include "models/prophet/fit.h"

namespace foreshadow::models {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
constexpr double kDayMs = 86'400'000;

struct Golden {
  explicit Golden(const std::string& name) {
    std::ifstream in(FORESHADOW_SOURCE_DIR "/tests/golden/prophet/" + name + ".json");
    EXPECT_TRUE(in.good()) << name;
    json = nlohmann::json::parse(in);
  }
  double Number(const char* key) const { return json.at(key).get<double>(); }
  Eigen::VectorXd Numbers(const char* key) const {
    const auto& list = json.at(key);
    Eigen::VectorXd numbers(std::ssize(list));
    for (int64_t i = 0; i < numbers.size(); ++i) {
      numbers[i] = list[i].is_null() ? kMissing : list[i].get<double>();
    }
    return numbers;
  }

  nlohmann::json json;
};

ProphetDesign DesignOf(const Golden& golden) {
  ProphetOptions options;
  for (const auto& season : golden.json.at("seasons")) {
    options.seasons.push_back(
        {.period_ms = season[0].get<double>() * kDayMs, .order = season[1].get<int>()});
  }
  if (golden.json.contains("events_s")) {
    ProphetEvent event;
    for (const auto& day : golden.json["events_s"]) {
      const int64_t begin_ms = day.get<int64_t>() * 1'000;
      event.windows.push_back({begin_ms, begin_ms + static_cast<int64_t>(kDayMs)});
    }
    options.events.push_back(event);
  }
  if (golden.json.contains("regressor")) {
    options.regressors.push_back({.values = golden.json["regressor"].get<std::vector<double>>()});
  }
  const ProphetGrid grid{golden.json.at("begin_s").get<int64_t>() * 1'000,
                         golden.json.at("step_s").get<int64_t>() * 1'000,
                         std::ssize(golden.json.at("samples")),
                         golden.json.at("ahead").get<int64_t>()};
  auto design = MakeProphetDesign(grid, options);
  EXPECT_TRUE(design.ok()) << design.status();
  return *std::move(design);
}

ProphetFit FitOne(const ProphetDesign& design, const Eigen::VectorXd& samples) {
  ProphetFitter fitter;
  ProphetFit fit;
  fitter.Fit(design, samples, {&fit, 1});
  return fit;
}

double TrendAt(const ProphetDesign& design, const ProphetFit& fit, int64_t row) {
  const auto changes = design.changes();
  return fit.scale * (design.row(row).head(2).dot(fit.weights.head(2)) +
                      design.row(row).tail(changes).dot(fit.weights.tail(changes)));
}

class LikeProphet : public testing::TestWithParam<const char*> {};

// Distances are in the largest sample, Prophet's unit.
TEST_P(LikeProphet, StandsAtTheOptimumOfItsPosterior) {
  const Golden golden(GetParam());
  const ProphetDesign design = DesignOf(golden);
  const ProphetFit fit = FitOne(design, golden.Numbers("samples"));
  EXPECT_NEAR(fit.scale, golden.Number("scale"), 1e-7 * fit.scale);
  EXPECT_NEAR(fit.objective, golden.Number("objective"), 1e-5);
  EXPECT_NEAR(fit.sigma, golden.Number("sigma"), 1e-6 * fit.sigma);
  const Eigen::VectorXd trend = golden.Numbers("trend");
  const Eigen::VectorXd yhat = golden.Numbers("yhat");
  ASSERT_EQ(yhat.size(), design.grid.past + design.grid.ahead);
  for (int64_t row = 0; row < yhat.size(); ++row) {
    ASSERT_NEAR(TrendAt(design, fit, row), trend[row], 1e-5 * fit.scale) << row;
    ASSERT_NEAR(PredictProphet(design, fit, row), yhat[row], 1e-5 * fit.scale) << row;
  }
}

// Prophet's own run halts at the kinks of the Laplace prior: it is never better, and as the
// posterior is flat there its forecast is another by up to a tenth of the noise.
TEST_P(LikeProphet, IsNearProphetsOwnRun) {
  const Golden golden(GetParam());
  const ProphetDesign design = DesignOf(golden);
  const ProphetFit fit = FitOne(design, golden.Numbers("samples"));
  EXPECT_LE(fit.objective, golden.Number("objective_prophet"));
  EXPECT_GE(fit.objective, golden.Number("objective_prophet") - 5);
  const Eigen::VectorXd yhat = golden.Numbers("yhat_prophet");
  for (int64_t step = 0; step < yhat.size(); ++step) {
    EXPECT_NEAR(PredictProphet(design, fit, design.grid.past + step), yhat[step],
                0.1 * fit.sigma * fit.scale)
        << step;
  }
}

// Prophet draws 20,000 futures: each of its limits is good to a hundredth of the noise.
TEST_P(LikeProphet, GivesTheSameInterval) {
  const Golden golden(GetParam());
  const ProphetDesign design = DesignOf(golden);
  const ProphetFit fit = FitOne(design, golden.Numbers("samples"));
  const Eigen::VectorXd lower = golden.Numbers("lower");
  const Eigen::VectorXd upper = golden.Numbers("upper");
  constexpr double kTenth = 1.2815515655446004;
  for (int64_t step = 0; step < lower.size(); ++step) {
    const ProphetSpread spread = SpreadProphet(design, fit, static_cast<double>(step + 1));
    const double half = OffsetProphet(spread, kTenth);
    const double point = PredictProphet(design, fit, design.grid.past + step);
    EXPECT_NEAR(point - half, lower[step], 0.04 * half) << step;
    EXPECT_NEAR(point + half, upper[step], 0.04 * half) << step;
  }
}

INSTANTIATE_TEST_SUITE_P(OnRealSeries, LikeProphet,
                         testing::Values("requests_5_min", "requests_hour", "requests_events",
                                         "trace_cpu", "trace_cpu_gaps"),
                         [](const auto& each) { return std::string(each.param); });

// A week of 5 min with a day's wave, a bend in the middle and noise.
Eigen::VectorXd Bent(uint64_t seed, int64_t count = 2'016) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0, 1);
  Eigen::VectorXd samples(count);
  for (int64_t i = 0; i < count; ++i) {
    const auto t = static_cast<double>(i);
    samples[i] = 100 + 20 * std::sin(t / 288 * 2 * std::numbers::pi) +
                 0.05 * std::max(0.0, t - static_cast<double>(count) / 2) + normal(random);
  }
  return samples;
}

ProphetDesign WeekDesign(const ProphetOptions& options, int64_t past = 2'016, int64_t ahead = 12) {
  auto design = MakeProphetDesign({1'700'000'000'000, 300'000, past, ahead}, options);
  EXPECT_TRUE(design.ok()) << design.status();
  return *std::move(design);
}

ProphetOptions WithDay() { return {.seasons = {{.period_ms = kDayMs, .order = 10}}}; }

TEST(Prophet, MeetsTheConditionsOfAnOptimum) {
  // Of the objective's derivatives each smooth one is zero; each rate change's is zero up to the
  // prior's slope, which has the change's own sign where that is not zero.
  const ProphetDesign design = WeekDesign(WithDay());
  for (uint64_t seed = 0; seed < 5; ++seed) {
    const Eigen::VectorXd samples = Bent(seed);
    const ProphetFit fit = FitOne(design, samples);
    const auto past = design.rows.leftCols(2'016);
    const Eigen::VectorXd errors = samples / fit.scale - past.transpose() * fit.weights;
    const double variance = fit.sigma * fit.sigma;
    Eigen::VectorXd slope = past * errors;
    slope.head(design.smooth()) -=
        variance * design.precision.cwiseProduct(fit.weights.head(design.smooth()));
    EXPECT_LT(slope.head(design.smooth()).cwiseAbs().maxCoeff(), 1e-8);
    const double price = variance / design.change_scale;
    int64_t bends = 0;
    for (int64_t i = 0; i < design.changes(); ++i) {
      const double change = fit.weights[design.smooth() + i];
      const double at = slope[design.smooth() + i];
      if (change == 0) {
        EXPECT_LE(std::fabs(at), price * (1 + 1e-6) + 1e-7);
      } else {
        EXPECT_NEAR(at, change > 0 ? price : -price, 1e-7);
        ++bends;
      }
    }
    EXPECT_GE(bends, 1);
    EXPECT_LT(bends, 15);  // sparse: one bend is there
    EXPECT_NEAR(2'016 * variance + 4 * variance * variance, errors.squaredNorm(), 1e-6);
    EXPECT_NEAR(fit.sigma * fit.scale, 1, 0.05);
  }
}

TEST(Prophet, ConstantSeriesStayWhereTheyAre) {
  const ProphetDesign design = WeekDesign(WithDay());
  for (const double value : {0.0, 42.0, -3.0, 3e38}) {
    const ProphetFit fit = FitOne(design, Eigen::VectorXd::Constant(2'016, value));
    EXPECT_DOUBLE_EQ(PredictProphet(design, fit, 2'027), value);
  }
}

TEST(Prophet, BatchEqualsOneByOne) {
  const ProphetDesign design = WeekDesign(WithDay());
  Eigen::MatrixXd batch(2'016, 5);
  for (int64_t s = 0; s < 5; ++s) batch.col(s) = Bent(s) * std::pow(10.0, s);
  batch.col(1).segment(100, 50).setConstant(kMissing);
  batch.col(3).setConstant(kMissing);
  ProphetFitter fitter;
  std::vector<ProphetFit> fits(5);
  fitter.Fit(design, batch, fits);
  EXPECT_EQ(fits[3].samples, 0);
  for (const int s : {0, 1, 2, 4}) {
    const ProphetFit alone = FitOne(design, batch.col(s));
    EXPECT_EQ(alone.samples, fits[s].samples);
    EXPECT_LT((alone.weights - fits[s].weights).cwiseAbs().maxCoeff(), 1e-9) << s;
  }
}

TEST(Prophet, FewRowsLeftOrFewTakenAwayAreTheSame) {
  // 60 % missing goes by the rows that are there, 40 % by those that are not.
  ProphetOptions options;
  options.changes = 3;
  const ProphetDesign design = WeekDesign(options, 200);
  for (const int share : {2, 3}) {
    Eigen::VectorXd samples = Bent(7, 200);
    for (int64_t i = 1; i < 199; ++i) {
      if ((i % 5) < share) samples[i] = kMissing;
    }
    const ProphetFit fit = FitOne(design, samples);
    // The same without the missing rows, by a design of the present ones.
    ProphetDesign present = design;
    Eigen::VectorXd dense(fit.samples);
    for (int64_t row = 0, count = 0; row < 200; ++row) {
      if (std::isnan(samples[row])) continue;
      present.rows.col(count) = design.rows.col(row);
      dense[count++] = samples[row];
    }
    present.grid.past = fit.samples;
    const auto rows = present.rows.leftCols(fit.samples);
    present.gram = rows * rows.transpose();
    const ProphetFit expected = FitOne(present, dense);
    EXPECT_LT((fit.weights - expected.weights).cwiseAbs().maxCoeff(), 1e-8) << share;
  }
}

TEST(Prophet, HeldOutErrorsAreThoseOfAFitThatHadNotSeenThem) {
  ProphetOptions options = WithDay();
  options.origins = 16;
  const ProphetDesign design = WeekDesign(options);
  ASSERT_EQ(design.stretches.size(), 16u);
  EXPECT_EQ(design.stretches.front().first, 1'612);  // 80 % may hold a change
  Eigen::VectorXd samples = Bent(5);
  samples.segment(1'700, 10).setConstant(kMissing);
  const ProphetFit fit = FitOne(design, samples);
  ASSERT_EQ(std::ssize(fit.held_out), 2'016 - 1'612 - 10);
  size_t next = 0;  // the latest stretch comes first
  for (auto stretch = design.stretches.rbegin(); stretch != design.stretches.rend(); ++stretch) {
    Eigen::VectorXd earlier = samples;
    earlier.tail(2'016 - stretch->first).setConstant(kMissing);
    const ProphetFit refit = FitOne(design, earlier);  // with a noise of its own: all but the same
    for (int64_t row = stretch->first; row < stretch->first + stretch->count; ++row) {
      if (std::isnan(samples[row])) continue;
      EXPECT_NEAR(fit.held_out[next++], samples[row] - PredictProphet(design, refit, row), 0.05);
    }
    EXPECT_EQ(stretch->first + stretch->count,
              stretch == design.stretches.rbegin() ? 2'016 : std::prev(stretch)->first);
  }
}

TEST(Prophet, OddHistoriesGetAnAnswerInOrder) {
  // Short, sparse, ramps, steps, bursts, two values, and all kinds in one batch.
  constexpr int64_t kSteps = 1'000;
  constexpr int64_t kSeries = 240;
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  std::mt19937_64 random(9);
  std::uniform_real_distribution<float> uniform(0, 1);
  std::vector<float> values(kSteps * kSeries, kNone);
  for (int64_t s = 0; s < kSeries; ++s) {
    const int64_t length = s % 3 == 0 ? 10 + s / 3 : kSteps;
    const float kept = s % 5 == 0 ? 0.05f : 1;
    for (int64_t t = kSteps - length; t < kSteps; ++t) {
      if (t < kSteps - 1 && uniform(random) > kept) continue;
      const auto at = static_cast<float>(t);
      const float shapes[] = {at,
                              t < 700 ? 0.0f : 5.0f,
                              t % 97 == 0 ? 1e30f : 0.0f,
                              static_cast<float>(t % 2),
                              1e-30f * uniform(random),
                              std::exp(at / 20),
                              7};
      values[t * kSeries + s] = shapes[s % 7];
    }
  }
  const std::vector<SignalKind> signals(kSeries, SignalKind::kCpu);
  std::vector<int32_t> periods(kSeries);
  for (int64_t s = 0; s < kSeries; ++s) {
    constexpr int32_t kPeriods[] = {0, 288, 144, 36, 2, 5'000};
    periods[s] = kPeriods[s % 6];
  }
  const auto model = MakeProphet(2);
  QuantileBlock block;
  ASSERT_TRUE(model
                  ->Forecast({1'700'000'000'000,
                              300'000,
                              {values.data(), kSteps, kSeries, kSeries},
                              signals,
                              periods},
                             24, block)
                  .ok());
  for (int64_t s = 0; s < kSeries; ++s) {
    if (block.status[s] != ForecastStatus::kOk) {
      EXPECT_EQ(s % 5, 0) << s;  // so sparse that fewer than ten samples are left
      continue;
    }
    for (int step = 0; step < 24; ++step) {
      EXPECT_TRUE(std::ranges::is_sorted(block.at(s, step))) << s;
      EXPECT_THAT(block.at(s, step),
                  testing::Each(testing::AllOf(testing::Ge(0.0f),
                                               testing::Le(std::numeric_limits<float>::max()))))
          << s;
    }
  }
  EXPECT_NEAR(block.at(7, 11)[kMedian], 1'011, 1);  // the ramp goes on
}

TEST(Prophet, ThreadsDoNotChangeTheAnswer) {
  constexpr int64_t kSteps = 700;
  constexpr int64_t kSeries = 100;
  std::vector<float> values(kSteps * kSeries);
  for (int64_t s = 0; s < kSeries; ++s) {
    const Eigen::VectorXd samples = Bent(static_cast<uint64_t>(s), kSteps);
    for (int64_t t = 0; t < kSteps; ++t) {
      values[t * kSeries + s] = t < s / 10 ? std::nanf("") : static_cast<float>(samples[t]);
    }
  }
  const std::vector<SignalKind> signals(kSeries, SignalKind::kCpu);
  const std::vector<int32_t> periods(kSeries, 0);
  const History history{
      1'700'000'000'000, 300'000, {values.data(), kSteps, kSeries, kSeries}, signals, periods};
  QuantileBlock one, three;
  ASSERT_TRUE(MakeProphet(1)->Forecast(history, 12, one).ok());
  ASSERT_TRUE(MakeProphet(3)->Forecast(history, 12, three).ok());
  EXPECT_EQ(one.values, three.values);
}

TEST(Prophet, SpreadIsThatOfDrawnFutures) {
  // Large rate changes far ahead, where the law is far from normal: variance and kurtosis of
  // 200,000 futures, and the quantile within 3 %.
  const ProphetDesign design = WeekDesign({}, 201);
  ProphetFit fit;
  fit.scale = 3;
  fit.sigma = 0.05;
  fit.weights.setZero(design.columns());
  fit.weights.tail(25).setConstant(0.3);
  constexpr double kAhead = 60;  // 0.3 of the past: 7.5 changes
  std::mt19937_64 random(11);
  std::poisson_distribution<int> count(25 * kAhead / 200);
  std::uniform_real_distribution<double> place(0, kAhead / 200);
  std::exponential_distribution<double> size(1 / 0.3);
  std::normal_distribution<double> noise(0, fit.sigma);
  std::vector<double> futures(200'000);
  for (double& future : futures) {
    future = noise(random);
    for (int i = count(random); i > 0; --i) {
      future += (random() & 1 ? 1 : -1) * size(random) * place(random);
    }
    future *= fit.scale;
  }
  const ProphetSpread spread = SpreadProphet(design, fit, kAhead);
  double square = 0, fourth = 0;
  for (const double future : futures) {
    square += future * future / 200'000;
    fourth += future * future * future * future / 200'000;
  }
  EXPECT_NEAR(spread.deviation, std::sqrt(square), 0.01 * spread.deviation);
  EXPECT_NEAR(spread.excess, fourth / (square * square) - 3, 0.15);
  std::ranges::sort(futures);
  EXPECT_NEAR(OffsetProphet(spread, 1.2815515655446004), futures[180'000], 0.03 * futures[180'000]);
  EXPECT_NEAR(OffsetProphet(spread, -1.6448536269514722), futures[10'000], -0.03 * futures[10'000]);
}

TEST(Prophet, EventHasItsEffectInItsWindowOnly) {
  ProphetOptions options = WithDay();
  const int64_t begin_ms = 1'700'000'000'000;
  options.events.push_back({.windows = {{begin_ms + 100 * 300'000, begin_ms + 150 * 300'000},
                                        {begin_ms + 2'016 * 300'000, begin_ms + 2'020 * 300'000}}});
  const ProphetDesign design = WeekDesign(options);
  Eigen::VectorXd samples = Bent(3);
  samples.segment(100, 50).array() += 40;
  const ProphetFit fit = FitOne(design, samples);
  const int64_t event = 2 + 20;
  EXPECT_NEAR(fit.weights[event] * fit.scale, 40, 1);
  EXPECT_EQ(design.row(99)[event], 0);
  EXPECT_EQ(design.row(100)[event], 1);
  EXPECT_EQ(design.row(149)[event], 1);
  EXPECT_EQ(design.row(150)[event], 0);
  EXPECT_NEAR(PredictProphet(design, fit, 2'019) - PredictProphet(design, fit, 2'020), 40, 3);
}

// A history of 5-min samples that ends as the first series' rows do.
struct Told {
  std::vector<float> values;
  std::vector<SignalKind> signals;
  std::vector<int32_t> periods;
  std::vector<Driver> drivers;
  History history;
  Told(int64_t series, int64_t steps)
      : values(static_cast<size_t>(series * steps)),
        signals(static_cast<size_t>(series)),
        periods(signals.size()),
        drivers(signals.size()) {
    history = {.end_ms = steps * 300'000,
               .step_ms = 300'000,
               .values = {values.data(), steps, series, series},
               .signals = signals,
               .periods = periods,
               .drivers = drivers};
  }
  float& at(int64_t step, int64_t s) { return values[step * std::ssize(signals) + s]; }
};

// A level, and 40 more in two windows that were and one that comes: closed form.
TEST(ProphetModel, KnowsTheEffectOfAnEventThatComes) {
  constexpr int64_t kSteps = 2'016;
  Told told(1, kSteps);
  std::mt19937_64 random(8);
  std::normal_distribution<float> noise(0, 0.5f);
  ProphetEvent sale;
  for (const int64_t first : {300, 1'200, 2'018}) {
    sale.windows.push_back({(first + 1) * 300'000, (first + 31) * 300'000});
  }
  for (int64_t t = 0; t < kSteps; ++t) {
    const bool inside = (t >= 300 && t < 330) || (t >= 1'200 && t < 1'230);
    told.at(t, 0) = 100 + (inside ? 40.0f : 0) + noise(random);
  }
  QuantileBlock with, without;
  ASSERT_TRUE(MakeProphet(1, {.events = {sale}})->Forecast(told.history, 12, with).ok());
  ASSERT_TRUE(MakeProphet(1)->Forecast(told.history, 12, without).ok());
  for (int step = 0; step < 12; ++step) {
    EXPECT_NEAR(with.at(0, step)[kMedian], step < 2 ? 100 : 140, 1.5) << step;
    EXPECT_LT(without.at(0, step)[kMedian], 110) << step;
  }
}

// y(t) = 50 + 3 (m(t - 8) - 20): the next eight steps are known, behind them m is carried on.
TEST(ProphetModel, TakesADriverAsARegressorALeadBefore) {
  constexpr int64_t kSteps = 1'000, kLead = 8;
  Told told(2, kSteps);
  std::mt19937_64 random(9);
  std::normal_distribution<float> noise;
  for (int64_t t = 0; t < kSteps; ++t) {
    told.at(t, 1) = 20 + 4 * noise(random);
    const float before = t < kLead ? 20 : told.at(t - kLead, 1);
    told.at(t, 0) = 50 + 3 * (before - 20) + 0.1f * noise(random);
  }
  told.at(kSteps - 3, 1) = kMissing;  // the one before it stands for it
  told.drivers[0] = {.series = 1, .lead_steps = kLead, .correlation = 1};
  QuantileBlock out;
  ASSERT_TRUE(MakeProphet(1, {.drivers = true})->Forecast(told.history, 12, out).ok());
  for (int step = 0; step < 12; ++step) {
    int64_t source = std::min<int64_t>(kSteps + step - kLead, kSteps - 1);
    if (source == kSteps - 3) --source;
    EXPECT_NEAR(out.at(0, step)[kMedian], 50 + 3 * (told.at(source, 1) - 20), 0.8) << step;
  }
  QuantileBlock plain;
  ASSERT_TRUE(MakeProphet(1)->Forecast(told.history, 12, plain).ok());
  const auto width = [](const QuantileBlock& b) {
    return b.at(0, 0)[kHigh80] - b.at(0, 0)[kLow80];
  };
  EXPECT_LT(width(out), 0.1f * width(plain));
}

TEST(Prophet, DesignNamesTheWrongField) {
  const ProphetGrid grid{0, 300'000, 100, 10};
  const auto message = [&](const ProphetGrid& of, const ProphetOptions& options) {
    return std::string(MakeProphetDesign(of, options).status().message());
  };
  using testing::HasSubstr;
  EXPECT_THAT(message({0, 0, 100, 10}, {}), HasSubstr("step_ms"));
  EXPECT_THAT(message({0, 1, 1, 10}, {}), HasSubstr("past"));
  EXPECT_THAT(message({0, 1, 100, -1}, {}), HasSubstr("ahead"));
  EXPECT_THAT(message(grid, {.changes = -1}), HasSubstr("changes"));
  EXPECT_THAT(message(grid, {.change_range = 0}), HasSubstr("change_range"));
  EXPECT_THAT(message(grid, {.origins = -1}), HasSubstr("origins"));
  EXPECT_THAT(message(grid, {.change_scale = kMissing}), HasSubstr("change_scale"));
  EXPECT_THAT(message(grid, {.seasons = {{.period_ms = kDayMs, .order = 0}}}), HasSubstr("order"));
  EXPECT_THAT(message(grid, {.regressors = {{.values = {1, 2}}}}), HasSubstr("regressor.values"));
  EXPECT_THAT(message(grid, {.regressors = {{.values = std::vector<double>(110, kMissing)}}}),
              HasSubstr("finite"));
  EXPECT_THAT(message(grid, {.changes = 2'000}), HasSubstr("columns"));
}

}  // namespace
}  // namespace foreshadow::models
