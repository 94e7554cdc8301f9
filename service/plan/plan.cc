#include "service/plan/plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

#include "service/plan/cost.h"

namespace foreshadow {
namespace {

constexpr int kAlternativesKept = 5;     // in the evidence: enough to see why, not a table
constexpr double kLeastShare = 0.001;    // an account below that share of capacity is no relief
constexpr size_t kAccountsWeighed = 24;  // of a cell, those whose leaving saves most
constexpr size_t kTargetsWeighed = 8;    // the cells with the most room
constexpr double kHeldHours = 1;         // a shadow stays about so long
constexpr double kServesHours = 0.5;     // and takes traffic for about so long
constexpr double kGib = 1'073'741'824.0;
constexpr double kStateUnknownBytes = kGib;  // of an account whose memory is not measured

// What is planned so far: every shadow at its largest split, so that two plans never promise the
// same room.
struct Room {
  std::vector<CellForecast> cells;
  std::vector<double> used;         // [cell] 95th percentile of its utilisation
  std::vector<bool> has_shadow;     // [account]
  std::vector<int32_t> shadows_of;  // [cell] of its accounts
  int32_t shadows_count = 0;
  int32_t creations_count = 0;
};

struct Planner {
  const PlanInput& in;
  const AccountForecasts forecasts;
  const CostModel cost;
  std::vector<std::vector<int32_t>> accounts_of = {};  // [cell]
  Room room = {};
  Plan plan = {};

  CellRisk RiskIn(int32_t cell, const CellForecast& forecast) const {
    CellRisk risk = RiskOfCell(in.fleet, cell, forecast, in.errors, in.settings.risk_threshold,
                               in.now_ms, in.step_ms);
    Correct(in.calibration, in.settings.risk_threshold, in.now_ms, in.step_ms, risk);
    return risk;
  }
  // From when on a shadow that is decided now can be of use.
  int first_step() const { return std::min(in.lead_steps, forecasts.steps - 1); }
  double CostIn(int32_t cell, const CellForecast& forecast) const {
    return Cost(cost, cell, forecast, first_step(), forecast.steps);
  }
};

Room RoomNow(const PlanInput& in, const AccountForecasts& forecasts) {
  Room room;
  const std::vector<double> largest(in.shadows.size(), in.split_max);
  room.cells = ForecastCells(in.fleet, forecasts, in.shadows, largest);
  for (size_t c = 0; c < room.cells.size(); ++c) {
    room.used.push_back(
        UtilisationOf(in.fleet, static_cast<int32_t>(c), room.cells[c], in.errors).p95);
  }
  room.has_shadow.assign(in.fleet.accounts.size(), false);
  room.shadows_of.assign(in.fleet.cells.size(), 0);
  for (const Shadow& shadow : in.shadows) {
    room.has_shadow[shadow.account] = true;
    ++room.shadows_of[in.fleet.accounts[shadow.account].cell];
    ++room.shadows_count;
  }
  return room;
}

// A cell without a share of the account's traffic.
CellForecast Without(const Planner& p, int32_t account, CellForecast cell) {
  Add(p.forecasts, account, -1, 1, 0, cell);
  Add(p.forecasts, account, 1, 1 - p.in.split_max, 0, cell);
  return cell;
}

CellForecast With(const Planner& p, int32_t account, CellForecast cell) {
  Add(p.forecasts, account, 1, p.in.split_max, 1, cell);
  return cell;
}

// What having a shadow costs, whether it is needed or not, and moving traffic to it.
double PriceOf(const Planner& p, int32_t account) {
  const PlanSettings& s = p.in.settings;
  const int memory = static_cast<int>(SignalKind::kMemory);
  double bytes = p.forecasts.at(account, memory, 0).mean;
  if (bytes <= 0) bytes = kStateUnknownBytes;
  double cores = 0;
  for (int step = 0; step < p.forecasts.steps; ++step) {
    cores += p.forecasts.at(account, 0, step).mean / p.forecasts.steps;
  }
  return s.move_cost + s.gib_cost * bytes / kGib * kHeldHours +
         s.traffic_cost * p.in.split_max * cores * kServesHours;
}

// An account that may leave, and what that saves in its cell, its price taken off.
struct Leaver {
  int32_t account = 0;
  double saved = 0;
};

// Those that may leave the cell and save most by it, of the least important ones that save
// anything.
std::vector<Leaver> Leavers(const Planner& p, int32_t source, int resource, int step) {
  const CellForecast& now = p.room.cells[source];
  const double cost = p.CostIn(source, now);
  const double least = kLeastShare * p.in.fleet.cells[source].capacity[resource];
  std::vector<Leaver> leavers;
  for (const int32_t a : p.accounts_of[source]) {
    if (p.in.fleet.accounts[a].pinned || p.room.has_shadow[a]) continue;
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

// Where to, at what gain.
struct Choice {
  int32_t target = -1;
  double gain = 0;
  double utilisation_before = 0;
  double utilisation_after = 0;
};

// Cells that may take shadows of this one, the one with the most room first.
std::vector<int32_t> Targets(const Planner& p, int32_t source) {
  std::vector<int32_t> targets;
  for (size_t c = 0; c < p.in.fleet.cells.size(); ++c) {
    const int32_t cell = static_cast<int32_t>(c);
    if (cell == source) continue;
    if (p.in.fleet.cells[c].state != CellState::kUp || !p.in.reachable[c]) continue;
    if (p.plan.risks[c].probability >= p.in.settings.target_risk_max) continue;
    targets.push_back(cell);
  }
  const size_t kept = std::min(targets.size(), kTargetsWeighed);
  const auto middle = targets.begin() + static_cast<std::ptrdiff_t>(kept);
  std::partial_sort(targets.begin(), middle, targets.end(), [&](int32_t x, int32_t y) {
    if (p.room.used[x] != p.room.used[y]) return p.room.used[x] < p.room.used[y];
    return x < y;
  });
  targets.resize(kept);
  return targets;
}

// The cell in which the account is expected to cost least; none where the gain is too small or the
// cell would go over its headroom. Of equals, the one with the most room.
Choice ChooseTarget(const Planner& p, const Leaver& leaver, const std::vector<int32_t>& targets,
                    std::vector<Alternative>& refused) {
  Choice best;
  Choice least_bad;
  double least_expected = 0;
  for (const int32_t cell : targets) {
    const CellForecast after = With(p, leaver.account, p.room.cells[cell]);
    const Utilisation used = UtilisationOf(p.in.fleet, cell, after, p.in.errors);
    const double gain = leaver.saved - (p.CostIn(cell, after) - p.CostIn(cell, p.room.cells[cell]));
    const bool has_room = used.expected <= p.in.settings.target_headroom;
    if (least_bad.target < 0 || used.expected < least_expected) {
      least_bad = {cell, gain, p.room.used[cell], used.p95};
      least_expected = used.expected;
    }
    if (!has_room || gain < p.in.settings.gain_min) continue;
    if (best.target < 0 || gain > best.gain) best = {cell, gain, p.room.used[cell], used.p95};
  }
  if (best.target < 0 && std::ssize(refused) < kAlternativesKept) {
    const std::string& id = p.in.fleet.accounts[leaver.account].id;
    const PlanSettings& s = p.in.settings;
    if (least_bad.target < 0) {
      refused.push_back({id, "", "no other cell is up, reachable and out of danger itself"});
    } else if (least_expected > s.target_headroom) {
      refused.push_back({id, p.in.fleet.cells[least_bad.target].id,
                         fmt::format("its demand would reach {:.0f} % of capacity, over "
                                     "plan.target_headroom = {:.0f} %",
                                     100 * least_expected, 100 * s.target_headroom)});
    } else {
      refused.push_back({id, p.in.fleet.cells[least_bad.target].id,
                         fmt::format("it would save {:.3g} core-hours, less than plan.gain_min = "
                                     "{:.3g}",
                                     least_bad.gain, s.gain_min)});
    }
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
  p.room.cells[source] = Without(p, account, p.room.cells[source]);
  p.room.cells[choice.target] = With(p, account, p.room.cells[choice.target]);
  for (const int32_t cell : {source, choice.target}) {
    p.room.used[cell] = UtilisationOf(p.in.fleet, cell, p.room.cells[cell], p.in.errors).p95;
  }
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
  const std::vector<Leaver> leavers = Leavers(p, source, resource, step);
  if (leavers.empty()) {
    why_not = "every account that could go is pinned, too small or has a shadow already";
    return false;
  }
  const std::vector<int32_t> targets = Targets(p, source);
  std::vector<Alternative> refused;
  const Leaver* leaver = nullptr;
  Choice choice;
  for (size_t i = 0; i < std::min(leavers.size(), kAccountsWeighed); ++i) {
    const Choice found = ChooseTarget(p, leavers[i], targets, refused);
    if (found.target < 0 || found.gain <= choice.gain) continue;
    if (leaver != nullptr && p.in.fleet.accounts[leavers[i].account].priority !=
                                 p.in.fleet.accounts[leaver->account].priority) {
      break;
    }
    leaver = &leavers[i];
    choice = found;
  }
  if (leaver == nullptr) {
    why_not = refused.empty() ? "no cell has room" : refused[0].refused_because;
    return false;
  }
  const int32_t account = leaver->account;
  const int first = p.first_step();
  const double soon = Cost(p.cost, source, p.room.cells[source], first, first + 1);
  Promise(p, account, source, choice);
  Relief relief{account, source, choice.target, Reservation(p, account), false, {}};
  relief.urgent = soon - Cost(p.cost, source, p.room.cells[source], first, first + 1) >=
                  p.in.settings.move_cost;
  relief.evidence.risk = p.plan.risks[source];
  relief.evidence.gain = choice.gain;
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

void Advise(Planner& p) {
  if (p.in.shadows.empty()) return;
  const std::vector<double> none(p.in.shadows.size(), 0.0);
  const std::vector<CellForecast> nothing_moved =
      ForecastCells(p.in.fleet, p.forecasts, p.in.shadows, none);
  const std::vector<Advice> advice = AdviseSplits({p.cost, p.forecasts, nothing_moved, p.in.shadows,
                                                   p.in.demand, p.in.split_max, p.in.resume_steps});
  for (size_t i = 0; i < advice.size(); ++i) {
    p.plan.advice.emplace(p.in.shadows[i].instance_id, advice[i]);
  }
}

}  // namespace

Plan MakePlan(const PlanInput& in) {
  const auto accounts = static_cast<int64_t>(in.fleet.accounts.size());
  const double step_hours = static_cast<double>(in.step_ms) / 3'600'000;
  Planner p{in, MomentsOf(in.table, accounts), {in.fleet, in.errors, in.settings, step_hours}};
  std::vector<double> splits;
  for (const Shadow& shadow : in.shadows) splits.push_back(shadow.split);

  const double threshold = in.settings.risk_threshold;
  p.plan.forecasts_without = ForecastCells(in.fleet, p.forecasts, {}, {});
  p.plan.said_without =
      RiskOfCells(in.fleet, p.plan.forecasts_without, in.errors, threshold, in.now_ms, in.step_ms);
  p.plan.risks_without = p.plan.said_without;
  const auto correct = [&](CellRisk& risk) {
    Correct(in.calibration, threshold, in.now_ms, in.step_ms, risk);
  };
  std::ranges::for_each(p.plan.risks_without, correct);
  p.plan.risks = RiskOfCells(in.fleet, ForecastCells(in.fleet, p.forecasts, in.shadows, splits),
                             in.errors, threshold, in.now_ms, in.step_ms);
  std::ranges::for_each(p.plan.risks, correct);
  Advise(p);
  if (!in.may_create) return std::move(p.plan);

  p.room = RoomNow(in, p.forecasts);
  p.accounts_of.resize(in.fleet.cells.size());
  for (int64_t a = 0; a < accounts; ++a) {
    p.accounts_of[in.fleet.accounts[a].cell].push_back(static_cast<int32_t>(a));
  }
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

Advice AdviceFor(const Plan& plan, const Shadow& shadow) {
  const auto it = plan.advice.find(shadow.instance_id);
  return it == plan.advice.end() ? Advice{} : it->second;
}

}  // namespace foreshadow
