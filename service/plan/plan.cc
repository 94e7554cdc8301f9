#include "service/plan/plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>
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
constexpr double kNothingFree = 1e9;     // a share of nothing
constexpr double kNoBetter = 1e-6;       // core-hours: no reason to plan another way
constexpr double kGib = 1'073'741'824.0;
constexpr double kStateUnknownBytes = kGib;  // of an account whose memory is not measured

// What is planned so far: every shadow at its largest split, so that two plans never promise the
// same room.
struct Room {
  std::vector<CellForecast> cells;
  std::vector<double> used;         // [cell] 95th percentile of its utilisation
  std::vector<bool> has_shadow;     // [account]
  std::vector<int32_t> shadows_of;  // [cell] of its accounts
  std::vector<int32_t> shadows_in;  // [cell]
  std::map<std::string, int32_t> shadows_in_zone;
  std::map<std::string, std::vector<int32_t>> accounts_in;  // [application][cell], shadows included
  int32_t shadows_count = 0;
  int32_t creations_count = 0;
};

struct Planner {
  const PlanInput& in;
  const AccountForecasts forecasts;
  const CostModel cost;
  const bool of_present =
      false;                    // the forecasts are the present: what reacts, whatever is foreseen
  std::vector<Bar> jumps = {};  // [cell]
  std::vector<std::vector<int32_t>> accounts_of = {};  // [cell]
  Room room = {};
  Plan plan = {};

  CellRisk RiskIn(int32_t cell, const CellForecast& forecast) const {
    CellRisk risk = RiskOfCell(cost.fleet, cell, forecast, in.errors, in.settings.risk_threshold,
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

// Takes the account's traffic, as much as may go, from its cell, or with `sign` -1 gives it back.
void Leave(const Planner& p, int32_t account, double sign, CellForecast& cell) {
  Add(p.forecasts, account, -sign, 1, 0, cell);
  Add(p.forecasts, account, sign, 1 - p.in.split_max, 0, cell);
}

CellForecast Without(const Planner& p, int32_t account, CellForecast cell) {
  Leave(p, account, 1, cell);
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
  Urgency urgency = Urgency::kRoutine;
};

// How soon it saves what moving it costs.
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

// Those that may leave the cell and save most by it, of the least important ones that save
// anything.
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

// Where to, at what gain.
struct Choice {
  int32_t target = -1;
  double gain = 0;
  double utilisation_before = 0;
  double utilisation_after = 0;
};

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

// Cells that may take a shadow of the account, the one with the most room first.
struct Targets {
  std::vector<int32_t> cells;
  int32_t barred = -1;  // one that may not, and why
  std::string why_barred;
};
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

// Share of a cell's free capacity that its shadows take.
double ShareOfFree(const Planner& p, int32_t cell, double expected) {
  const double own =
      UtilisationOf(p.in.fleet, cell, p.plan.forecasts_without[cell], p.in.errors).expected;
  return own >= 1 ? kNothingFree : (expected - own) / (1 - own);
}

// The cell in which the account is expected to cost least; none where a rail forbids it, the gain
// is too small or the cell would go over its headroom. Of equals, the one with the most room.
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
  const RailSettings& s = p.in.rails.settings;
  if (p.room.creations_count >= p.in.rails.creations_max) {
    return fmt::format("guard.creations_per_minute_max = {} is spent", s.creations_per_minute_max);
  }
  if (p.room.shadows_count >= s.shadows_max) {
    return fmt::format("guard.shadows_max = {} is reached", s.shadows_max);
  }
  if (p.room.shadows_of[source] >= s.shadows_per_source_max) {
    return fmt::format("guard.shadows_per_source_max = {} is reached", s.shadows_per_source_max);
  }
  return std::nullopt;
}

int WorstStep(const CellRisk& risk) {
  const auto begin = risk.step_probability.begin();
  return static_cast<int>(std::max_element(begin, begin + risk.steps) - begin);
}

// Counts a shadow as promised, or with `count` -1 takes that back.
void Promise(Planner& p, int32_t account, int32_t source, int32_t target, int32_t count) {
  Leave(p, account, count, p.room.cells[source]);
  Add(p.forecasts, account, count, p.in.split_max, 1, p.room.cells[target]);
  for (const int32_t cell : {source, target}) {
    p.room.used[cell] = UtilisationOf(p.in.fleet, cell, p.room.cells[cell], p.in.errors).p95;
  }
  CountShadow(p.in.fleet, account, target, count, p.room);
  p.room.creations_count += count;
}

std::string ReasonFor(const Planner& p, int32_t source, const CellRisk& left) {
  const std::string& id = p.in.fleet.cells[source].id;
  const char* resource = Name(static_cast<SignalKind>(left.resource));
  if (Drains(p.in.rails, source)) return fmt::format("cell {} is being drained", id);
  if (p.of_present) {
    const double capacity = p.in.fleet.cells[source].capacity[left.resource];
    return fmt::format("cell {} is asked for {:.0f} % of its {} already", id,
                       100 * p.room.cells[source].mean[left.resource][0] / capacity, resource);
  }
  const CellRisk& risk = p.plan.risks[source];
  const std::string when =
      risk.expected_ms == 0 ? "within the hour"
                            : fmt::format("in {} min", (risk.expected_ms - p.in.now_ms) / 60'000);
  return fmt::format("cell {} is {:.0f} % likely to run out of {} {}", id, 100 * risk.probability,
                     Name(static_cast<SignalKind>(risk.resource)), when);
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
  std::vector<Leaver> leavers = Leavers(p, source, resource, step);
  if (leavers.empty()) {
    why_not = "every account that could go is pinned, observed only, too small or has a shadow";
    return false;
  }
  std::map<std::string, Targets> targets;  // by application: its rules decide
  std::vector<Alternative> refused;
  const Leaver* leaver = nullptr;
  Choice choice;
  for (size_t i = 0; i < std::min(leavers.size(), kAccountsWeighed); ++i) {
    leavers[i].urgency = UrgencyOf(p, source, leavers[i].account);
    const std::string& application = p.in.fleet.accounts[leavers[i].account].application;
    const auto [at, is_new] = targets.try_emplace(application);
    if (is_new) at->second = TargetsOf(p, leavers[i].account);
    const Choice found = ChooseTarget(p, leavers[i], at->second, refused);
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
  Relief relief{
      account, source, choice.target, Reservation(p, account), ReasonFor(p, source, risk_left), {}};
  Promise(p, account, source, choice.target, 1);
  relief.evidence.urgency = leaver->urgency;
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

// Adds shadows until the chance is at most plan.risk_target or nothing more pays; returns it.
CellRisk RelieveBy(Planner& p, int32_t source, std::string& why_not) {
  CellRisk left = p.RiskIn(source, p.room.cells[source]);
  while (left.probability > p.in.settings.risk_target) {
    if (!RelieveOnce(p, source, left, why_not)) break;
    left = p.RiskIn(source, p.room.cells[source]);
  }
  return left;
}

// Local search over what was found one by one: each shadow of the cell from `first` on is taken
// back, and what would be found without that account takes its place where it saves more.
void Improve(Planner& p, int32_t source, size_t first) {
  const size_t count = p.plan.reliefs.size() - first;
  for (size_t i = 0; i < count && p.plan.reliefs.size() > first; ++i) {
    Relief old = std::move(p.plan.reliefs[first]);
    p.plan.reliefs.erase(p.plan.reliefs.begin() + static_cast<std::ptrdiff_t>(first));
    const auto cost = [&] {
      return p.CostIn(source, p.room.cells[source]) +
             p.CostIn(old.target, p.room.cells[old.target]);
    };
    const double cost_with = cost();
    Promise(p, old.account, source, old.target, -1);
    const double kept = cost() - cost_with - PriceOf(p, old.account);
    const size_t before = p.plan.reliefs.size();
    std::string why_not;
    p.room.has_shadow[old.account] = true;
    RelieveBy(p, source, why_not);
    p.room.has_shadow[old.account] = false;
    double found = 0;
    for (size_t j = before; j < p.plan.reliefs.size(); ++j) {
      found += p.plan.reliefs[j].evidence.gain;
    }
    if (found > kept + kNoBetter) continue;
    while (p.plan.reliefs.size() > before) {
      const Relief& back = p.plan.reliefs.back();
      Promise(p, back.account, source, back.target, -1);
      p.plan.reliefs.pop_back();
    }
    Promise(p, old.account, source, old.target, 1);
    p.plan.reliefs.push_back(std::move(old));
  }
}

void Relieve(Planner& p, int32_t source) {
  const size_t first = p.plan.reliefs.size();
  std::string why_not;
  CellRisk left = RelieveBy(p, source, why_not);
  if (p.plan.reliefs.size() > first) {
    Improve(p, source, first);
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

std::vector<std::vector<int32_t>> AccountsOf(const Fleet& fleet) {
  std::vector<std::vector<int32_t>> accounts_of(fleet.cells.size());
  for (size_t a = 0; a < fleet.accounts.size(); ++a) {
    accounts_of[fleet.accounts[a].cell].push_back(static_cast<int32_t>(a));
  }
  return accounts_of;
}

// Whether a cell that is overloaded now is relieved by what is there, whatever is foreseen: while
// its forecasts are in doubt, or when they have called an overload over that has stood for long.
bool Reacts(const Planner& p, int32_t cell) {
  if (p.in.rails.drifted || p.jumps[cell].least > Urgency::kRoutine) return true;
  return p.in.rails.overloaded_long[cell] && p.plan.risks[cell].step_probability[0] < 0.5;
}

// Never less than one who only looks at the present would do: relieves such cells, with every
// shadow there is and is planned at its largest split, as if what is there now were to last.
Plan React(Planner p) {
  const std::vector<CellDemand>& demand = p.in.cell_demand;
  std::vector<int32_t> cells;
  for (int32_t c = 0; c < std::ssize(demand); ++c) {
    if (Exceeds(demand[c].with, p.in.fleet.cells[c].capacity) && Reacts(p, c)) cells.push_back(c);
  }
  if (cells.empty()) return std::move(p.plan);
  const int steps = std::min(p.first_step() + p.in.resume_steps, p.forecasts.steps);
  Planner now{p.in, Lasting(p.in.demand, steps), p.cost, /*of_present=*/true};
  now.accounts_of = std::move(p.accounts_of);
  now.jumps = std::move(p.jumps);
  now.room = RoomNow(p.in, now.forecasts);
  now.plan = std::move(p.plan);
  for (const Relief& relief : now.plan.reliefs) {
    Promise(now, relief.account, relief.source, relief.target, 1);
  }
  for (const int32_t cell : cells) Relieve(now, cell);
  return std::move(now.plan);
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
  const Fleet usable = AnyDrains(in.rails) ? WithDrains(in.rails) : Fleet{};
  const Fleet& seen = usable.cells.empty() ? in.fleet : usable;
  Planner p{in, MomentsOf(in.table, accounts), {seen, in.errors, in.settings, step_hours}};
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
  p.accounts_of = AccountsOf(in.fleet);
  p.jumps.resize(in.fleet.cells.size());
  if (!in.cell_demand.empty()) {
    p.jumps = JumpBars(in.rails, in.cell_demand, p.plan.forecasts_without);
  }
  std::vector<int32_t> endangered;
  for (const CellRisk& risk : p.plan.risks) {
    if (risk.probability >= threshold || Drains(in.rails, risk.cell))
      endangered.push_back(risk.cell);
  }
  std::sort(endangered.begin(), endangered.end(), [&](int32_t x, int32_t y) {
    const CellRisk& rx = p.plan.risks[x];
    const CellRisk& ry = p.plan.risks[y];
    if (rx.expected_ms != ry.expected_ms) return rx.expected_ms < ry.expected_ms;
    if (rx.probability != ry.probability) return rx.probability > ry.probability;
    return x < y;
  });
  for (const int32_t cell : endangered) Relieve(p, cell);
  return React(std::move(p));
}

Advice AdviceFor(const Plan& plan, const Shadow& shadow) {
  const auto it = plan.advice.find(shadow.instance_id);
  return it == plan.advice.end() ? Advice{} : it->second;
}

}  // namespace foreshadow
