// From accounts to cells: what each cell is asked for now, and the distribution of what it will be.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "service/forecast/forecast.h"
#include "service/history/window.h"
#include "service/tick/types.h"

namespace foreshadow {

// Demand of an account: the newest sample of each resource, at most an hour old, else zero.
std::vector<Resources> AccountDemand(const WindowView& window, int64_t accounts);

// Demand on a cell by resource, as served (with) and had nothing been moved (without).
struct CellDemand {
  Resources with{};
  Resources without{};
};
std::vector<CellDemand> DemandOfCells(const Fleet& fleet, const std::vector<Resources>& accounts,
                                      const std::vector<Shadow>& shadows);

// What each cell would be asked for now, had every account stayed where it was registered.
std::vector<Resources> DemandAtOrigins(const Fleet& fleet, const std::vector<CellDemand>& cells,
                                       const std::vector<Resources>& accounts,
                                       const std::vector<Origin>& origins);

// What cells are asked for now if every account were where it was at some time of late: forecasts
// made then are held against it.
class HomeDemand {
 public:
  explicit HomeDemand(const std::vector<Resources>& accounts) : accounts_(accounts) {}
  const std::vector<Resources>& Of(const Fleet& then);  // [cell]

 private:
  const std::vector<Resources>& accounts_;
  std::unordered_map<const Fleet*, std::vector<Resources>> by_fleet_;
};

// Any resource over what there is of it; 0 = not limited.
bool Exceeds(const Resources& demand, const Resources& capacity);

// Mean and variance of a cell's demand at each step, accounts taken as independent.
struct CellForecast {
  std::array<std::array<double, kHorizonStepsMax>, kResources> mean{};
  std::array<std::array<double, kHorizonStepsMax>, kResources> variance{};
  int32_t steps = 0;
};

// Mean and variance of an account's demand. [account][resource][step]
struct AccountForecasts {
  int32_t steps = 0;
  std::vector<Moments> moments;

  const Moments& at(int64_t account, int resource, int step) const {
    return moments[static_cast<size_t>((account * kResources + resource) * steps + step)];
  }
  Moments& at(int64_t account, int resource, int step) {
    return moments[static_cast<size_t>((account * kResources + resource) * steps + step)];
  }
};
AccountForecasts MomentsOf(const ForecastTable& table, int64_t accounts);

// The present as a forecast that is sure and does not change.
AccountForecasts Lasting(const std::vector<Resources>& demand, int steps);

// Adds (sign 1) or takes away (sign -1) a share of an account's demand: `traffic` of what moves
// with its traffic, `state` of the rest.
void Add(const AccountForecasts& forecasts, int64_t account, double sign, double traffic,
         double state, CellForecast& cell);

// What each cell will be asked for by the accounts that live there, without any shadow.
std::vector<CellForecast> ForecastCells(const Fleet& fleet, const AccountForecasts& forecasts);

using AccountsOfCells = std::vector<std::vector<int32_t>>;  // [cell], by index
AccountsOfCells AccountsOf(const Fleet& fleet);

// The cells that shadows in place change, by index: those of their accounts and their own.
std::vector<int32_t> CellsOf(const Fleet& fleet, const std::vector<Shadow>& shadows);

// What these cells will be asked for when shadow i, if it is in place, takes splits[i].
std::vector<CellForecast> ForecastSome(const Fleet& fleet, const AccountsOfCells& accounts_of,
                                       const AccountForecasts& forecasts,
                                       const std::vector<Shadow>& shadows,
                                       std::span<const double> splits,
                                       const std::vector<int32_t>& cells);

// The shadow occupies its target, or is about to: its memory counts there.
bool InPlace(const Shadow& shadow, const Fleet& fleet);

}  // namespace foreshadow
