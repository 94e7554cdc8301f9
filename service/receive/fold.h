// What the points of one series in one step amount to. Pure.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <span>

#include "service/receive/rules.h"

namespace foreshadow::receive {

// One value as a sender gave it.
struct Point {
  int64_t time_ms = 0;
  double value = 0;
  int64_t start_ms = 0;  // since when a sum has been counted; 0 = not said
  bool operator==(const Point&) const = default;
};

// The newest point of a counter before a step; time 0 = none.
using Before = Point;

// Prometheus marks the end of a series by a NaN of its own; it says that nothing follows.
bool IsStaleMarker(double value);
double StaleMarker();

// The amount of the step, before scaling; nothing = a gap. `points` are of one step, by time.
// - A gauge: their mean, the last or the largest.
// - A cumulative counter: how much it grew from `before` (if that is within `gap_ms` of the first
//   point, else from the first point) to the last point, over that time, in 1/s. It may begin anew
//   at any point: a fall, or a later start, counts what it has reached since then from zero.
// - Deltas: their sum, over the time that they cover (without start times: over the step), in 1/s.
std::optional<double> Amount(const Target& target, std::span<const Point> points,
                             const Before& before, int64_t gap_ms, int64_t step_ms);

}  // namespace foreshadow::receive
