// Runs policies over one trace in many worlds - headrooms, placements, lead times, budgets - side
// by side, step by step, and tells what came of it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/registry.h"
#include "service/tick/settings.h"
#include "service/tick/tick.h"
#include "training/simulate/demand.h"
#include "training/simulate/ledger.h"
#include "training/simulate/policy.h"

namespace foreshadow::training {

// What sets worlds of a study apart. All policies see the same ones.
struct Setting {
  double headroom = 1.6;  // capacity of a cell over the mean demand on it; 0 = the cells' own
  int64_t create_ms = kCreateMs;
  int32_t creations_per_tick = 20;  // the budget of moves
  uint64_t seed = 1;                // of the placement and of luck
};

struct StudyOptions {
  std::vector<std::string> policies;
  std::vector<Setting> settings;  // by headroom, lead, budget, seed
  int cells = 0;                  // 0 = one for every 20 accounts, at least 4
  std::vector<Cell> own_cells;    // with their capacity; accounts are where the trace says
  int64_t first_step = 0;         // scored from there on
  double failure_chance = 0;
  double outages_per_cell_day = 0;
  Settings core;  // planner, lifecycle, split: the same for all policies
  ModelList models = models::LoadModels("").models;  // that forecast for "foreshadow"
  bool live = false;  // each world's tick analyses and forecasts by itself, nothing is shared
};

struct WorldResult {
  std::string policy;
  Setting setting;
  Metrics metrics;
  std::vector<uint64_t> digests;  // [step] of everything decided up to then
  int64_t cells = 0;
  double seconds = 0;  // of the ticks
};

using Progress = std::function<void(int64_t done, int64_t total, const std::string& note)>;

// [policy][setting]. INVALID_ARGUMENT names a policy that there is not, or a cell of the trace that
// is not among the cells given.
absl::StatusOr<std::vector<WorldResult>> RunStudy(const Demand& demand, const StudyOptions& options,
                                                  const Progress& progress);

// Median over pairs of worlds, with the 95 % interval of a bootstrap over them.
struct Interval {
  double median = 0;
  double low = 0;
  double high = 0;
  int64_t count = 0;
};
Interval Bootstrap(const std::vector<double>& values, uint64_t seed);

// Share of the gap between the reactive policy and the oracle that each world of `policy` closes,
// paired by setting; worlds with no gap are left out.
std::vector<double> Skills(const std::vector<WorldResult>& results, const std::string& policy,
                           const std::string& reactive, const std::string& oracle,
                           const std::function<bool(const Setting&)>& chosen,
                           const Prices& prices = kPrices);

}  // namespace foreshadow::training
