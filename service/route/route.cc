#include "service/route/route.h"

#include <fmt/core.h>

#include <algorithm>
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
  const bool urgent = Needed(in, shadow, in.step_ms);
  if (EndangersTarget(in, shadow)) {
    // Both in danger: moving load to and fro helps neither.
    if (urgent) return {shadow.split, ""};
    return {0, fmt::format("cell {} needs its own capacity", target)};
  }
  // Within the guard rails nothing goes all at once: a shadow gets what it has shown to carry.
  if (urgent && !shadow.learned.railed) {
    return {settings.split_max,
            fmt::format("cell {} is over its capacity or will be within a step", source)};
  }
  const bool just_resumed = shadow.since_ms == in.now_ms;
  if (just_resumed) {
    return {std::min(settings.first_split, settings.split_max), "first share of the traffic"};
  }
  const double wanted = std::clamp(shadow.wanted_split, 0.0, settings.split_max);
  if (shadow.learned.railed) return {wanted, shadow.learned.reason};
  return {wanted, wanted > shadow.split
                      ? fmt::format("cell {} is still in danger", source)
                      : fmt::format("cell {} is safer, or cell {} is not", source, target)};
}

}  // namespace

void Route(const Outlook& in, const LearnSettings& settings, Decisions& decisions,
           Changes& changes) {
  for (Shadow& shadow : decisions.shadows) {
    if (shadow.state != ShadowState::kSharing) continue;
    Decision decision = SplitOf(in, settings, shadow);
    const bool lost = !in.reachable[shadow.target];
    if (decisions.paused && !lost) decision.split = shadow.split;
    if (decision.split == shadow.split) continue;
    shadow.split = shadow.wanted_split = decision.split;
    Explanation e =
        Open(in.fleet, shadow, ActionKind::kSetSplit, decision.reason, in.now_ms, decisions);
    // The data plane reads the published splits: told is done.
    e.action.state = ActionState::kDone;
    e.action.settled_ms = in.now_ms;
    e.action.split = shadow.split;
    if (!shadow.learned.rail.empty()) e.guard_rails.push_back(shadow.learned.rail);
    e.risk = in.plan.risks_without[in.fleet.accounts[shadow.account].cell];
    changes.explanations.push_back(std::move(e));
  }
}

}  // namespace foreshadow
