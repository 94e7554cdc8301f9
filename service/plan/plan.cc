#include "service/plan/plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>

namespace foreshadow {
namespace {

constexpr int kAlternativesKept = 5;  // in the evidence: enough to see why, not a table
constexpr double kGainMin = 0.001;    // an account below that share of capacity is no relief

// What is planned so far: every shadow at its largest split, so that two plans never promise the
// same room.
struct Room {
  std::vector<CellForecast> cells;
  std::vector<bool> has_shadow;     // [account]
  std::vector<int32_t> shadows_of;  // [cell] of its accounts
  int32_t shadows_count = 0;
  int32_t creations_count = 0;
};

struct Planner {
  const PlanInput& in;
  const AccountForecasts forecasts;
  Room room;
  Plan plan;

  CellRisk RiskIn(int32_t cell, const CellForecast& forecast) const {
    return RiskOfCell(in.fleet, cell, forecast, in.errors, in.settings.risk_threshold, in.now_ms,
                      in.step_ms);
  }
};

Room RoomNow(const PlanInput& in, const AccountForecasts& forecasts) {
  Room room;
  const std::vector<double> largest(in.shadows.size(), in.split_max);
  room.cells = ForecastCells(in.fleet, forecasts, in.shadows, largest);
  room.has_shadow.assign(in.fleet.accounts.size(), false);
  room.shadows_of.assign(in.fleet.cells.size(), 0);
  for (const Shadow& shadow : in.shadows) {
    room.has_shadow[shadow.account] = true;
    ++room.shadows_of[in.fleet.accounts[shadow.account].cell];
    ++room.shadows_count;
  }
  return room;
}

// Accounts that may leave the cell, the least important first, larger ones before smaller ones.
std::vector<int32_t> Candidates(const Planner& p, int32_t source, int resource, int step) {
  std::vector<int32_t> candidates;
  const double least = kGainMin * p.in.fleet.cells[source].capacity[resource];
  for (size_t a = 0; a < p.in.fleet.accounts.size(); ++a) {
    const Account& account = p.in.fleet.accounts[a];
    if (account.cell != source || account.pinned || p.room.has_shadow[a]) continue;
    if (p.forecasts.at(static_cast<int64_t>(a), resource, step).mean <= least) continue;
    candidates.push_back(static_cast<int32_t>(a));
  }
  std::sort(candidates.begin(), candidates.end(), [&](int32_t x, int32_t y) {
    const Account& ax = p.in.fleet.accounts[x];
    const Account& ay = p.in.fleet.accounts[y];
    if (ax.priority != ay.priority) return ax.priority < ay.priority;
    const double mx = p.forecasts.at(x, resource, step).mean;
    const double my = p.forecasts.at(y, resource, step).mean;
    if (mx != my) return mx > my;
    return ax.id < ay.id;
  });
  return candidates;
}

// The smallest account of the least important ones that would be enough alone, else the largest:
// few moves, and none larger than needed.
void PreferEnough(const Planner& p, int32_t source, std::vector<int32_t>& candidates) {
  const int priority = p.in.fleet.accounts[candidates.front()].priority;
  size_t best = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    if (p.in.fleet.accounts[candidates[i]].priority != priority) break;
    CellForecast after = p.room.cells[source];
    const double stays = 1 - p.in.split_max;
    Add(p.forecasts, candidates[i], -1, 1, 0, after);
    Add(p.forecasts, candidates[i], 1, stays, 0, after);
    if (p.RiskIn(source, after).probability > p.in.settings.risk_target) break;
    best = i;
  }
  std::rotate(candidates.begin(), candidates.begin() + static_cast<std::ptrdiff_t>(best),
              candidates.begin() + static_cast<std::ptrdiff_t>(best) + 1);
}

struct Choice {
  int32_t target = -1;
  double utilisation_before = 0;
  double utilisation_after = 0;
};

// The cell that is left with the most room; none if it would go over the headroom.
Choice ChooseTarget(const Planner& p, int32_t account, int32_t source,
                    std::vector<Alternative>& refused) {
  Choice best;
  Choice least_bad;
  for (size_t c = 0; c < p.in.fleet.cells.size(); ++c) {
    const int32_t cell = static_cast<int32_t>(c);
    if (cell == source) continue;
    if (p.in.fleet.cells[c].state != CellState::kUp || !p.in.reachable[c]) continue;
    if (p.plan.risks[c].probability >= p.in.settings.risk_threshold) continue;
    CellForecast after = p.room.cells[c];
    Add(p.forecasts, account, 1, p.in.split_max, 1, after);
    const double used = Utilisation(p.in.fleet, cell, after, p.in.errors);
    Choice& slot = used <= p.in.settings.target_headroom ? best : least_bad;
    if (slot.target < 0 || used < slot.utilisation_after) {
      slot = {cell, Utilisation(p.in.fleet, cell, p.room.cells[c], p.in.errors), used};
    }
  }
  if (best.target < 0 && static_cast<int>(refused.size()) < kAlternativesKept) {
    const std::string& id = p.in.fleet.accounts[account].id;
    refused.push_back(
        least_bad.target < 0
            ? Alternative{id, "", "no other cell is up, reachable and out of danger itself"}
            : Alternative{id, p.in.fleet.cells[least_bad.target].id,
                          fmt::format("its 95th percentile would reach {:.0f} % of capacity, over "
                                      "the headroom of {:.0f} %",
                                      100 * least_bad.utilisation_after,
                                      100 * p.in.settings.target_headroom)});
  }
  return best;
}

Resources Reservation(const Planner& p, int32_t account) {
  Resources reserved{};
  for (int r = 0; r < kResources; ++r) {
    const int64_t series = SeriesOf(account, static_cast<SignalKind>(r));
    for (int step = 0; step < p.in.table.block.steps; ++step) {
      const double p95 = p.in.table.block.at(series, step)[6];
      reserved[r] = std::max(reserved[r], p95);  // a NaN compares false: nothing to hold
    }
  }
  return reserved;
}

// A reason why no more may be created for this cell, or nothing.
std::optional<std::string> BudgetSpent(const Planner& p, int32_t source) {
  const PlanSettings& s = p.in.settings;
  if (p.room.creations_count >= s.creations_per_tick_max) {
    return fmt::format("plan.creations_per_tick_max = {} is spent", s.creations_per_tick_max);
  }
  if (p.room.shadows_count >= s.shadows_max) {
    return fmt::format("plan.shadows_max = {} is reached", s.shadows_max);
  }
  if (p.room.shadows_of[source] >= s.shadows_per_source_max) {
    return fmt::format("plan.shadows_per_source_max = {} is reached", s.shadows_per_source_max);
  }
  return std::nullopt;
}

int WorstStep(const CellRisk& risk) {
  const auto begin = risk.step_probability.begin();
  return static_cast<int>(std::max_element(begin, begin + risk.steps) - begin);
}

void Promise(Planner& p, int32_t account, int32_t source, const Choice& choice) {
  CellForecast& from = p.room.cells[source];
  Add(p.forecasts, account, -1, 1, 0, from);
  Add(p.forecasts, account, 1, 1 - p.in.split_max, 0, from);
  Add(p.forecasts, account, 1, p.in.split_max, 1, p.room.cells[choice.target]);
  p.room.has_shadow[account] = true;
  ++p.room.shadows_of[source];
  ++p.room.shadows_count;
  ++p.room.creations_count;
}

// Adds one shadow for the cell. False: nothing more can be done for it, `why_not` says why.
bool RelieveOnce(Planner& p, int32_t source, const CellRisk& risk_left, std::string& why_not) {
  if (const auto spent = BudgetSpent(p, source)) {
    why_not = *spent;
    return false;
  }
  const int resource = risk_left.resource;
  if (!MovesWithTraffic(resource)) {
    why_not = fmt::format("{} does not move with traffic: only a migration frees it",
                          Name(static_cast<SignalKind>(resource)));
    return false;
  }
  const int step = WorstStep(risk_left);
  std::vector<int32_t> candidates = Candidates(p, source, resource, step);
  if (candidates.empty()) {
    why_not = "every account that could go is pinned, too small or has a shadow already";
    return false;
  }
  PreferEnough(p, source, candidates);
  std::vector<Alternative> refused;
  for (const int32_t account : candidates) {
    const Choice choice = ChooseTarget(p, account, source, refused);
    if (choice.target < 0) continue;
    Promise(p, account, source, choice);
    Relief relief{account, source, choice.target, Reservation(p, account), {}};
    relief.evidence.risk = p.plan.risks[source];
    relief.evidence.probability_after = p.RiskIn(source, p.room.cells[source]).probability;
    const auto quantiles =
        p.in.table.block.at(SeriesOf(account, static_cast<SignalKind>(resource)), step);
    relief.evidence.account_p50 = quantiles[3];
    relief.evidence.account_p95 = quantiles[6];
    relief.evidence.target_utilisation_before = choice.utilisation_before;
    relief.evidence.target_utilisation_after = choice.utilisation_after;
    relief.evidence.alternatives = std::move(refused);
    const int64_t series = SeriesOf(account, static_cast<SignalKind>(resource));
    relief.evidence.model = p.in.table.models[p.in.table.model_of[series]];
    p.plan.reliefs.push_back(std::move(relief));
    return true;
  }
  why_not =
      refused.empty() ? "no cell has room" : "no cell has room: " + refused[0].refused_because;
  return false;
}

void Relieve(Planner& p, int32_t source) {
  const size_t first = p.plan.reliefs.size();
  CellRisk left = p.RiskIn(source, p.room.cells[source]);
  std::string why_not;
  while (left.probability > p.in.settings.risk_target) {
    if (!RelieveOnce(p, source, left, why_not)) break;
    left = p.RiskIn(source, p.room.cells[source]);
  }
  for (size_t i = first; i < p.plan.reliefs.size(); ++i) {
    p.plan.reliefs[i].evidence.probability_after = left.probability;
    if (!why_not.empty()) p.plan.reliefs[i].evidence.guard_rails.push_back(why_not);
  }
  if (left.probability >= p.in.settings.risk_threshold) {
    p.plan.alerts.push_back(fmt::format("cell {} stays at {:.0f} % risk of running out of {}: {}",
                                        p.in.fleet.cells[source].id, 100 * left.probability,
                                        Name(static_cast<SignalKind>(left.resource)), why_not));
  }
}

}  // namespace

Plan MakePlan(const PlanInput& in) {
  const auto accounts = static_cast<int64_t>(in.fleet.accounts.size());
  Planner p{in, MomentsOf(in.table, accounts), {}, {}};
  std::vector<double> splits;
  for (const Shadow& shadow : in.shadows) splits.push_back(shadow.split);
  const std::vector<double> none(in.shadows.size(), 0.0);

  const double threshold = in.settings.risk_threshold;
  p.plan.forecasts_without = ForecastCells(in.fleet, p.forecasts, {}, {});
  p.plan.risks_without =
      RiskOfCells(in.fleet, p.plan.forecasts_without, in.errors, threshold, in.now_ms, in.step_ms);
  p.plan.risks = RiskOfCells(in.fleet, ForecastCells(in.fleet, p.forecasts, in.shadows, splits),
                             in.errors, threshold, in.now_ms, in.step_ms);
  if (!in.may_create) return std::move(p.plan);

  p.room = RoomNow(in, p.forecasts);
  std::vector<int32_t> endangered;
  for (const CellRisk& risk : p.plan.risks) {
    if (risk.probability >= threshold) endangered.push_back(risk.cell);
  }
  std::sort(endangered.begin(), endangered.end(), [&](int32_t x, int32_t y) {
    const CellRisk& rx = p.plan.risks[x];
    const CellRisk& ry = p.plan.risks[y];
    if (rx.expected_ms != ry.expected_ms) return rx.expected_ms < ry.expected_ms;
    if (rx.probability != ry.probability) return rx.probability > ry.probability;
    return x < y;
  });
  for (const int32_t cell : endangered) Relieve(p, cell);
  return std::move(p.plan);
}

}  // namespace foreshadow
