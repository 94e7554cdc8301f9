#include "training/simulate/policy.h"

#include <algorithm>
#include <limits>

#include "service/plan/demand.h"
#include "service/tick/state.h"

namespace foreshadow::training {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kHourMs = 3'600'000;

// An account's value that a rule scales.
double BaseOf(const Demand& demand, int64_t step, int64_t account, Base base) {
  if (base == Base::kLast) return demand.Seen(step, account, 0);
  std::vector<double> hour;
  const int64_t oldest = std::max<int64_t>(0, step - kHourMs / demand.step_ms + 1);
  for (int64_t t = oldest; t <= step; ++t) hour.push_back(demand.Seen(t, account, 0));
  if (base == Base::kHourMedian) return MedianOf(std::move(hour));
  return MeanOf(hour);
}

}  // namespace

const std::vector<Policy>& Policies() {
  static const std::vector<Policy> policies = {
      {"none", Source::kNothing},
      {"everything", Source::kModels, {"last-hour-mean"}, 0, true},
      {"reactive", Source::kRule},
      {"hpa", Source::kRule},
      {"thr", Source::kRule},
      {"mad", Source::kRule},
      {"iqr", Source::kRule},
      {"lr", Source::kRule},
      {"linear", Source::kRule},
      {"holt-winters", Source::kRule},
      {"mean-sigma", Source::kRule},
      {"median-sigma", Source::kRule},
      {"seasonal-naive", Source::kModels, {"seasonal-naive"}},
      {"oracle-15", Source::kTruth, {}, 15 * 60'000},
      {"oracle", Source::kTruth, {}, 60 * 60'000},
      {"foreshadow", Source::kModels},
      // Ablations of foreshadow.
      {"last-value", Source::kModels, {"last-value"}},
      {"last-hour-mean", Source::kModels, {"last-hour-mean"}},
      {"no-lstm",
       Source::kModels,
       {"last-hour-median", "last-hour-mean", "seasonal-naive", "last-value"}},
      {.name = "no-analysis",
       .source = Source::kModels,
       .analyze =
           [](AnalyzeSettings& s) {
             s.period_significance = 0;
             s.lag_steps_max = 0;
           }},
      {.name = "no-calibration",
       .source = Source::kModels,
       .take = [](State& s) { s.risk_calibration = {}; }},
      {.name = "no-cell-errors",
       .source = Source::kModels,
       .take = [](State& s) { s.cell_errors = {}; }},
      {.name = "no-surprises",
       .source = Source::kModels,
       .take = [](State& s) { s.surprises = {}; }},
      {.name = "no-local-search",
       .source = Source::kModels,
       .take = [](State& s) { s.plan_parts.local_search = false; }},
      {.name = "no-advice",
       .source = Source::kModels,
       .take = [](State& s) { s.plan_parts.advice = false; }},
      {.name = "no-present",
       .source = Source::kModels,
       .take = [](State& s) { s.plan_parts.present = false; }},
      {.name = "no-hold",
       .source = Source::kModels,
       .change = [](Settings& s) { s.learn.hold_ms = 0; }},
      {.name = "no-early-resume",
       .source = Source::kModels,
       .change = [](Settings& s) { s.shadow.resume_lead_ms = s.tick.step_ms; }},
      {.name = "no-promotion",
       .source = Source::kModels,
       .change = [](Settings& s) { s.shadow.promote_after_ms = 0; }},
      {.name = "no-cool-down",
       .source = Source::kModels,
       .change = [](Settings& s) { s.guard.cool_down_ms = 0; }},
  };
  return policies;
}

const Policy* FindPolicy(std::string_view name) {
  for (const Policy& policy : Policies()) {
    if (policy.name == name) return &policy;
  }
  return nullptr;
}

ModelForecasts::ModelForecasts(const Demand& demand, ModelList models, const Settings& settings)
    : models_(std::move(models)),
      settings_(settings),
      options_{{{"synthetic-everywhere", "", CellState::kUp, {}}},
               std::vector<int32_t>(static_cast<size_t>(demand.count()), 0)},
      world_(options_, demand) {
  settings_.shadow.mode = Mode::kObserve;
  settings_.tick.step_ms = demand.step_ms;
  settings_.tick.window_steps =
      static_cast<int32_t>(std::min<int64_t>(settings_.tick.window_steps, demand.steps));
  state_ = NewState(options_.cells, {}, settings_);
}

absl::StatusOr<std::shared_ptr<const ForecastTable>> ModelForecasts::Next(int64_t step) {
  world_.SetStep(step);
  const auto report = Tick(*state_, world_.TakeInbox(), models_, settings_, world_);
  if (!report.ok()) return report.status();
  return (*report)->forecasts;
}

std::shared_ptr<ForecastTable> PointTable(const Demand& demand, const std::string& name) {
  auto table = std::make_shared<ForecastTable>();
  table->step_ms = demand.step_ms;
  table->models = {name};
  table->block.Resize(demand.series(), HorizonSteps(demand.step_ms));
  std::ranges::fill(table->block.values, kNan);
  table->model_of.assign(static_cast<size_t>(demand.series()), 0);
  return table;
}

void SetPoint(ForecastTable& table, int64_t series, int step, double value) {
  std::ranges::fill(table.block.at(series, step), static_cast<float>(value));
}

void FillTruth(const Demand& demand, int64_t step, int64_t known_steps, ForecastTable& table) {
  table.made_at_ms = demand.start_ms + step * demand.step_ms;
  for (int64_t a = 0; a < demand.count(); ++a) {
    for (int r = 0; r < kResources; ++r) {
      for (int h = 0; h < table.block.steps; ++h) {
        const int64_t at = std::min(step + std::min<int64_t>(h + 1, known_steps), demand.steps - 1);
        SetPoint(table, a * kSignals + r, h, demand.at(at, a, r));
      }
    }
  }
}

void FillRule(const Demand& demand, int64_t step, const WorldOptions& options,
              const std::vector<int32_t>& homes, const CellLoads& loads, Rule& rule,
              ForecastTable& table) {
  table.made_at_ms = demand.start_ms + step * demand.step_ms;
  const size_t cells = options.cells.size();
  std::vector<double> base(static_cast<size_t>(demand.count()));
  std::vector<double> sum(cells, 0);
  for (int64_t a = 0; a < demand.count(); ++a) {
    base[a] = BaseOf(demand, step, a, rule.base());
    sum[homes[a]] += base[a];
  }
  std::vector<Path> paths(cells);
  const int steps = table.block.steps;
  const int day = static_cast<int>(std::max<int64_t>(1, 24 * kHourMs / demand.step_ms));
  for (size_t c = 0; c < cells; ++c) {
    rule.Predict({loads.home[c], loads.with[c], options.cells[c].capacity[0], day}, c, steps,
                 paths[c]);
  }
  for (int64_t a = 0; a < demand.count(); ++a) {
    const int32_t cell = homes[a];
    const double share = sum[cell] > 0 ? base[a] / sum[cell] : 0;
    for (int h = 0; h < steps; ++h) SetPoint(table, a * kSignals, h, share * paths[cell][h]);
    for (int r = 1; r < kResources; ++r) {
      const double value = demand.Seen(step, a, r);
      for (int h = 0; h < steps; ++h) SetPoint(table, a * kSignals + r, h, value);
    }
  }
}

}  // namespace foreshadow::training
