#include "service/route/route.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <string>

namespace foreshadow {
namespace {

struct Decision {
  double split = 0;
  std::string reason;
};

Decision SplitOf(const Outlook& in, const LearnSettings& settings, const Shadow& shadow) {
  const std::string& source = in.fleet.cells[shadow.source].id;
  const std::string& target = in.fleet.cells[shadow.target].id;
  if (!in.reachable[shadow.target]) {
    return {0, fmt::format("cell {} does not answer", target)};
  }
  if (shadow.failed_over) return {1, "its primary is ill"};
  const Advice advice = AdviceFor(in.plan, shadow);
  const PlanSettings& plan = in.plan_settings;
  const double price = plan.gain_min + (shadow.split > 0 ? 0 : plan.move_cost);
  const bool at_stake = advice.evacuates || advice.gain_next >= price;
  Decision staked = {
      advice.split,
      advice.evacuates
          ? fmt::format("cell {} is being drained", source)
          : fmt::format("cells {} and {} are expected to serve most so in the next step", source,
                        target)};
  const Migration& migration = shadow.migration;
  if (shadow.state == ShadowState::kPromoting) {
    // Within the guard rails nothing goes all at once; without them the next step comes first.
    const bool railed = settings.policy == LearnPolicy::kQ && migration.measured;
    if (at_stake && !railed && advice.split > shadow.wanted_split) return staked;
    return {shadow.wanted_split, "it is about to become the primary, step by step"};
  }
  if (migration.aborted_ms == in.now_ms) {
    return {migration.from, migration.reason.empty()
                                ? "its migration is called off"
                                : fmt::format("its migration is called off: {}", migration.reason)};
  }
  const bool just_resumed = shadow.since_ms == in.now_ms;
  const double first = std::min(settings.first_split, settings.split_max);
  // Within the guard rails nothing goes all at once: a shadow gets what it has shown to carry.
  if (shadow.learned.railed) {
    if (just_resumed) return {first, "first share of the traffic"};
    return {std::clamp(shadow.wanted_split, 0.0, settings.split_max), shadow.learned.reason};
  }
  if (at_stake) return staked;
  if (just_resumed) return {first, "first share of the traffic"};
  // Traffic that comes home at the first quiet step goes out again at the next busy one.
  const bool held = shadow.split > 0 && in.now_ms - shadow.moved_ms < settings.hold_ms;
  const double least = held ? std::min(settings.first_split / 2, settings.split_max) : 0;
  if (!held && !Needed(in, shadow)) {
    // Raised at once, lowered in steps: what is called safe may not be.
    const double lower = settings.decrease_factor * shadow.split;
    return {lower < settings.first_split / 2 ? 0 : lower,
            fmt::format("cell {} is out of danger", source)};
  }
  const double planned = std::min(advice.planned, shadow.wanted_split);
  const double wanted = std::max(least, planned < settings.first_split / 2 ? 0 : planned);
  return {wanted, wanted > shadow.split
                      ? fmt::format("cell {} will need relief", source)
                      : fmt::format("cell {} is safer, or cell {} is not", source, target)};
}

// As much of the change as the budget of shifted traffic allows; takes it from there.
void Afford(const Outlook& in, const Shadow& shadow, RailsMemory& memory, Decision& decision) {
  const double rate = in.rails.settings.cores_shifted_per_minute_max;
  const double cores = in.account_demand[shadow.account][static_cast<int>(SignalKind::kCpu)];
  if (rate <= 0 || cores <= 0) return;
  const double change = decision.split - shadow.split;
  const double allowed = std::min(std::abs(change), std::max(0.0, memory.cores_left) / cores);
  if (allowed < std::abs(change)) {
    decision.split = shadow.split + std::copysign(allowed, change);
    decision.reason +=
        fmt::format("; no further yet: guard.cores_shifted_per_minute_max = {} is spent", rate);
  }
  memory.cores_left -= allowed * cores;
}

// What a migration found at the shadow is not forgotten at the next tick.
void LimitAfterCallOff(const Outlook& in, const Shadow& shadow, Decision& decision) {
  const Migration& m = shadow.migration;
  const bool lately = !m.reason.empty() && in.now_ms - m.aborted_ms < in.settings.promote_after_ms;
  if (!lately || shadow.failed_over || shadow.state != ShadowState::kSharing) return;
  if (decision.split <= m.from) return;
  decision = {m.from,
              fmt::format("no more than before its migration was called off: {}", m.reason)};
}

// Of an account whose instances cannot carry all that is asked for; see service/learn/shed.h.
double ShedOf(const Outlook& in, const Shadow& shadow, bool paused) {
  if (!in.reachable[shadow.target] || shadow.state != ShadowState::kSharing) return 0;
  return paused ? shadow.shed : shadow.wanted_shed;
}

std::string WhyShed(const Shadow& shadow, double shed) {
  if (shed == 0) return shadow.shed > 0 ? "none of its requests is refused any more" : "";
  return fmt::format("{:.0f} % of its requests are refused: {} cannot carry them all", 100 * shed,
                     shadow.failed_over ? "the shadow alone" : "both instances together");
}

}  // namespace

void Route(const Outlook& in, const LearnSettings& settings, Decisions& decisions,
           Changes& changes) {
  for (Shadow& shadow : decisions.shadows) {
    if (!Serves(shadow.state) || HasOpenAction(decisions, shadow)) continue;
    Decision decision = SplitOf(in, settings, shadow);
    LimitAfterCallOff(in, shadow, decision);
    const bool lost = !in.reachable[shadow.target];
    if (decisions.paused && !lost) decision.split = shadow.split;
    // What is lost or ill, or serves worse than it may, leaves at once.
    const bool harmful =
        shadow.migration.aborted_ms == in.now_ms && !shadow.migration.reason.empty();
    if (!lost && !harmful && !shadow.failed_over) Afford(in, shadow, decisions.rails, decision);
    const double shed = ShedOf(in, shadow, decisions.paused);
    const std::string why_shed = WhyShed(shadow, shed);
    if (shed > 0) {
      changes.alerts.push_back(
          fmt::format("account {}: {}", in.fleet.accounts[shadow.account].id, why_shed));
    }
    if (decision.split == shadow.split && shed == shadow.shed) continue;
    if (!why_shed.empty()) decision.reason += "; " + why_shed;
    shadow.shed = shed;
    if (shadow.split == 0) shadow.moved_ms = in.now_ms;
    shadow.split = shadow.wanted_split = decision.split;
    Explanation e =
        Open(in.fleet, shadow, ActionKind::kSetSplit, decision.reason, in.now_ms, decisions);
    // The data plane reads the published splits: told is done.
    e.action.state = ActionState::kDone;
    e.action.settled_ms = in.now_ms;
    e.action.split = shadow.split;
    e.action.shed = shadow.shed;
    if (!shadow.learned.rail.empty()) e.guard_rails.push_back(shadow.learned.rail);
    e.risk = in.plan.risks_without[in.fleet.accounts[shadow.account].cell];
    changes.explanations.push_back(std::move(e));
  }
}

}  // namespace foreshadow
