#include "service/plan/relieve.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "service/plan/targets.h"

namespace foreshadow {
namespace {

constexpr size_t kAccountsWeighed = 24;  // of a cell, those whose leaving saves most
constexpr double kNoBetter = 1e-6;       // core-hours: no reason to plan another way

Resources Reservation(const Planner& p, int32_t account) {
  Resources reserved{};
  for (int r = 0; r < kResources; ++r) {
    const int64_t series = SeriesOf(account, static_cast<SignalKind>(r));
    for (int step = 0; step < p.in.table.block.steps; ++step) {
      const double p95 = p.in.table.block.at(series, step)[6];
      reserved[r] = std::max(reserved[r], p95);  // a NaN compares false: nothing to hold
      // A surprise may stand above it.
      reserved[r] = std::max(reserved[r], p.forecasts.at(account, r, step).mean);
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

std::string ReasonFor(const Planner& p, int32_t source, const CellRisk& left) {
  const std::string& id = p.in.fleet.cells[source].id;
  const char* resource = Name(static_cast<SignalKind>(left.resource));
  if (Drains(p.in.rails, source)) return fmt::format("cell {} is being drained", id);
  if (p.of_present) {
    const double capacity = p.in.fleet.cells[source].capacity[left.resource];
    std::string reason =
        fmt::format("cell {} is asked for {:.0f} % of its {} already", id,
                    100 * p.room.cells[source].mean[left.resource][0] / capacity, resource);
    if (!p.OverloadedNow(source)) {
      reason += fmt::format(", over guard.nearly_full_at = {:.0f} %",
                            100 * p.in.rails.settings.nearly_full_at);
    }
    return reason;
  }
  const CellRisk& risk = p.plan.risks[source];
  const std::string when =
      risk.expected_ms == 0 ? "within the hour"
                            : fmt::format("in {} min", (risk.expected_ms - p.in.now_ms) / 60'000);
  std::string reason =
      fmt::format("cell {} is {:.0f} % likely to run out of {} {}", id, 100 * risk.probability,
                  Name(static_cast<SignalKind>(risk.resource)), when);
  if (const int32_t count = p.surprises[source]; count > 0) {
    reason += fmt::format(
        "; {} of its accounts rose above all that was foreseen, and such rises have stayed of late",
        count);
  }
  return reason;
}

// Adds the shadow, with its evidence: what is foreseen of the account's `resource` at `step`.
void Add(Planner& p, int32_t account, const Choice& choice, const CellRisk& risk_left,
         std::vector<Alternative> refused) {
  const int32_t source = p.in.fleet.accounts[account].cell;
  const int step = WorstStep(risk_left);
  const int64_t series = SeriesOf(account, static_cast<SignalKind>(risk_left.resource));
  Relief relief{
      account, source, choice.target, Reservation(p, account), ReasonFor(p, source, risk_left), {}};
  Explanation& e = relief.evidence;
  e.urgency = choice.urgency;
  e.risk = p.plan.risks[source];
  e.gain = choice.gain;
  e.state_bytes = StateBytes(p.forecasts, account);
  e.lead_ms = choice.lead_ms;
  e.target_utilisation_before = choice.utilisation_before;
  e.target_utilisation_after = choice.utilisation_after;
  e.alternatives = std::move(refused);
  const auto quantiles = p.in.table.block.at(series, step);
  if (!std::isnan(quantiles[0])) {
    e.account_p50 = quantiles[3];
    e.account_p95 = quantiles[6];
    e.model = p.in.table.models[p.in.table.model_of[series]];
  }
  Promise(p, account, source, choice.target, 1);
  p.plan.reliefs.push_back(std::move(relief));
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
  const std::vector<Leaver> leavers = Leavers(p, source, resource, WorstStep(risk_left));
  if (leavers.empty()) {
    why_not = "every account that could go is pinned, observed only, too small or has a shadow";
    return false;
  }
  std::map<std::string, Targets> targets;  // by application: its rules decide
  std::vector<Alternative> refused;
  const Leaver* leaver = nullptr;
  Choice choice;
  for (size_t i = 0; i < std::min(leavers.size(), kAccountsWeighed); ++i) {
    const std::string& application = p.in.fleet.accounts[leavers[i].account].application;
    const auto [at, is_new] = targets.try_emplace(application);
    if (is_new) at->second = TargetsOf(p, leavers[i].account);
    const Choice found = ChooseTarget(p, leavers[i].account, at->second, refused);
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
  Add(p, leaver->account, choice, risk_left, std::move(refused));
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
    const CreationLine& line = p.in.leads.in(old.target);
    const int step = p.FirstStep(old.account, line);
    const auto cost = [&] {
      return p.CostFrom(step, source, p.room.cells[source]) +
             p.CostFrom(step, old.target, p.room.cells[old.target]);
    };
    const double cost_with = cost();
    Promise(p, old.account, source, old.target, -1);
    const double kept = cost() - cost_with - PriceOf(p, old.account, line);
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

// Empties a cell that is drained: whoever may leave does, whether or not that saves anything.
void Evacuate(Planner& p, int32_t source) {
  const CellRisk risk = p.RiskIn(source, p.room.cells[source]);
  std::string why_not = "they are pinned or observed only";
  for (const Leaver& leaver : Leavers(p, source, risk.resource, WorstStep(risk))) {
    if (const auto spent = BudgetSpent(p, source)) {
      why_not = *spent;
      break;
    }
    std::vector<Alternative> refused;
    const Choice choice = ChooseTarget(p, leaver.account, TargetsOf(p, leaver.account), refused);
    if (choice.target >= 0) {
      Add(p, leaver.account, choice, risk, {});
    } else {
      why_not = refused[0].refused_because;
    }
  }
  const int64_t stay = std::ranges::count_if(p.accounts_of[source],
                                             [&](int32_t a) { return !p.room.has_shadow[a]; });
  if (stay == 0) return;
  p.plan.alerts.push_back(fmt::format("cell {} is being drained, {} accounts stay for now: {}",
                                      p.in.fleet.cells[source].id, stay, why_not));
}

}  // namespace

void Relieve(Planner& p, int32_t source) {
  if (Drains(p.in.rails, source) && !p.of_present) return Evacuate(p, source);
  const size_t first = p.plan.reliefs.size();
  std::string why_not;
  CellRisk left = RelieveBy(p, source, why_not);
  if (p.in.parts.local_search && p.plan.reliefs.size() > first) {
    Improve(p, source, first);
    left = p.RiskIn(source, p.room.cells[source]);
  }
  if (p.of_present) left = p.RiskIn(p.in.fleet.cells, source, p.room.cells[source]);
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

}  // namespace foreshadow
