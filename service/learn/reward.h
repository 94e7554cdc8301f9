// What one interval under a split costs: the formula that policies are trained and compared by,
// docs/learning.md. Its inputs are all measured, so that a running engine can compute it too. Pure.
#pragma once

#include "service/learn/observation.h"

namespace foreshadow {

inline constexpr double kHarmCost = 1;      // a request that failed or was slow
inline constexpr double kFailedCost = 1;    // more, where it failed
inline constexpr double kTailCost = 0.02;   // p99 of all requests, in SLOs
inline constexpr double kWasteCost = 0.02;  // a split of 1 that the source had room for
inline constexpr double kChurnCost = 0.05;  // a change of the split by 1
inline constexpr double kBusyLoad = 0.7;    // from here on a source is glad of its shadow

inline constexpr double kCostSeconds = 10;  // that the costs are of; churn's is of each change

// 0..2.3 or so for ten seconds; the reward is its negative. `moved` is |change of the split|.
struct IntervalFacts {
  Measured primary;
  Measured shadow;
  double refused = 0;  // requests that no side was given: they failed
  double p99_ms = 0;   // of all requests, failures as long as the timeout
  double split = 0;
  double moved = 0;
  double source_load = 0;
  double interval_s = kCostSeconds;
  double slo_ms = 400;
  double timeout_ms = 2'000;
};
double IntervalCost(const IntervalFacts& facts);

}  // namespace foreshadow
