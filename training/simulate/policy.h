// The policies that are compared. All have the same planner, actuator and delays; they differ in
// the signal: what they say of the accounts' coming demand.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "service/tick/settings.h"
#include "service/tick/tick.h"
#include "training/simulate/demand.h"
#include "training/simulate/rules.h"
#include "training/simulate/world.h"

namespace foreshadow::training {

enum class Source : uint8_t {
  kModels,  // the core's own stages 3 and 4 with some of the models
  kRule,    // a rule on each cell's load
  kTruth,   // the future itself
  kNothing,
};

struct Policy {
  std::string name;
  Source source = Source::kNothing;
  std::vector<std::string> models = {};  // kModels; empty = all that serve
  int64_t truth_ms = 0;                  // kTruth: so far, from there on it stays
  bool everything = false;               // every account has a shadow from the start
  // Ablations: what is taken from the settings, from what the analysis finds for the models, and
  // before every tick from the core.
  void (*change)(Settings&) = nullptr;
  void (*analyze)(AnalyzeSettings&) = nullptr;
  void (*take)(State&) = nullptr;
};

const std::vector<Policy>& Policies();
// nullptr: there is none of that name.
const Policy* FindPolicy(std::string_view name);

// Forecasts of the models for each step in turn: a tick of the core in a world without limits, so
// that many worlds can share what it says.
class ModelForecasts {
 public:
  ModelForecasts(const Demand& demand, ModelList models, const Settings& settings);
  absl::StatusOr<std::shared_ptr<const ForecastTable>> Next(int64_t step);

 private:
  ModelList models_;
  Settings settings_;
  WorldOptions options_;
  SimWorld world_;
  StatePtr state_;
};

// A table of points, all quantiles alike, that callers fill.
std::shared_ptr<ForecastTable> PointTable(const Demand& demand, const std::string& name);
void SetPoint(ForecastTable& table, int64_t series, int step, double value);

// The true demand of the next steps.
void FillTruth(const Demand& demand, int64_t step, int64_t known_steps, ForecastTable& table);

// Each account's base times what its cell's rule makes of the sum of them.
struct CellLoads {
  std::vector<std::vector<double>> home;  // [cell][step], as telemetry tells
  std::vector<std::vector<double>> with;
};
void FillRule(const Demand& demand, int64_t step, const WorldOptions& options,
              const std::vector<int32_t>& homes, const CellLoads& loads, Rule& rule,
              ForecastTable& table);

}  // namespace foreshadow::training
