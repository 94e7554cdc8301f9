#include "service/forecast/forecast.h"

#include <gtest/gtest.h>

#include <any>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "models/registry.h"
#include "service/monitor/monitor.h"
#include "tests/unit/kernels/guarded_ops.h"
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

// Says how often it was called before with what it carries.
class Counting : public Fixed {
 public:
  Counting() : Fixed("counting", 100, true) {}
  bool carries() const override { return true; }
  absl::Status Continue(const models::History& history, int steps, std::any& carried,
                        models::QuantileBlock& out) const override {
    if (!carried.has_value()) carried = 0.0f;
    auto& calls = std::any_cast<float&>(carried);
    out.Resize(history.values.series, steps);
    out.values.assign(out.values.size(), calls++);
    return absl::OkStatus();
  }
};

WindowView ConstantWindow(std::vector<float>& values, float value, int64_t end_ms) {
  values.assign(10 * kSignals, value);
  return {{values.data(), 10, kSignals, kSignals}, end_ms, 300'000};
}

PatternMemory NoPatterns() {
  PatternMemory patterns;
  patterns.period_steps.assign(kSignals, 0);
  return patterns;
}

TEST(Forecast, FallsBackAndSaysSo) {
  std::vector<float> values;
  const WindowView window = ConstantWindow(values, 1, 300'000);
  ForecastMemory memory;
  std::vector<std::string> alerts;
  const ModelList models = {std::make_shared<Fixed>("a", -1.0f, true),
                            std::make_shared<Fixed>("b", 2.0f, false),
                            std::make_shared<Fixed>("c", 3.0f, true)};
  const PatternMemory patterns = NoPatterns();
  const ForecastTable table = Forecast(window, Fleet{}, patterns, models, memory, alerts);
  EXPECT_EQ(table.block.at(0, 0)[0], 3);
  EXPECT_EQ(table.models[table.model_of[0]], "c");
  EXPECT_EQ(table.block.status[0], models::ForecastStatus::kFellBack);
  ASSERT_EQ(alerts.size(), 1u);
  EXPECT_NE(alerts[0].find("model a failed"), std::string::npos);
}

TEST(Forecast, AModelGoesOnFromWhatItCarries) {
  std::vector<float> values;
  const ModelList models = {std::make_shared<Counting>()};
  ForecastMemory memory;
  std::vector<std::string> alerts;
  for (int call = 0; call < 3; ++call) {
    WindowView window = ConstantWindow(values, 1, 300'000 * (call + 1));
    for (int t = 0; t < 10; ++t) values[t * kSignals + 2] = std::nanf("");  // keeps its place
    const ForecastTable table = Forecast(window, Fleet{}, NoPatterns(), models, memory, alerts);
    // The mixture moves it by a little.
    EXPECT_NEAR(table.block.at(3, 0)[models::kMedian], call, 0.1);
  }
  ASSERT_EQ(memory.carried.size(), 1u);
  ASSERT_EQ(memory.carried[0].size(), 1u);
  EXPECT_EQ(std::any_cast<float>(memory.carried[0][0]), 3);
  // A caller's own series are forecast as they come.
  const std::vector<SignalKind> signals(kSignals, SignalKind::kCpu);
  const std::vector<int32_t> periods(kSignals, 0);
  const models::History history{
      300'000, 300'000, {values.data(), 10, kSignals, kSignals}, signals, periods};
  EXPECT_EQ(ForecastSeries(history, 3, models, alerts).block.at(3, 0)[0], 100);
  EXPECT_TRUE(alerts.empty());
}

// Accounts of two applications, half of them led by their mutation rate, some series with gaps and
// some without any sample; a window a tick.
struct Tenants {
  static constexpr int64_t kSteps = 400;
  static constexpr int kTicks = 20;
  int64_t series;
  std::vector<float> values;
  Fleet fleet = testing::MakeFleet(1, 1);
  PatternMemory patterns;

  explicit Tenants(int64_t accounts)
      : series(accounts * kSignals), values(static_cast<size_t>((kSteps + kTicks) * series)) {
    std::mt19937 random(3);
    std::normal_distribution<float> noise(0, 1);
    for (int64_t i = 0; i < std::ssize(values); ++i) {
      const int64_t s = i % series;
      const int64_t step = i / series;
      const bool is_missing = s % 7 == 0 || (s % 5 == 1 && random() % 9 == 0);
      values[i] = is_missing ? std::nanf("")
                             : static_cast<float>(s) + 5 * std::sin(static_cast<float>(step) / 20) +
                                   noise(random);
    }
    for (int64_t a = 0; a < accounts; ++a) {
      fleet.accounts.push_back({std::to_string(a), 0, a % 3 == 0 ? "web" : "batch", 0, false});
    }
    patterns.series->resize(static_cast<size_t>(series));
    for (int64_t a = 0; a < accounts; a += 2) {
      SeriesPattern& pattern = (*patterns.series)[a * kSignals];
      pattern.lag_steps = 2;
      pattern.lag_correlation = 0.9f;
      pattern.lag_p_value = 1e-9f;
    }
    patterns.period_steps.assign(static_cast<size_t>(series), 0);
  }

  WindowView Window(int tick) const {
    return {{values.data() + tick * series, kSteps, series, series},
            (tick + 1) * int64_t{300'000},
            300'000};
  }
};

// The fleet goes through the models and the mixture in parts; all at once says the same.
TEST(Forecast, PartsSayWhatTheWholeSays) {
  const Tenants tenants(200);
  ASSERT_TRUE(tenants.series > 2 * kPartSeries && tenants.series % kPartSeries != 0);
  const ModelList models = models::LoadModels(models::InstalledModels()).models;
  ASSERT_EQ(models.size(), 5u);
  ForecastMemory memory;
  std::vector<std::string> alerts;
  models::Mixture mixture;
  std::vector<std::any> carried(models.size());
  for (int tick = 0; tick < Tenants::kTicks; ++tick) {
    const WindowView window = tenants.Window(tick);
    const ForecastTable table =
        Forecast(window, tenants.fleet, tenants.patterns, models, memory, alerts);
    models::Observe(
        mixture, window.end_ms,
        {&window.values.at(Tenants::kSteps - 1, 0), static_cast<size_t>(tenants.series)});
    std::vector<models::QuantileBlock> blocks(models.size());
    const ForecastInput input =
        InputOf(window, tenants.fleet, tenants.patterns, memory.application_names);
    const int steps = table.block.steps;
    for (size_t m = 0; m < models.size(); ++m) {
      ASSERT_TRUE(models[m]->Continue(input.history, steps, carried[m], blocks[m]).ok());
    }
    models::QuantileBlock whole;
    models::Mix(mixture, input.history, blocks, whole);
    EXPECT_EQ(table.model_of, mixture.leaders);
    ASSERT_EQ(table.block.status, whole.status);
    ASSERT_EQ(table.block.values.size(), whole.values.size());
    EXPECT_EQ(std::memcmp(table.block.values.data(), whole.values.data(),
                          whole.values.size() * sizeof(float)),
              0)
        << "tick " << tick;
  }
  EXPECT_TRUE(alerts.empty());
}

class ForecastOnDevice : public kernels::testing::OnDevice {};
FORESHADOW_ON_DEVICES(ForecastOnDevice);

// Tick by tick what the CPU says. Where the device fails the CPU answers, and it goes on at the
// next tick; both begin anew then, in the state that a window's steps leave, and so does the CPU
// that they are held to.
TEST_P(ForecastOnDevice, SaysWhatTheCpuSays) {
  static bool fails = false;
  static const kernels::Ops* base = nullptr;
  base = device_;
  kernels::Ops ops = *device_;
  ops.wait = [](kernels::Stream stream) {
    const std::string_view wrong = base->wait(stream);
    return fails ? "it is lost" : wrong;
  };
  const Tenants tenants(80);
  const ModelList models = models::LoadModels(models::InstalledModels()).models;
  ForecastMemory on_cpu;
  ForecastMemory on_device;
  on_device.device = &ops;
  std::vector<std::string> alerts;
  for (const int tick : {0, 1, 4, 5, 6}) {
    fails = tick == 5;
    for (std::vector<std::any>& part : on_cpu.carried) {
      if (tick >= 5) part[0].reset();  // the LSTM's
    }
    const ForecastTable expected =
        Forecast(tenants.Window(tick), tenants.fleet, tenants.patterns, models, on_cpu, alerts);
    ASSERT_TRUE(alerts.empty());
    const ForecastTable table =
        Forecast(tenants.Window(tick), tenants.fleet, tenants.patterns, models, on_device, alerts);
    if (fails) {
      ASSERT_EQ(alerts.size(), 1u);
      EXPECT_EQ(alerts[0],
                "model lstm runs on the CPU, not on " + std::string(ops.name) + ": it is lost");
    } else {
      EXPECT_TRUE(alerts.empty());
    }
    alerts.clear();
    EXPECT_EQ(on_device.on_device[0].answers, !fails);
    EXPECT_EQ(on_device.carried[0][0].has_value(), fails);
    ASSERT_EQ(table.block.status, expected.block.status);
    for (int64_t s = 0; s < tenants.series; ++s) {
      for (int step = 0; step < expected.block.steps; ++step) {
        const auto here = expected.block.at(s, step);
        const auto there = table.block.at(s, step);
        const float spread = here[models::kQuantiles - 1] - here[0];
        for (int q = 0; q < models::kQuantiles && !std::isnan(here[q]); ++q) {
          ASSERT_NEAR(there[q], here[q], 1e-4f * spread) << tick << ' ' << s << ' ' << step;
        }
      }
    }
  }
}

TEST(Forecast, NoModelAnswersMeansNoNumbers) {
  std::vector<float> values;
  const WindowView window = ConstantWindow(values, 1, 300'000);
  ForecastMemory memory;
  std::vector<std::string> alerts;
  const PatternMemory patterns = NoPatterns();
  const ForecastTable table = Forecast(window, Fleet{}, patterns, {}, memory, alerts);
  EXPECT_TRUE(std::isnan(table.block.at(0, 0)[0]));
  EXPECT_EQ(table.block.status[0], models::ForecastStatus::kNoHistory);
}

TEST(Forecast, TheModelWithLessLossWeighsMost) {
  ForecastMemory memory;
  std::vector<std::string> alerts;
  Scores scores;
  const ModelList models = {std::make_shared<Fixed>("far", 9.0f, true),
                            std::make_shared<Fixed>("near", 1.5f, true)};
  const PatternMemory patterns = NoPatterns();
  const std::vector<float> scale(kSignals, 1.0f);
  std::vector<float> values;
  ForecastTable table;
  float second = 0;
  for (int tick = 1; tick <= 3; ++tick) {
    const WindowView window = ConstantWindow(values, 1, tick * 300'000);
    table = Forecast(window, Fleet{}, patterns, models, memory, alerts);
    ScoreForecasts(window, scale, memory, scores);
    if (tick == 1) {
      EXPECT_EQ(table.models[table.model_of[0]], "far");
    }
    if (tick == 2) second = table.block.at(0, 0)[models::kMedian];
  }
  // Scored: one step of "far", made at tick 1, when tick 2 came; at tick 3 its second step and the
  // first of what tick 2 made. Four resources each, over a scale of 1.
  EXPECT_EQ(scores.scored_count, 3u * kResources);
  EXPECT_NEAR(scores.scaled_error_sum, kResources * (2 * 8.0 + second - 1), 1e-4);
  for (int tick = 4; tick <= 12; ++tick) {
    table = Forecast(ConstantWindow(values, 1, tick * 300'000), Fleet{}, patterns, models, memory,
                     alerts);
  }
  EXPECT_EQ(table.models[table.model_of[0]], "near");
  EXPECT_NEAR(table.block.at(0, 0)[models::kMedian], 1.5f, 0.5f);
}

// What the models are told of a series is what the fleet and the analysis say, by its place among
// the series that have samples.
class Listens : public models::Forecaster {
 public:
  std::string_view name() const override { return "listens"; }
  int MaxSteps(int64_t) const override { return 60; }
  absl::Status Forecast(const models::History& history, int steps,
                        models::QuantileBlock& out) const override {
    out.Resize(history.values.series, steps);
    applications.assign(history.applications.begin(), history.applications.end());
    names.assign(history.application_names.begin(), history.application_names.end());
    drivers.assign(history.drivers.begin(), history.drivers.end());
    return absl::OkStatus();
  }
  mutable std::vector<int32_t> applications;
  mutable std::vector<std::string> names;
  mutable std::vector<models::Driver> drivers;
};

TEST(Forecast, TellsModelsTheApplicationsAndLeads) {
  constexpr int64_t kSeries = 2 * kSignals;
  std::vector<float> values(10 * kSeries, 1.0f);
  for (int64_t step = 0; step < 10; ++step) values[step * kSeries] = std::nanf("");  // a's CPU
  const WindowView window{{values.data(), 10, kSeries, kSeries}, 300'000, 300'000};
  Fleet fleet;
  fleet.accounts.resize(2);
  fleet.accounts[1].application = "web";
  PatternMemory patterns;
  patterns.period_steps.assign(kSeries, 0);
  patterns.series->resize(kSeries);
  SeriesPattern& led = (*patterns.series)[SeriesOf(1, SignalKind::kCpu)];
  led.lag_steps = 3;
  led.lag_correlation = 0.7f;
  led.lag_p_value = 1e-6f;
  SeriesPattern& chance = (*patterns.series)[SeriesOf(1, SignalKind::kMemory)];
  chance.lag_steps = 3;
  chance.lag_p_value = 0.1f;
  const auto listens = std::make_shared<Listens>();
  ForecastMemory memory;
  std::vector<std::string> alerts;
  Forecast(window, fleet, patterns, {listens}, memory, alerts);
  EXPECT_EQ(listens->names, std::vector<std::string>{"web"});
  EXPECT_EQ(listens->applications, (std::vector<int32_t>{-1, -1, -1, -1, 0, 0, 0, 0, 0}));
  ASSERT_EQ(std::ssize(listens->drivers), kSeries - 1);
  EXPECT_EQ(listens->drivers[4].series, 8);
  EXPECT_EQ(listens->drivers[4].lead_steps, 3);
  EXPECT_EQ(listens->drivers[5].series, -1);
}

// Forecasting only the series that have samples changes nothing for them.
TEST(Forecast, SilentSeriesAreLeftOut) {
  std::vector<float> values;
  WindowView window = ConstantWindow(values, 1, 300'000);
  for (int64_t step = 0; step < 10; ++step) values[step * kSignals + 1] = std::nanf("");
  ForecastMemory memory;
  std::vector<std::string> alerts;
  const ModelList models = {std::make_shared<Fixed>("a", 2.0f, true)};
  const PatternMemory patterns = NoPatterns();
  const ForecastTable table = Forecast(window, Fleet{}, patterns, models, memory, alerts);
  EXPECT_EQ(table.block.status[1], models::ForecastStatus::kNoHistory);
  EXPECT_TRUE(std::isnan(table.block.at(1, 0)[0]));
  EXPECT_EQ(table.block.at(2, 0)[0], 2);
}

}  // namespace
}  // namespace foreshadow
