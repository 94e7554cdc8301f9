// Batch means against closed forms and against what they promise; a candidate beside what serves.
#include "service/evaluate/evaluate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "models/empirical.h"
#include "service/forecast/forecast.h"
#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kStep = 300'000;

TEST(StudentQuantile, IsThatOfTheTables) {
  // R's qt(0.975, df).
  EXPECT_NEAR(StudentQuantile(3), 3.182446, 4e-3);
  EXPECT_NEAR(StudentQuantile(5), 2.570582, 4e-4);
  EXPECT_NEAR(StudentQuantile(10), 2.228139, 1e-5);
  EXPECT_NEAR(StudentQuantile(23), 2.068658, 1e-6);
  EXPECT_NEAR(StudentQuantile(63), 1.998341, 1e-6);
}

TEST(BatchMeans, OfOneValueEachAreTheTextbookInterval) {
  const std::vector<double> values = {1.5, -0.25, 3, 2, 0.5, 4.25};
  BatchMeans batches;
  for (const double v : values) Add(v, batches);
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / 6;
  double square = 0;
  for (const double v : values) square += (v - mean) * (v - mean);
  const Interval interval = MeanInterval(batches);
  EXPECT_DOUBLE_EQ(interval.mean, mean);
  EXPECT_NEAR(interval.high - mean, 2.570582 * std::sqrt(square / 5 / 6), 1e-3);
  EXPECT_NEAR(mean - interval.low, interval.high - mean, 1e-12);
}

TEST(BatchMeans, DoubleWithoutLosingAnything) {
  std::mt19937_64 random(2);
  std::vector<double> values;
  BatchMeans batches;
  batches.batch_count = 3;
  for (int i = 0; i < 3'000; ++i) {
    values.push_back(std::normal_distribution<double>(1, 2)(random));
    Add(values.back(), batches);
    ASSERT_LT(batches.means.size(), kBatchesMax);
    const auto whole = static_cast<int64_t>(batches.means.size()) * batches.batch_count;
    ASSERT_EQ(whole + batches.open_count, std::ssize(values));
  }
  EXPECT_EQ(batches.batch_count, 48);
  for (size_t b = 0; b < batches.means.size(); ++b) {
    const auto first = values.begin() + static_cast<int64_t>(b) * 48;
    EXPECT_NEAR(batches.means[b], std::accumulate(first, first + 48, 0.0) / 48, 1e-12);
  }
}

TEST(BatchMeans, WithTooFewSayNothing) {
  BatchMeans batches;
  EXPECT_EQ(MeanInterval(batches).high, std::numeric_limits<double>::infinity());
  Add(7, batches);
  EXPECT_EQ(MeanInterval(batches).mean, 7);
  EXPECT_EQ(MeanInterval(batches).low, -std::numeric_limits<double>::infinity());
}

// The mean of an AR(1) of 0.8 has nine times the variance of independent values: an interval blind
// to that would hold it in under half of the cases instead of 95 %.
TEST(BatchMeans, HoldTheMeanOfDependentValuesAsOftenAsTheySay) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> noise;
  constexpr int kRuns = 2'000;
  int held = 0, held_blind = 0;
  for (int run = 0; run < kRuns; ++run) {
    BatchMeans batches;
    batches.batch_count = 12;
    double x = noise(random) / 0.6, sum = 0, square = 0;
    constexpr int kTicks = 1'200;
    for (int tick = 0; tick < kTicks; ++tick) {
      x = 0.8 * x + noise(random);
      Add(x, batches);
      sum += x;
      square += x * x;
    }
    const Interval interval = MeanInterval(batches);
    held += interval.low <= 0 && interval.high >= 0;
    const double mean = sum / kTicks;
    held_blind += std::abs(mean) < 1.96 * std::sqrt((square / kTicks - mean * mean) / kTicks);
  }
  EXPECT_NEAR(held / double(kRuns), 0.95, 0.02);
  EXPECT_LT(held_blind / double(kRuns), 0.6);
}

// Says the newest sample plus `off`, with a width; knows nothing of series whose newest sample is
// above `silent_above`.
class Says : public models::Forecaster {
 public:
  Says(int version, float off, float width, float silent_above = 1e30f)
      : version_(version), off_(off), width_(width), silent_above_(silent_above) {}
  std::string_view name() const override { return "says"; }
  int version() const override { return version_; }
  int MaxSteps(int64_t step_ms) const override { return step_ms == kStep ? 12 : 0; }
  absl::Status Forecast(const models::History& history, int steps,
                        models::QuantileBlock& out) const override {
    series_seen = history.values.series;
    out.Resize(history.values.series, steps);
    for (int64_t s = 0; s < out.series; ++s) {
      const float value = history.values.at(history.values.steps - 1, s);
      if (value > silent_above_) out.status[s] = models::ForecastStatus::kCannot;
      for (int step = 0; step < steps; ++step) {
        for (int q = 0; q < models::kQuantiles; ++q) {
          out.at(s, step)[q] = value + off_ + width_ * (models::kQuantileLevels[q] - 0.5f);
        }
      }
    }
    return absl::OkStatus();
  }
  mutable int64_t series_seen = 0;

 private:
  int version_;
  float off_, width_, silent_above_;
};

// A few accounts whose resources wander about.
struct Scene {
  explicit Scene(int64_t accounts_count) : accounts(accounts_count) {
    window.Grow(accounts * kSignals);
    naive_scale.assign(static_cast<size_t>(accounts * kSignals), 0.5f);
    patterns.period_steps.assign(naive_scale.size(), 0);
    fleet.accounts.resize(static_cast<size_t>(accounts));
  }

  void Tick(const ModelList& models, const models::Forecaster& candidate) {
    ++tick;
    window.AdvanceTo(tick * kStep);
    std::vector<Sample> samples;
    std::normal_distribution<float> noise(0, 0.3f);
    for (int32_t a = 0; a < accounts; ++a) {
      for (int signal = 0; signal < kSignals; ++signal) {
        samples.push_back({a, static_cast<SignalKind>(signal), tick * kStep,
                           10 + static_cast<float>(a) + noise(random)});
      }
    }
    window.Write(samples);
    Evaluate(models, candidate);
  }

  void Evaluate(const ModelList& models, const models::Forecaster& candidate) {
    const WindowView view = window.view();
    const ForecastInput input = InputOf(view, fleet, patterns, application_names);
    foreshadow::Evaluate(input.history, naive_scale, models, candidate, memory, evaluation, alerts);
  }

  int64_t accounts;
  int64_t tick = 0;
  std::mt19937_64 random{4};
  Window window{kStep, 500};
  std::vector<float> naive_scale;
  Fleet fleet;
  PatternMemory patterns;
  std::vector<std::string> application_names;
  EvaluationMemory memory;
  Evaluation evaluation;
  std::vector<std::string> alerts;
};

ModelList Serving(float off) { return {std::make_shared<Says>(1, off, 1.0f)}; }

// Every figure against sums over all forecasts of all steps, written out.
TEST(Evaluate, ScoresBothOnTheSameSamples) {
  Scene scene(3);
  const Says candidate(2, 0.1f, 2.0f);
  const ModelList models = Serving(-0.2f);
  constexpr int kTicks = 40;
  for (int i = 0; i < kTicks; ++i) scene.Tick(models, candidate);
  const Evaluation& e = scene.evaluation;
  EXPECT_EQ(e.candidate, "says@2");
  EXPECT_EQ(e.against, "says@1");
  EXPECT_EQ(e.serving, "says@1");
  EXPECT_THAT(scene.alerts, IsEmpty());

  const WindowView view = scene.window.view();
  double error = 0, pinball = 0, other = 0, actuals = 0;
  uint64_t inside = 0, count = 0;
  std::vector<double> ticks;
  for (int now = 1; now < kTicks; ++now) {
    double difference = 0;
    int scored = 0;
    for (const int ahead : {1, 3, 12}) {
      if (now - ahead < 0) continue;
      for (int64_t s = 0; s < 3 * kSignals; ++s) {
        if (s % kSignals >= kResources) continue;
        const double actual = view.at(kTicks - 1 - now, s);
        const float last = view.at(kTicks - 1 - (now - ahead), s);
        std::array<float, models::kQuantiles> mine, theirs;
        for (int q = 0; q < models::kQuantiles; ++q) {
          mine[q] = last + 0.1f + 2.0f * (models::kQuantileLevels[q] - 0.5f);
          theirs[q] = last - 0.2f + 1.0f * (models::kQuantileLevels[q] - 0.5f);
        }
        error += std::abs(actual - mine[3]) / 0.5;
        pinball += models::MeanPinball(actual, mine) / 0.5;
        other += models::MeanPinball(actual, theirs) / 0.5;
        difference +=
            (models::MeanPinball(actual, mine) - models::MeanPinball(actual, theirs)) / 0.5;
        inside += actual >= mine[1] && actual <= mine[5];
        actuals += actual;
        ++count;
        ++scored;
      }
    }
    ticks.push_back(difference / scored);
  }
  EXPECT_EQ(e.scored, count);
  EXPECT_EQ(e.ticks, kTicks - 1);
  EXPECT_EQ(e.since_ms, 2 * kStep);
  EXPECT_EQ(e.until_ms, kTicks * kStep);
  const EvaluationFigures figures = FiguresOf(e, e.of_candidate);
  EXPECT_NEAR(figures.mase, error / double(count), 1e-5);
  EXPECT_NEAR(figures.pinball, pinball / double(count), 1e-6);
  EXPECT_NEAR(FiguresOf(e, e.of_against).pinball, other / double(count), 1e-6);
  EXPECT_NEAR(figures.coverage_80, double(inside) / double(count), 1e-12);
  // All signals are alike here, so that their mean is near the whole.
  EXPECT_NEAR(figures.crps, 2 * 0.5 * pinball / actuals, 0.01 * figures.crps);
  ASSERT_EQ(e.difference.batch_count, 12);
  ASSERT_EQ(e.difference.means.size(), 3u);
  EXPECT_NEAR(e.difference.means[1],
              std::accumulate(ticks.begin() + 12, ticks.begin() + 24, 0.0) / 12, 1e-6);
}

TEST(Evaluate, VerdictsTakeADayAndFollowTheDifference) {
  for (const auto& [off, verdict] : {std::pair{0.0f, Verdict::kBetter}, {0.9f, Verdict::kWorse}}) {
    Scene scene(3);
    const Says candidate(2, off, 1.0f);
    const ModelList models = Serving(0.4f);
    for (int i = 0; i < 288; ++i) scene.Tick(models, candidate);
    EXPECT_EQ(VerdictOf(scene.evaluation), Verdict::kTooEarly);
    EXPECT_THAT(Words(scene.evaluation), HasSubstr("there are 23"));
    scene.Tick(models, candidate);
    EXPECT_EQ(VerdictOf(scene.evaluation), verdict) << Words(scene.evaluation);
  }
  Scene scene(3);
  const Says candidate(2, 0.4f, 1.0f);  // as far off
  const ModelList models = Serving(0.4f);
  for (int i = 0; i < 400; ++i) scene.Tick(models, candidate);
  EXPECT_THAT(Name(VerdictOf(scene.evaluation)), ::testing::StrEq("even"))
      << Words(scene.evaluation);
}

TEST(Evaluate, ACandidateThatLeavesSeriesUnansweredIsWorse) {
  Scene scene(3);
  const Says candidate(2, 0, 1.0f, /*silent_above=*/11.5f);  // the third account
  const ModelList models = Serving(0.4f);
  for (int i = 0; i < 300; ++i) scene.Tick(models, candidate);
  EXPECT_GT(scene.evaluation.unanswered, 3'000u);
  EXPECT_LT(MeanInterval(scene.evaluation.difference).high, 0) << "where it answers, it is better";
  EXPECT_EQ(VerdictOf(scene.evaluation), Verdict::kWorse);
}

TEST(Evaluate, CostsNoMoreForALargerFleet) {
  Scene scene(1'000);
  for (int64_t a = 0; a < 1'000; ++a) {
    if (a % 2) scene.naive_scale[SeriesOf(a, SignalKind::kCpu)] = 0;  // at rest: says nothing
  }
  const Says candidate(2, 0, 1.0f);
  const ModelList models = Serving(0);
  for (int i = 0; i < 20; ++i) scene.Tick(models, candidate);
  EXPECT_LE(candidate.series_seen, kEvaluatedAccountsMax * kResources);
  EXPECT_GE(candidate.series_seen, kEvaluatedAccountsMax * (kResources - 1));
  EXPECT_EQ(scene.memory.made.size(), 12u);
  for (const double sum : {scene.evaluation.actual_sum[0], scene.evaluation.actual_sum[3]}) {
    EXPECT_GT(sum, 0) << "every resource is among those chosen";
  }
}

TEST(Evaluate, AnotherCandidateOrServingVersionStartsAfresh) {
  Scene scene(2);
  for (int i = 0; i < 30; ++i) scene.Tick(Serving(0), Says(2, 0, 1));
  EXPECT_GT(scene.evaluation.ticks, 20);
  scene.Tick(Serving(0), Says(3, 0, 1));
  EXPECT_EQ(scene.evaluation.candidate, "says@3");
  EXPECT_EQ(scene.evaluation.ticks, 0);
  scene.Tick(Serving(0), Says(3, 0, 1));
  EXPECT_EQ(scene.evaluation.ticks, 1);
  scene.Tick({std::make_shared<Says>(4, 0.0f, 1.0f)}, Says(3, 0, 1));
  EXPECT_EQ(scene.evaluation.against, "says@4");
  EXPECT_EQ(scene.evaluation.ticks, 0);
}

TEST(Evaluate, ACandidateOfAnotherIntervalIsNamed) {
  class Minutes : public Says {
   public:
    using Says::Says;
    int MaxSteps(int64_t) const override { return 0; }
  };
  Scene scene(2);
  scene.Tick(Serving(0), Minutes(2, 0, 1));
  EXPECT_THAT(
      scene.alerts,
      ::testing::ElementsAre(HasSubstr("candidate says@2 is not evaluated: it answers 0 steps")));
  // Where what serves is of another interval, the best that answers is compared with.
  const ModelList models = {std::make_shared<Minutes>(1, 0.0f, 1.0f),
                            std::make_shared<Says>(0, 0.0f, 1.0f)};
  for (int i = 0; i < 5; ++i) scene.Tick(models, Says(2, 0, 1));
  EXPECT_EQ(scene.evaluation.serving, "says@1");
  EXPECT_EQ(scene.evaluation.against, "says");
  EXPECT_GT(scene.evaluation.ticks, 0);
}

TEST(Evaluate, MissingSamplesAreNotScored) {
  Scene scene(1);
  const Says candidate(2, 0, 1);
  for (int i = 0; i < 5; ++i) scene.Tick(Serving(0), candidate);
  const uint64_t scored = scene.evaluation.scored;
  scene.window.AdvanceTo(++scene.tick * kStep);
  scene.Evaluate(Serving(0), candidate);
  EXPECT_EQ(scene.evaluation.scored, scored);
  EXPECT_TRUE(scene.memory.made.front().series.empty());
  scene.Tick(Serving(0), candidate);
  EXPECT_GT(scene.evaluation.scored, scored);
  EXPECT_FALSE(std::isnan(scene.evaluation.of_candidate.scaled_pinball_sum));
}

// Writes down what it is told of each series that it is asked for.
class Sees : public Says {
 public:
  using Says::Says;
  absl::Status Forecast(const models::History& history, int steps,
                        models::QuantileBlock& out) const override {
    told.clear();
    for (int64_t s = 0; s < history.values.series; ++s) {
      const int32_t application = history.applications[s];
      const models::Driver& driver = history.drivers[s];
      const auto newest = [&](int64_t series) {
        return history.values.at(history.values.steps - 1, series);
      };
      told.push_back({history.signals[s], history.periods[s], newest(s),
                      application < 0 ? "" : history.application_names[application],
                      driver.lead_steps, driver.correlation,
                      driver.series < 0 ? NAN : newest(driver.series)});
    }
    return Says::Forecast(history, steps, out);
  }
  struct Told {
    SignalKind signal;
    int32_t period;
    float newest;
    std::string application;
    int32_t lead;
    float correlation;
    float newest_of_driver;
  };
  mutable std::vector<Told> told;
};

// The server's own input, series by series: a model is judged by what it will be given.
TEST(Evaluate, ACandidateIsToldWhatTheServingModelsAreTold) {
  Scene scene(3);
  scene.fleet.accounts[0].application = "web";
  scene.fleet.accounts[2].application = "batch";
  scene.patterns.series->resize(3 * kSignals);
  const int64_t led = SeriesOf(1, SignalKind::kNetwork);
  SeriesPattern& pattern = (*scene.patterns.series)[led];
  pattern.lag_steps = 4;
  pattern.lag_correlation = 0.75f;
  pattern.lag_p_value = 1e-6f;
  scene.patterns.period_steps[led] = 288;
  scene.naive_scale[SeriesOf(2, SignalKind::kMemory)] = 0;  // at rest: not asked for
  const Sees candidate(2, 0, 1.0f);
  const auto serving = std::make_shared<Sees>(1, 0.0f, 1.0f);
  for (int i = 0; i < 3; ++i) scene.Tick({serving}, candidate);

  const WindowView view = scene.window.view();
  for (const Sees* model : {&candidate, static_cast<const Sees*>(serving.get())}) {
    ASSERT_EQ(std::ssize(model->told), 3 * kResources - 1 + 1) << "one at rest, one that drives";
    int found = 0;
    for (const Sees::Told& told : model->told) {
      for (int64_t s = 0; s < 3 * kSignals; ++s) {
        if (view.at(0, s) != told.newest) continue;
        ++found;
        EXPECT_EQ(told.signal, static_cast<SignalKind>(s % kSignals));
        EXPECT_EQ(told.application, scene.fleet.accounts[s / kSignals].application);
        EXPECT_EQ(told.period, s == led ? 288 : 0);
        EXPECT_EQ(told.lead, s == led ? 4 : 0);
        EXPECT_EQ(told.correlation, s == led ? 0.75f : 0.0f);
        if (s != led) continue;
        EXPECT_EQ(told.newest_of_driver, view.at(0, SeriesOf(1, SignalKind::kMutationRate)));
      }
    }
    EXPECT_EQ(found, 3 * kResources);
  }
  EXPECT_EQ(scene.evaluation.scored, 2u * (3 * kResources - 1)) << "the driver is not scored";
}

TEST(MayPromote, OnlyWhatWasEvaluatedAgainstWhatServesAndIsNotWorse) {
  const auto why = [](const std::string& report, const char* serving = "says@1") {
    return std::string(MayPromote(report, "says@2", serving).message());
  };
  EXPECT_THAT(why(""), HasSubstr("was not evaluated"));
  EXPECT_THAT(why("{\"verdict\": 3}"), HasSubstr("was not evaluated"));
  Scene scene(3);
  const ModelList models = Serving(0.4f);
  const Says candidate(2, 0, 1);
  for (int i = 0; i < 100; ++i) scene.Tick(models, candidate);
  EXPECT_THAT(why(EvaluationReport(scene.evaluation)), HasSubstr("too early"));
  for (int i = 0; i < 200; ++i) scene.Tick(models, candidate);
  EXPECT_EQ(why(EvaluationReport(scene.evaluation)), "");
  EXPECT_THAT(why(EvaluationReport(scene.evaluation), "says@5"),
              HasSubstr("evaluated while says@1 served, not says@5"));
  std::swap(scene.evaluation.of_candidate, scene.evaluation.of_against);
  for (double& mean : scene.evaluation.difference.means) mean = -mean;
  EXPECT_THAT(why(EvaluationReport(scene.evaluation)), HasSubstr("worse"));
}

}  // namespace
}  // namespace foreshadow
