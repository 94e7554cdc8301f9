// All that the engine remembers from tick to tick. The decisions are durable; the rest is rebuilt
// from history after a restart.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "service/analyze/analyze.h"
#include "service/evaluate/evaluate.h"
#include "service/forecast/forecast.h"
#include "service/history/window.h"
#include "service/plan/calibration.h"
#include "service/plan/plan.h"
#include "service/plan/risk.h"
#include "service/plan/surprise.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"

namespace foreshadow {

struct State {
  State(std::vector<Cell> cells, Decisions made, const Settings& settings);

  std::shared_ptr<const Fleet> fleet;  // replaced, never changed: reports share it
  std::unordered_map<std::string, int32_t> account_index;
  std::vector<bool> reachable;  // [cell] its agent answered when last asked
  Window window;
  PatternMemory patterns;
  std::unique_ptr<AnalyzeDevice> device;  // that the analysis runs on; null = the CPU
  ForecastMemory forecasts;
  CellErrorMemory cell_errors;  // of the cell-wide forecasts
  RiskCalibration risk_calibration;
  EvaluationMemory candidate;  // its forecasts that wait for their samples
  SurpriseMemory surprises;    // of the accounts' demand
  PlanParts plan_parts;
  Decisions decisions;
  std::unordered_set<uint64_t> started;  // actions that this process has begun to carry out
  bool ticked = false;                   // this process has
  bool warmed = false;                   // the mixture and cell errors have learned from the past
};

}  // namespace foreshadow
