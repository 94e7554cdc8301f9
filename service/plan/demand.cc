#include "service/plan/demand.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "kernels/check.h"
#include "models/parallel.h"

namespace foreshadow {

std::vector<Resources> AccountDemand(const WindowView& window, int64_t accounts) {
  const int64_t steps_back_max = std::max<int64_t>(1, kHorizonMs / window.step_ms);
  std::vector<Resources> demand(static_cast<size_t>(accounts));
  for (int64_t a = 0; a < accounts; ++a) {
    for (int r = 0; r < kResources; ++r) {
      const int64_t series = SeriesOf(a, static_cast<SignalKind>(r));
      for (int64_t back = 0; back < steps_back_max; ++back) {
        const float value = window.at(back, series);
        if (std::isnan(value)) continue;
        demand[static_cast<size_t>(a)][r] = value;
        break;
      }
    }
  }
  return demand;
}

bool InPlace(const Shadow& shadow, const Fleet& fleet) {
  if (fleet.accounts[shadow.account].cell == shadow.target) return false;
  switch (shadow.state) {
    case ShadowState::kPlanned:
    case ShadowState::kCreating:
    case ShadowState::kWarm:
    case ShadowState::kSharing:
    case ShadowState::kIdle:
    case ShadowState::kPromoting:
      return true;
    case ShadowState::kDecommissioning:
    case ShadowState::kGone:
    case ShadowState::kFailed:
    case ShadowState::kPromoted:
      return false;
  }
  return false;
}

std::vector<CellDemand> DemandOfCells(const Fleet& fleet, const std::vector<Resources>& accounts,
                                      const std::vector<Shadow>& shadows) {
  std::vector<CellDemand> cells(fleet.cells.size());
  for (size_t a = 0; a < accounts.size(); ++a) {
    CellDemand& home = cells[fleet.accounts[a].cell];
    for (int r = 0; r < kResources; ++r) {
      home.with[r] += accounts[a][r];
      home.without[r] += accounts[a][r];
    }
  }
  for (const Shadow& shadow : shadows) {
    if (!InPlace(shadow, fleet) || shadow.state == ShadowState::kPlanned) continue;
    CellDemand& home = cells[fleet.accounts[shadow.account].cell];
    CellDemand& target = cells[shadow.target];
    for (int r = 0; r < kResources; ++r) {
      const double demand = accounts[shadow.account][r];
      const double moved = MovesWithTraffic(r) ? shadow.split * demand : 0;
      home.with[r] -= moved;
      target.with[r] += MovesWithTraffic(r) ? moved : demand;
    }
  }
  return cells;
}

std::vector<Resources> DemandAtOrigins(const Fleet& fleet, const std::vector<CellDemand>& cells,
                                       const std::vector<Resources>& accounts,
                                       const std::vector<Origin>& origins) {
  std::vector<Resources> demand;
  for (const CellDemand& cell : cells) demand.push_back(cell.without);
  for (const Origin& origin : origins) {
    for (int r = 0; r < kResources; ++r) {
      demand[fleet.accounts[origin.account].cell][r] -= accounts[origin.account][r];
      demand[origin.cell][r] += accounts[origin.account][r];
    }
  }
  return demand;
}

const std::vector<Resources>& HomeDemand::Of(const Fleet& then) {
  const auto [it, added] = by_fleet_.try_emplace(&then);
  std::vector<Resources>& cells = it->second;
  if (!added) return cells;
  cells.resize(then.cells.size());
  const size_t known = std::min(then.accounts.size(), accounts_.size());
  for (size_t a = 0; a < known; ++a) {
    for (int r = 0; r < kResources; ++r) cells[then.accounts[a].cell][r] += accounts_[a][r];
  }
  return cells;
}

bool Exceeds(const Resources& demand, const Resources& capacity) {
  for (int r = 0; r < kResources; ++r) {
    if (capacity[r] > 0 && demand[r] > capacity[r]) return true;
  }
  return false;
}

AccountForecasts MomentsOf(const ForecastTable& table, int64_t accounts) {
  AccountForecasts forecasts;
  forecasts.steps = table.block.steps;
  forecasts.moments.resize(static_cast<size_t>(accounts * kResources * forecasts.steps));
  const auto of_account = [&](int64_t a) {
    auto moments = forecasts.moments.begin() + a * kResources * forecasts.steps;
    for (int r = 0; r < kResources; ++r) {
      const int64_t series = SeriesOf(a, static_cast<SignalKind>(r));
      for (int step = 0; step < forecasts.steps; ++step, ++moments) {
        const std::span<const float> quantiles = table.block.at(series, step);
        if (!std::isnan(quantiles[0])) *moments = MomentsOf(quantiles);
      }
    }
  };
  constexpr int64_t kChunkAccounts = 256;
  models::ForChunks(accounts, kChunkAccounts, models::ThreadCount(0),
                    [&](int64_t first, int64_t last, int) {
                      for (int64_t a = first; a < last; ++a) of_account(a);
                    });
  return forecasts;
}

AccountForecasts Lasting(const std::vector<Resources>& demand, int steps) {
  AccountForecasts lasting;
  lasting.steps = steps;
  lasting.moments.reserve(demand.size() * kResources * static_cast<size_t>(steps));
  for (const Resources& account : demand) {
    for (const double amount : account) {
      lasting.moments.insert(lasting.moments.end(), static_cast<size_t>(steps), Moments{amount, 0});
    }
  }
  return lasting;
}

void Add(const AccountForecasts& forecasts, int64_t account, double sign, double traffic,
         double state, CellForecast& cell) {
  FORESHADOW_CHECK(cell.steps == forecasts.steps);
  for (int r = 0; r < kResources; ++r) {
    const double share = MovesWithTraffic(r) ? traffic : state;
    for (int step = 0; step < forecasts.steps; ++step) {
      const Moments& m = forecasts.at(account, r, step);
      cell.mean[r][step] += sign * share * m.mean;
      cell.variance[r][step] += sign * share * share * m.variance;
    }
  }
}

std::vector<CellForecast> ForecastCells(const Fleet& fleet, const AccountForecasts& forecasts) {
  std::vector<CellForecast> cells(fleet.cells.size());
  for (CellForecast& cell : cells) cell.steps = forecasts.steps;
  for (size_t a = 0; a < fleet.accounts.size(); ++a) {
    Add(forecasts, static_cast<int64_t>(a), 1, 1, 1, cells[fleet.accounts[a].cell]);
  }
  return cells;
}

AccountsOfCells AccountsOf(const Fleet& fleet) {
  AccountsOfCells accounts_of(fleet.cells.size());
  for (size_t a = 0; a < fleet.accounts.size(); ++a) {
    accounts_of[fleet.accounts[a].cell].push_back(static_cast<int32_t>(a));
  }
  return accounts_of;
}

std::vector<int32_t> CellsOf(const Fleet& fleet, const std::vector<Shadow>& shadows) {
  std::set<int32_t> cells;
  for (const Shadow& shadow : shadows) {
    if (!InPlace(shadow, fleet)) continue;
    cells.insert({fleet.accounts[shadow.account].cell, shadow.target});
  }
  return {cells.begin(), cells.end()};
}

std::vector<CellForecast> ForecastSome(const Fleet& fleet, const AccountsOfCells& accounts_of,
                                       const AccountForecasts& forecasts,
                                       const std::vector<Shadow>& shadows,
                                       std::span<const double> splits,
                                       const std::vector<int32_t>& cells) {
  FORESHADOW_CHECK(splits.size() == shadows.size());
  std::unordered_map<int32_t, double> moved;                    // by account
  std::unordered_map<int32_t, std::vector<size_t>> shadows_in;  // by cell
  for (size_t i = 0; i < shadows.size(); ++i) {
    if (!InPlace(shadows[i], fleet)) continue;
    moved[shadows[i].account] = splits[i];
    shadows_in[shadows[i].target].push_back(i);
  }
  std::vector<CellForecast> some(cells.size());
  for (size_t c = 0; c < cells.size(); ++c) {
    some[c].steps = forecasts.steps;
    for (const size_t i : shadows_in[cells[c]]) {
      Add(forecasts, shadows[i].account, 1, splits[i], 1, some[c]);
    }
    for (const int32_t a : accounts_of[cells[c]]) {
      const auto it = moved.find(a);
      Add(forecasts, a, 1, it == moved.end() ? 1 : 1 - it->second, 1, some[c]);
    }
  }
  return some;
}

}  // namespace foreshadow
