// Stage 7: how the split should move next. By the plain rule (aimd.h), or,
// where learn.policy is "q" and requests are measured, by the learned policy within the guard rails
// (agent.h). Where it is not measured, or nothing is, the rule decides alone.
#pragma once

#include <span>
#include <vector>

#include "service/learn/split_log.h"
#include "service/monitor/measures.h"
#include "service/plan/plan.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"

namespace foreshadow {

struct LearnInput {
  const Plan& plan;
  const Fleet& fleet;
  const std::vector<CellDemand>& demand;      // [cell]
  std::span<const Resources> account_demand;  // [account]
  std::span<const AccountMeasures> measures;  // [account]; empty = nothing is measured
  const LearnSettings& settings;
  double risk_threshold = 0.25;
  double slo_ms = 400;
  int64_t now_ms = 0;
  int64_t step_ms = 60'000;
  double random = 0.5;  // 0..1: which of the shadows' draws follow from it
};

// Sets what each sharing shadow asks for; returns a record of each decision within the rails.
std::vector<SplitRecord> Learn(const LearnInput& input, std::vector<Shadow>& shadows);

}  // namespace foreshadow
