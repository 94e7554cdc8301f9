// Small fleets and forecasts for the tests of the core.
#pragma once

#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "service/plan/demand.h"
#include "service/plan/plan.h"
#include "service/tick/types.h"

namespace foreshadow::testing {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

inline Fleet MakeFleet(int cells, double cpu_capacity) {
  Fleet fleet;
  for (int c = 0; c < cells; ++c) {
    fleet.cells.push_back({"cell-" + std::to_string(c), "zone", CellState::kUp, {cpu_capacity}});
  }
  return fleet;
}

inline void AddAccount(Fleet& fleet, int32_t cell, int priority = 0, bool pinned = false) {
  fleet.accounts.push_back(
      {"account-" + std::to_string(fleet.accounts.size()), cell, "app", priority, pinned});
}

// Every series unknown until SetForecast.
inline ForecastTable EmptyTable(const Fleet& fleet, int steps) {
  ForecastTable table;
  table.step_ms = 300'000;
  table.models = {"test"};
  table.block.Resize(fleet.series_count(), steps);
  table.block.values.assign(table.block.values.size(), kNan);
  table.model_of.assign(static_cast<size_t>(fleet.series_count()), 0);
  return table;
}

// The same normal distribution at every step from `first` on, a tenth of its mean before.
inline void SetForecast(ForecastTable& table, int64_t account, SignalKind signal, double mean,
                        double deviation, int first = 0) {
  constexpr double kZ[] = {-1.6449, -1.2816, -0.6745, 0, 0.6745, 1.2816, 1.6449, 1.96, 2.3263};
  for (int step = 0; step < table.block.steps; ++step) {
    const double scale = step < first ? 0.1 : 1;
    for (int q = 0; q < models::kQuantiles; ++q) {
      table.block.at(SeriesOf(account, signal), step)[q] =
          static_cast<float>(std::max(0.0, scale * (mean + kZ[q] * deviation)));
    }
  }
}

// Nothing is frozen, settling or cooling; the budget of creations is that of a minute.
inline Rails RailsOf(const Fleet& fleet, const RailSettings& guard, Mode mode = Mode::kAct) {
  Rails rails{.fleet = fleet, .settings = guard, .mode = mode};
  rails.cells.resize(fleet.cells.size());
  rails.overloaded_long.resize(fleet.cells.size());
  rails.nearly_full.resize(fleet.cells.size());
  rails.creations_max = static_cast<int32_t>(guard.creations_per_minute_max);
  return rails;
}

struct Scene {
  Fleet fleet;
  std::vector<bool> reachable;
  ForecastTable table;
  std::vector<Shadow> shadows;
  CellErrorMemory errors;
  RiskCalibration calibration;
  PlanSettings settings;
  RailSettings guard;
  std::vector<Resources> demand;
  double split_max = 1;
  Leads leads = {{450'000, 0}, {}};  // two steps
  SurpriseMemory surprises = {};
  PlanParts parts = {};

  Plan Make() const { return Make(RailsOf(fleet, guard)); }
  Plan Make(const Rails& rails) const {
    std::vector<CellDemand> cell_demand;
    if (!demand.empty()) cell_demand = DemandOfCells(fleet, demand, shadows);
    return MakePlan({fleet, reachable, table, shadows, errors, calibration, settings, rails,
                     cell_demand, demand, split_max, true, 600'000, 300'000, leads, 6,
                     demand.empty() ? nullptr : &surprises, parts});
  }
};

inline Scene MakeScene(int cells, double cpu_capacity, std::vector<double> cpu_of_cell_0,
                       int first = 0) {
  Scene scene;
  scene.fleet = MakeFleet(cells, cpu_capacity);
  for (size_t i = 0; i < cpu_of_cell_0.size(); ++i) AddAccount(scene.fleet, 0);
  scene.reachable.assign(static_cast<size_t>(cells), true);
  scene.table = EmptyTable(scene.fleet, 12);
  for (size_t i = 0; i < cpu_of_cell_0.size(); ++i) {
    SetForecast(scene.table, static_cast<int64_t>(i), SignalKind::kCpu, cpu_of_cell_0[i],
                0.02 * cpu_of_cell_0[i], first);
  }
  return scene;
}

// A world drawn from a seed: cells of several sizes, some down or draining, accounts of all
// signals, some pinned, shadows in every state.
inline Scene RandomScene(uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto uniform = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  const auto pick = [&](int count) { return static_cast<int>(random() % count); };
  Scene scene;
  const int cells = 1 + pick(6);
  for (int c = 0; c < cells; ++c) {
    Cell cell{"cell-" + std::to_string(c), "zone", CellState::kUp, {}};
    if (pick(6) == 0) cell.state = CellState::kDraining;
    cell.capacity = {uniform(0, 40), pick(2) ? uniform(0, 4e10) : 0, uniform(0, 1e8), 0};
    scene.fleet.cells.push_back(cell);
    scene.reachable.push_back(pick(8) != 0);
  }
  const int accounts = pick(60);
  for (int a = 0; a < accounts; ++a) AddAccount(scene.fleet, pick(cells), pick(3), pick(5) == 0);
  scene.table = EmptyTable(scene.fleet, 12);
  for (int a = 0; a < accounts; ++a) {
    for (int r = 0; r < kResources; ++r) {
      if (pick(4) == 0) continue;
      const double unit = r == 0 ? 1 : r == 2 ? 2e6 : 1e9;
      const double mean = unit * std::exp(uniform(-3, 1.5));
      SetForecast(scene.table, a, static_cast<SignalKind>(r), mean, mean * uniform(0, 0.5),
                  pick(12));
    }
    if (cells > 1 && pick(6) == 0) {
      Shadow shadow;
      shadow.instance_id = "shadow-" + std::to_string(a);
      shadow.account = a;
      shadow.source = scene.fleet.accounts[a].cell;
      shadow.target = (shadow.source + 1 + pick(cells - 1)) % cells;
      shadow.state = static_cast<ShadowState>(pick(kShadowStates));
      shadow.split = shadow.state == ShadowState::kSharing ? uniform(0, 1) : 0;
      scene.shadows.push_back(shadow);
    }
  }
  scene.guard.creations_per_minute_max = 1 + pick(10);
  scene.guard.shadows_per_source_max = 1 + pick(10);
  scene.guard.shadows_max = 1 + pick(30);
  scene.split_max = uniform(0.3, 1);
  scene.guard.shadows_per_target_max = 1 + pick(10);
  if (pick(3) == 0) {
    for (int a = 0; a < accounts; ++a) scene.demand.push_back({std::exp(uniform(-3, 1.5))});
  }
  if (pick(4) == 0) scene.guard.applications["app"].accounts_per_cell_max = 1 + pick(12);
  if (pick(6) == 0) scene.guard.applications["app"].cells = {"cell-0", "cell-1"};
  if (pick(6) == 0) scene.guard.cells["cell-0"].drain = true;
  if (pick(6) == 0) scene.guard.cells["cell-1"].mode = ModeRule::kObserve;
  return scene;
}

// Of every cell, by index.
inline std::vector<CellForecast> ForecastAll(const Fleet& fleet, const AccountForecasts& forecasts,
                                             const std::vector<Shadow>& shadows,
                                             const std::vector<double>& splits) {
  std::vector<int32_t> cells(fleet.cells.size());
  std::iota(cells.begin(), cells.end(), 0);
  return ForecastSome(fleet, AccountsOf(fleet), forecasts, shadows, splits, cells);
}

}  // namespace foreshadow::testing
