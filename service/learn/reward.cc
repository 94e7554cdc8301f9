#include "service/learn/reward.h"

#include <algorithm>

namespace foreshadow {

double IntervalCost(const IntervalFacts& f) {
  const double requests = f.primary.requests + f.shadow.requests + f.refused;
  const double failed = f.primary.failed + f.shadow.failed + f.refused;
  const double harmed = failed + f.primary.slow + f.shadow.slow;
  const double shares = requests > 0 ? (kHarmCost * harmed + kFailedCost * failed) / requests : 0;
  const double tail = requests > 0 ? kTailCost * std::min(f.p99_ms, f.timeout_ms) / f.slo_ms : 0;
  const double idle = std::clamp((kBusyLoad - f.source_load) / kBusyLoad, 0.0, 1.0);
  const double per_time = shares + tail + kWasteCost * f.split * idle;
  return per_time * f.interval_s / kCostSeconds + kChurnCost * f.moved;
}

}  // namespace foreshadow
