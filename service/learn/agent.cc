#include "service/learn/agent.h"

#include <algorithm>
#include <vector>

#include "service/learn/shed.h"

namespace foreshadow {
namespace {

std::vector<int> Explorable(const SplitObservation& o, const GuardState& guard,
                            const GuardSettings& settings) {
  std::vector<int> actions;
  const double most = std::max(o.split, settings.first_split);
  for (int a = 0; a < kSplitActions; ++a) {
    if (guard.allowed[a] && guard.split[a] <= most) actions.push_back(a);
  }
  return actions;
}

}  // namespace

SplitDecision DecideSplit(const SplitObservation& asked, const AgentSettings& settings,
                          const QPolicy* policy, double aimd_split, double random,
                          GuardMemory& memory) {
  SplitDecision d;
  const ShadowVerdict verdict = Remember(asked, settings.guard, memory);
  d.shed = ShedShare(asked, settings.guard, verdict, memory);
  const SplitObservation o = Admitted(asked, d.shed);
  d.guard = Allow(o, settings.guard, memory, verdict);
  for (int a = 0; a < kSplitActions; ++a) {
    if (settings.omitted[a]) d.guard.allowed[a] = false;
  }
  const bool conclusive =
      verdict != ShadowVerdict::kInconclusive && verdict != ShadowVerdict::kStale;
  d.features = FeaturesOf(o, {.ceiling = d.guard.ceiling,
                              .conclusive = conclusive,
                              .proven_rps = memory.proven_rps,
                              .worse_rps = memory.worse_rps,
                              .balance = d.guard.balance,
                              .floor = d.guard.floor,
                              .ready = d.guard.ready,
                              .cooling_s = memory.cooling_s,
                              .success = memory.success,
                              .latency_ms = memory.latency_ms,
                              .worse_share = memory.worse_share,
                              .requests = memory.requests});
  // The plain rule brings traffic home, where there is room for it.
  const bool home = aimd_split < o.split && d.guard.floor == 0;
  d.rule = Nearest(d.guard, home ? aimd_split : d.guard.ready);
  if (policy != nullptr) {
    d.gains = policy->GainsOver(d.rule, d.features);
    if (verdict == ShadowVerdict::kStale) {
      d.fallback = "measurements are stale";
    } else if (!policy->Knows(o, d.features)) {
      d.fallback = "the state is outside what the policy was trained on";
    }
    d.learned = d.fallback.empty();
  }
  const SplitAction best =
      d.learned ? BestAllowed(d.gains, d.guard, d.rule, policy->card().margin) : d.rule;
  d.action = best;
  if (settings.explore > 0) {
    const std::vector<int> open = Explorable(o, d.guard, settings.guard);
    const double each = open.empty() ? 0 : settings.explore / static_cast<double>(open.size());
    if (!open.empty() && random < settings.explore) {
      const auto pick = static_cast<size_t>(random / each);
      d.action = static_cast<SplitAction>(open[std::min(pick, open.size() - 1)]);
    }
    const auto at = static_cast<int>(d.action);
    const bool drawn = std::find(open.begin(), open.end(), at) != open.end();
    d.propensity =
        (d.action == best ? 1 - (open.empty() ? 0 : settings.explore) : 0) + (drawn ? each : 0);
    d.explored = d.action != best;
  }
  d.split = d.guard.split[static_cast<int>(d.action)];
  Moved(o.split, d.split, memory);
  return d;
}

}  // namespace foreshadow
