// One decision on a split: what the policy wants of what the guard rails allow, and everything that
// is needed to explain it, to learn from it and to judge another policy by it. Pure; the caller
// draws the random number.
#pragma once

#include <array>
#include <string_view>

#include "service/learn/guard.h"
#include "service/learn/observation.h"
#include "service/learn/q_policy.h"

namespace foreshadow {

struct SplitDecision {
  SplitFeatures features{};
  GuardState guard;
  SplitAction action = SplitAction::kHold;
  SplitAction rule = SplitAction::kHold;  // what the rule would take
  double split = 0;
  double shed = 0;            // of all requests, to be refused
  double propensity = 1;      // with which this action was to be taken
  bool learned = false;       // by the policy; else by the rule
  bool explored = false;      // drawn, not the best
  std::string_view fallback;  // why the rule decided though there is a policy; "" = it did not
  ActionValues gains{};       // over the rule's action, by the policy, when there is one
};

struct AgentSettings {
  GuardSettings guard;
  // Chance of an action drawn from those that leave the split no higher than it is or than the
  // first split: what is tried costs a canary's share at most.
  double explore = 0;
  std::array<bool, kSplitActions> omitted{};  // as if the rails never allowed them; never kHold
};

// `policy` null: the rule within the rails - GuardState::ready, unless the plain rule (aimd.h),
// whose wish `aimd_split` is, would lower the split: it tells when traffic comes home to a source
// that has room for it. What is refused (shed.h) is decided first; features, rails and split are of
// what is left. `random` is uniform in 0..1.
SplitDecision DecideSplit(const SplitObservation& observation, const AgentSettings& settings,
                          const QPolicy* policy, double aimd_split, double random,
                          GuardMemory& memory);

}  // namespace foreshadow
