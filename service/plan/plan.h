// Stage 5: which accounts get a shadow, and where. Pure and deterministic: equal inputs give equal
// plans, ties go by id.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

#include "service/plan/calibration.h"
#include "service/plan/demand.h"
#include "service/plan/lead.h"
#include "service/plan/risk.h"
#include "service/plan/splits.h"
#include "service/plan/surprise.h"
#include "service/rails/rails.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"

namespace foreshadow {

// A shadow the plan asks for, with the evidence for it.
struct Relief {
  int32_t account = 0;
  int32_t source = 0;
  int32_t target = 0;
  Resources reserved{};  // its p95 over the horizon, held in the target
  std::string reason;    // one sentence
  Explanation evidence;  // all but the action
};

struct Plan {
  std::vector<CellRisk> risks;          // [cell] with the splits in force
  std::vector<CellRisk> risks_without;  // [cell] had nothing been moved
  std::vector<CellForecast> forecasts_without;
  std::vector<CellRisk> said_without;              // risks_without before they were corrected
  std::unordered_map<std::string, Advice> advice;  // of each shadow, by instance
  std::vector<Relief> reliefs;
  std::vector<std::string> alerts;
};

// What a plan is made by. A study of what each part is worth takes one away; a server has them all.
struct PlanParts {
  bool local_search = true;
  bool advice = true;   // without it all that may go leaves a cell in danger, and only then
  bool present = true;  // as a floor under what is foreseen
};

struct PlanInput {
  const Fleet& fleet;
  const std::vector<bool>& reachable;  // [cell]
  const ForecastTable& table;
  const std::vector<Shadow>& shadows;
  const CellErrorMemory& errors;
  const RiskCalibration& calibration;
  const PlanSettings& settings;
  const Rails& rails;
  const std::vector<CellDemand>& cell_demand;  // [cell] now; empty = not known
  const std::vector<Resources>& demand;        // [account] now; empty = not known
  double split_max = 1;                        // what a shadow may come to take
  bool may_create = true;                      // false: paused; risks and advice only
  int64_t now_ms = 0;
  int64_t step_ms = 0;
  Leads leads = {};      // until a shadow that is decided now serves
  int resume_steps = 6;  // a shadow is resumed when it is of use within so many
  const SurpriseMemory* surprises = nullptr;  // of `demand`; null = nobody was surprised
  PlanParts parts = {};
};

Plan MakePlan(const PlanInput& input);

// What the plan advises for a shadow; nothing to gain if it does not know it.
Advice AdviceFor(const Plan& plan, const Shadow& shadow);

}  // namespace foreshadow
