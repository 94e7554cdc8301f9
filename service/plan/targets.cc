#include "service/plan/targets.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

namespace foreshadow {
namespace {

constexpr int kAlternativesKept = 5;   // in the evidence: enough to see why, not a table
constexpr double kLeastShare = 0.001;  // an account below that share of capacity is no relief
constexpr size_t kTargetsWeighed = 8;  // the cells with the most room
constexpr double kNothingFree = 1e9;   // a share of nothing

// A rule or a budget by which the account's shadow may not be in the cell; nothing if it may.
std::optional<std::string> Barred(const Planner& p, int32_t account, int32_t cell) {
  const RailSettings& s = p.in.rails.settings;
  const Account& a = p.in.fleet.accounts[account];
  const std::string& zone = p.in.fleet.cells[cell].zone;
  if (auto why = WhyNotThere(p.in.rails, account, cell)) return why;
  if (ModeOf(p.in.rails, account, cell) == Mode::kObserve) return "it is in mode observe";
  if (p.room.shadows_in[cell] >= s.shadows_per_target_max) {
    return fmt::format("guard.shadows_per_target_max = {} is reached", s.shadows_per_target_max);
  }
  const auto in_zone = p.room.shadows_in_zone.find(zone);
  if (s.shadows_per_zone_max > 0 && in_zone != p.room.shadows_in_zone.end() &&
      in_zone->second >= s.shadows_per_zone_max) {
    return fmt::format("guard.shadows_per_zone_max = {} is reached in zone {}",
                       s.shadows_per_zone_max, zone);
  }
  const auto beside = p.room.accounts_in.find(a.application);
  if (beside != p.room.accounts_in.end()) {
    const int32_t most = s.applications.at(a.application).accounts_per_cell_max;
    if (beside->second[cell] >= most) {
      return fmt::format("guard.application.{}.accounts_per_cell_max = {} is reached",
                         a.application, most);
    }
  }
  return std::nullopt;
}

// Share of a cell's free capacity that its shadows take.
double ShareOfFree(const Planner& p, int32_t cell, double expected) {
  const double own =
      UtilisationOf(p.in.fleet, cell, p.plan.forecasts_without[cell], p.in.errors).expected;
  return own >= 1 ? kNothingFree : (expected - own) / (1 - own);
}

}  // namespace

Urgency UrgencyOf(const Planner& p, int32_t source, int32_t account) {
  if (p.of_present) return Urgency::kOverloaded;
  const CellForecast& with = p.room.cells[source];
  const CellForecast without = Without(p, account, with);
  const int first = p.first_step();
  const auto saves = [&](int last) {
    return Cost(p.cost, source, with, first, last) - Cost(p.cost, source, without, first, last) >=
           p.in.settings.move_cost;
  };
  if (saves(first + 1)) return Urgency::kNow;
  return saves(std::clamp(p.in.resume_steps, first + 1, p.forecasts.steps)) ? Urgency::kSoon
                                                                            : Urgency::kRoutine;
}

std::vector<Leaver> Leavers(const Planner& p, int32_t source, int resource, int step) {
  const CellForecast& now = p.room.cells[source];
  const double cost = p.CostIn(source, now);
  const double least = kLeastShare * p.in.fleet.cells[source].capacity[resource];
  std::vector<Leaver> leavers;
  for (const int32_t a : p.accounts_of[source]) {
    if (p.in.fleet.accounts[a].pinned || p.room.has_shadow[a]) continue;
    if (ModeOf(p.in.rails, a, /*target=*/-1) == Mode::kObserve) continue;
    if (p.forecasts.at(a, resource, step).mean <= least) continue;
    leavers.push_back({a, cost - p.CostIn(source, Without(p, a, now)) - PriceOf(p, a)});
  }
  std::sort(leavers.begin(), leavers.end(), [&](const Leaver& x, const Leaver& y) {
    const Account& ax = p.in.fleet.accounts[x.account];
    const Account& ay = p.in.fleet.accounts[y.account];
    const bool worth_x = x.saved >= p.in.settings.gain_min;
    const bool worth_y = y.saved >= p.in.settings.gain_min;
    if (worth_x != worth_y) return worth_x;
    if (ax.priority != ay.priority) return ax.priority < ay.priority;
    if (x.saved != y.saved) return x.saved > y.saved;
    return ax.id < ay.id;
  });
  return leavers;
}

Targets TargetsOf(const Planner& p, int32_t account) {
  const int32_t source = p.in.fleet.accounts[account].cell;
  Targets targets;
  for (size_t c = 0; c < p.in.fleet.cells.size(); ++c) {
    const int32_t cell = static_cast<int32_t>(c);
    if (cell == source) continue;
    if (p.in.fleet.cells[c].state != CellState::kUp || !p.in.reachable[c]) continue;
    if (p.plan.risks[c].probability >= p.in.settings.target_risk_max) continue;
    if (auto why = Barred(p, account, cell)) {
      targets.barred = cell;
      targets.why_barred = *std::move(why);
      continue;
    }
    targets.cells.push_back(cell);
  }
  const size_t kept = std::min(targets.cells.size(), kTargetsWeighed);
  const auto middle = targets.cells.begin() + static_cast<std::ptrdiff_t>(kept);
  std::partial_sort(targets.cells.begin(), middle, targets.cells.end(), [&](int32_t x, int32_t y) {
    if (p.room.used[x] != p.room.used[y]) return p.room.used[x] < p.room.used[y];
    return x < y;
  });
  targets.cells.resize(kept);
  return targets;
}

Choice ChooseTarget(const Planner& p, const Leaver& leaver, const Targets& targets,
                    std::vector<Alternative>& refused) {
  const PlanSettings& s = p.in.settings;
  const double share_max = p.in.rails.settings.target_free_share_max;
  Choice best;
  Alternative no{p.in.fleet.accounts[leaver.account].id, "",
                 "no other cell is up, reachable and out of danger itself"};
  if (targets.barred >= 0) {
    no.target_cell = p.in.fleet.cells[targets.barred].id;
    no.refused_because = targets.why_barred;
  }
  bool weighed = false;
  double least_expected = 0;
  for (const int32_t cell : targets.cells) {
    const CellForecast after = With(p, leaver.account, p.room.cells[cell]);
    const Utilisation used = UtilisationOf(p.in.fleet, cell, after, p.in.errors);
    const double gain = leaver.saved - (p.CostIn(cell, after) - p.CostIn(cell, p.room.cells[cell]));
    std::string why_not;
    if (used.expected > s.target_headroom) {
      why_not = fmt::format(
          "its demand would reach {:.0f} % of capacity, over plan.target_headroom "
          "= {:.0f} %",
          100 * used.expected, 100 * s.target_headroom);
    } else if (gain < s.gain_min) {
      why_not = fmt::format("it would save {:.3g} core-hours, less than plan.gain_min = {:.3g}",
                            gain, s.gain_min);
    } else if (share_max > 0 && ShareOfFree(p, cell, used.expected) > share_max) {
      why_not = fmt::format(
          "shadows would take more of its free capacity than "
          "guard.target_free_share_max = {:.0f} %",
          100 * share_max);
    } else if (const Bar bar =
                   Higher(Higher(BarOf(p.in.rails, leaver.account, cell), p.jumps[cell]),
                          p.jumps[p.in.fleet.accounts[leaver.account].cell]);
               leaver.urgency < bar.least) {
      why_not = fmt::format("its urgency is {}, and {} is asked for: {}", Name(leaver.urgency),
                            Name(bar.least), bar.why);
    }
    if (why_not.empty()) {
      if (best.target < 0 || gain > best.gain) best = {cell, gain, p.room.used[cell], used.p95};
    } else if (!weighed || used.expected < least_expected) {
      // Told of the least full one.
      weighed = true;
      least_expected = used.expected;
      no.target_cell = p.in.fleet.cells[cell].id;
      no.refused_because = std::move(why_not);
    }
  }
  if (best.target < 0 && std::ssize(refused) < kAlternativesKept) refused.push_back(std::move(no));
  return best;
}

}  // namespace foreshadow
