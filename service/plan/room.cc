#include "service/plan/room.h"

#include <utility>

namespace foreshadow {
namespace {

constexpr double kHeldHours = 1;      // a shadow stays about so long
constexpr double kServesHours = 0.5;  // and takes traffic for about so long
constexpr double kHourMs = 3'600'000;
constexpr double kCopyCpuShare = 0.1;  // of the account's CPU, in both cells while state is copied

// One more, or with `count` -1 one less.
void CountShadow(const Fleet& fleet, int32_t account, int32_t target, int32_t count, Room& room) {
  const Account& a = fleet.accounts[account];
  room.has_shadow[account] = count > 0;
  room.shadows_of[a.cell] += count;
  room.shadows_in[target] += count;
  room.shadows_in_zone[fleet.cells[target].zone] += count;
  const auto it = room.accounts_in.find(a.application);
  if (it != room.accounts_in.end()) it->second[target] += count;
  room.shadows_count += count;
}

// Takes the account's traffic, as much as may go, from its cell, or with `sign` -1 gives it back.
void Leave(const Planner& p, int32_t account, double sign, CellForecast& cell) {
  Add(p.forecasts, account, -sign, 1, 0, cell);
  Add(p.forecasts, account, sign, 1 - p.in.split_max, 0, cell);
}

}  // namespace

Room RoomNow(const PlanInput& in, const AccountForecasts& forecasts,
             const AccountsOfCells& accounts_of, std::vector<CellForecast> cells) {
  Room room;
  room.cells = std::move(cells);
  const std::vector<double> largest(in.shadows.size(), in.split_max);
  const std::vector<int32_t> touched = CellsOf(in.fleet, in.shadows);
  const std::vector<CellForecast> shared =
      ForecastSome(in.fleet, accounts_of, forecasts, in.shadows, largest, touched);
  for (size_t i = 0; i < touched.size(); ++i) room.cells[touched[i]] = shared[i];
  for (size_t c = 0; c < room.cells.size(); ++c) {
    room.used.push_back(
        UtilisationOf(in.fleet.cells, static_cast<int32_t>(c), room.cells[c], in.errors).p95);
  }
  room.has_shadow.assign(in.fleet.accounts.size(), false);
  room.shadows_of.assign(in.fleet.cells.size(), 0);
  room.shadows_in.assign(in.fleet.cells.size(), 0);
  for (const auto& [id, rule] : in.rails.settings.applications) {
    if (rule.accounts_per_cell_max > 0) room.accounts_in[id].resize(in.fleet.cells.size());
  }
  if (!room.accounts_in.empty()) {
    for (const Account& account : in.fleet.accounts) {
      const auto it = room.accounts_in.find(account.application);
      if (it != room.accounts_in.end()) ++it->second[account.cell];
    }
  }
  for (const Shadow& shadow : in.shadows)
    CountShadow(in.fleet, shadow.account, shadow.target, 1, room);
  return room;
}

CellForecast Without(const Planner& p, int32_t account, CellForecast cell) {
  Leave(p, account, 1, cell);
  return cell;
}

CellForecast With(const Planner& p, int32_t account, CellForecast cell) {
  Add(p.forecasts, account, 1, p.in.split_max, 1, cell);
  return cell;
}

double PriceOf(const Planner& p, int32_t account, const CreationLine& line) {
  const PlanSettings& s = p.in.settings;
  const double bytes = StateBytes(p.forecasts, account);
  const double held_hours = kHeldHours + line.of(bytes) / kHourMs;
  const double copy_hours = line.ms_per_byte * bytes / kHourMs;
  double cores = 0;
  for (int step = 0; step < p.forecasts.steps; ++step) {
    cores += p.forecasts.at(account, 0, step).mean / p.forecasts.steps;
  }
  return s.move_cost + s.gib_cost * bytes / kGib * held_hours +
         s.traffic_cost * cores * (p.in.split_max * kServesHours + 2 * kCopyCpuShare * copy_hours);
}

void Promise(Planner& p, int32_t account, int32_t source, int32_t target, int32_t count) {
  Leave(p, account, count, p.room.cells[source]);
  Add(p.forecasts, account, count, p.in.split_max, 1, p.room.cells[target]);
  for (const int32_t cell : {source, target}) {
    p.room.used[cell] = UtilisationOf(p.in.fleet.cells, cell, p.room.cells[cell], p.in.errors).p95;
  }
  CountShadow(p.in.fleet, account, target, count, p.room);
  p.room.creations_count += count;
}

}  // namespace foreshadow
