#include "service/plan/targets.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <optional>

namespace foreshadow {
namespace {

constexpr int kAlternativesKept = 5;   // in the evidence: enough to see why, not a table
constexpr double kLeastShare = 0.001;  // an account below that share of capacity is no relief
constexpr size_t kTargetsWeighed = 8;  // the cells with the most room
constexpr double kNothingFree = 1e9;   // a share of nothing
constexpr double kNoLoss = 1e-6;       // core-hours

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
      UtilisationOf(p.in.fleet.cells, cell, p.plan.forecasts_without[cell], p.in.errors).expected;
  return own >= 1 ? kNothingFree : (expected - own) / (1 - own);
}

// What an account's leaving spares its cell from a step on, and how soon that pays for a move.
struct Spared {
  int first = -1;
  double cost = 0;
  Urgency urgency = Urgency::kRoutine;
};

Spared SparedFrom(const Planner& p, int32_t account, int first) {
  const int32_t source = p.in.fleet.accounts[account].cell;
  const CellForecast& with = p.room.cells[source];
  const CellForecast without = Without(p, account, with);
  Spared spared{first, p.CostFrom(first, source, with) - p.CostFrom(first, source, without)};
  const auto pays = [&](int last) {
    return Cost(p.cost, source, with, first, last) - Cost(p.cost, source, without, first, last) >=
           p.in.settings.move_cost;
  };
  if (p.of_present) {
    spared.urgency = p.OverloadedNow(source) ? Urgency::kOverloaded : Urgency::kNow;
  } else if (Drains(p.in.rails, source) || pays(first + 1)) {
    spared.urgency = Urgency::kNow;
  } else if (pays(std::clamp(p.in.resume_steps, first + 1, p.forecasts.steps))) {
    spared.urgency = Urgency::kSoon;
  }
  return spared;
}

}  // namespace

std::vector<Leaver> Leavers(const Planner& p, int32_t source, int resource, int step) {
  const CellForecast& now = p.room.cells[source];
  std::map<int, double> costs;  // by the first step that counts
  const bool drains = Drains(p.in.rails, source);
  const double least = kLeastShare * p.in.fleet.cells[source].capacity[resource];
  std::vector<Leaver> leavers;
  for (const int32_t a : p.accounts_of[source]) {
    if (p.in.fleet.accounts[a].pinned || p.room.has_shadow[a]) continue;
    if (ModeOf(p.in.rails, a, /*target=*/-1) == Mode::kObserve) continue;
    if (!drains && p.forecasts.at(a, resource, step).mean <= least) continue;
    const int first = p.FirstStep(a, p.in.leads.all);
    const auto [cost, is_new] = costs.try_emplace(first);
    if (is_new) cost->second = p.CostFrom(first, source, now);
    leavers.push_back({a, cost->second - p.CostFrom(first, source, Without(p, a, now)) -
                              PriceOf(p, a, p.in.leads.all)});
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

Choice ChooseTarget(const Planner& p, int32_t account, const Targets& targets,
                    std::vector<Alternative>& refused) {
  const PlanSettings& s = p.in.settings;
  const double share_max = p.in.rails.settings.target_free_share_max;
  const int32_t source = p.in.fleet.accounts[account].cell;
  const bool drains = Drains(p.in.rails, source);
  Choice best;
  Alternative no{p.in.fleet.accounts[account].id, "",
                 "no other cell is up, reachable and out of danger itself"};
  if (targets.barred >= 0) {
    no.target_cell = p.in.fleet.cells[targets.barred].id;
    no.refused_because = targets.why_barred;
  }
  bool weighed = false;
  double least_expected = 0;
  Spared spared;
  for (const int32_t cell : targets.cells) {
    const CellForecast& before = p.room.cells[cell];
    const CellForecast after = With(p, account, before);
    const Utilisation used = UtilisationOf(p.in.fleet.cells, cell, after, p.in.errors);
    const CreationLine& line = p.in.leads.in(cell);
    const int first = p.FirstStep(account, line);
    if (first != spared.first) spared = SparedFrom(p, account, first);
    const double price = PriceOf(p, account, line);
    const double gain =
        spared.cost - price - (p.CostFrom(first, cell, after) - p.CostFrom(first, cell, before));
    std::string why_not;
    if (used.expected > s.target_headroom) {
      why_not = fmt::format(
          "its demand would reach {:.0f} % of capacity, over plan.target_headroom "
          "= {:.0f} %",
          100 * used.expected, 100 * s.target_headroom);
    } else if (drains && gain < -price - kNoLoss) {
      why_not = "it would cost more there than where it is";
    } else if (!drains && gain < s.gain_min) {
      why_not = fmt::format("it would save {:.3g} core-hours, less than plan.gain_min = {:.3g}",
                            gain, s.gain_min);
    } else if (share_max > 0 && ShareOfFree(p, cell, used.expected) > share_max) {
      why_not = fmt::format(
          "shadows would take more of its free capacity than "
          "guard.target_free_share_max = {:.0f} %",
          100 * share_max);
    } else if (const Bar bar =
                   Higher(Higher(Higher(p.in.rails.asked, BarOf(p.in.rails, account, cell)),
                                 p.jumps[cell]),
                          p.jumps[source]);
               spared.urgency < bar.least) {
      why_not = fmt::format("its urgency is {}, and {} is asked for: {}", Name(spared.urgency),
                            Name(bar.least), bar.why);
    }
    if (why_not.empty()) {
      if (best.target < 0 || gain > best.gain) {
        best = {cell,
                gain,
                line.of(StateBytes(p.forecasts, account)),
                spared.urgency,
                p.room.used[cell],
                used.p95};
      }
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
