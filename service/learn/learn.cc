#include "service/learn/learn.h"

#include <algorithm>

namespace foreshadow {
namespace {

// Below half the threshold a cell counts as safe; in between the split sinks slowly, so that it
// does not swing around one value and yet no shadow stays for ever.
constexpr double kSafeShare = 0.5;
constexpr double kSinkShare = 0.25;  // of a raising step

double NextSplit(const Plan& plan, const Fleet& fleet, double risk_threshold,
                 const LearnSettings& settings, int64_t now_ms, const Shadow& shadow) {
  const int32_t source = fleet.accounts[shadow.account].cell;
  const double source_risk = plan.risks_without[source].probability;
  const double target_risk = plan.risks[shadow.target].probability;
  const bool held = now_ms - shadow.since_ms < settings.hold_ms;  // sharing since
  const bool target_endangered = target_risk >= risk_threshold;
  if (target_endangered || (!held && source_risk < kSafeShare * risk_threshold)) {
    const double lowered = shadow.split * settings.decrease_factor;
    return lowered < settings.first_split / 2 ? 0 : lowered;
  }
  if (source_risk >= risk_threshold) {
    return std::min(settings.split_max, shadow.split + settings.split_step);
  }
  if (held || plan.risks[source].probability >= kSafeShare * risk_threshold) return shadow.split;
  const double sunk = shadow.split - kSinkShare * settings.split_step;
  return sunk < settings.first_split / 2 ? 0 : sunk;
}

}  // namespace

void Learn(const Plan& plan, const Fleet& fleet, double risk_threshold,
           const LearnSettings& settings, int64_t now_ms, std::vector<Shadow>& shadows) {
  for (Shadow& shadow : shadows) {
    if (shadow.state != ShadowState::kSharing) continue;
    shadow.wanted_split = NextSplit(plan, fleet, risk_threshold, settings, now_ms, shadow);
  }
}

}  // namespace foreshadow
