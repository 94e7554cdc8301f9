// Stage 5: which accounts get a shadow, and where. Pure and deterministic: equal inputs give equal
// plans, ties go by id.
#pragma once

#include <string>
#include <vector>

#include "service/plan/demand.h"
#include "service/plan/risk.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"

namespace foreshadow {

// A shadow the plan asks for, with the evidence for it.
struct Relief {
  int32_t account = 0;
  int32_t source = 0;
  int32_t target = 0;
  Resources reserved{};  // its p95 over the horizon, held in the target
  Explanation evidence;  // all but the action
};

struct Plan {
  std::vector<CellRisk> risks;          // [cell] with the splits in force
  std::vector<CellRisk> risks_without;  // [cell] had nothing been moved
  std::vector<CellForecast> forecasts_without;
  std::vector<Relief> reliefs;
  std::vector<std::string> alerts;
};

struct PlanInput {
  const Fleet& fleet;
  const std::vector<bool>& reachable;  // [cell]
  const ForecastTable& table;
  const std::vector<Shadow>& shadows;
  const CellErrorMemory& errors;
  const PlanSettings& settings;
  double split_max = 1;    // what a shadow may come to take
  bool may_create = true;  // false: paused or observing; risks only
  int64_t now_ms = 0;
  int64_t step_ms = 0;
};

Plan MakePlan(const PlanInput& input);

}  // namespace foreshadow
