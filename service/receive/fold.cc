#include "service/receive/fold.h"

#include <algorithm>
#include <bit>

namespace foreshadow::receive {
namespace {

constexpr uint64_t kStaleBits = 0x7ff0000000000002;  // Prometheus, model/value
constexpr double kMsPerSecond = 1e3;

double OfGauge(InStep in_step, std::span<const Point> points) {
  if (in_step == InStep::kLast) return points.back().value;
  if (in_step == InStep::kMax) {
    return std::max_element(points.begin(), points.end(),
                            [](const Point& a, const Point& b) { return a.value < b.value; })
        ->value;
  }
  double sum = 0;
  for (const Point& point : points) sum += point.value;
  return sum / static_cast<double>(points.size());
}

// How much a counter grew between two of its points.
double Growth(const Point& from, const Point& to) {
  const bool began_anew =
      to.value < from.value || (from.start_ms > 0 && to.start_ms > from.start_ms);
  return began_anew ? to.value : to.value - from.value;
}

std::optional<double> OfCumulative(std::span<const Point> points, const Before& before,
                                   int64_t gap_ms) {
  double growth = 0;
  const Point* previous = nullptr;
  int64_t from_ms = 0;
  if (before.time_ms > 0 && before.time_ms < points.front().time_ms &&
      points.front().time_ms - before.time_ms <= gap_ms) {
    previous = &before;
  }
  for (const Point& point : points) {
    if (previous == nullptr) {
      from_ms = point.time_ms;
    } else {
      if (from_ms == 0) from_ms = previous->time_ms;
      growth += Growth(*previous, point);
    }
    previous = &point;
  }
  const int64_t took_ms = points.back().time_ms - from_ms;
  if (took_ms <= 0) return std::nullopt;
  return growth * kMsPerSecond / static_cast<double>(took_ms);
}

double OfDeltas(std::span<const Point> points, int64_t step_ms) {
  double sum = 0;
  int64_t covered_ms = 0;
  bool all_say = true;
  for (const Point& point : points) {
    sum += point.value;
    all_say = all_say && point.start_ms > 0 && point.start_ms < point.time_ms;
    covered_ms += point.time_ms - point.start_ms;
  }
  return sum * kMsPerSecond / static_cast<double>(all_say ? covered_ms : step_ms);
}

}  // namespace

bool IsStaleMarker(double value) { return std::bit_cast<uint64_t>(value) == kStaleBits; }

double StaleMarker() { return std::bit_cast<double>(kStaleBits); }

std::optional<double> Amount(const Target& target, std::span<const Point> points,
                             const Before& before, int64_t gap_ms, int64_t step_ms) {
  if (points.empty()) return std::nullopt;
  switch (target.making) {
    case Making::kGauge:
      return OfGauge(target.in_step, points);
    case Making::kCumulative:
      return OfCumulative(points, before, gap_ms);
    case Making::kDelta:
      return OfDeltas(points, step_ms);
  }
  return std::nullopt;
}

}  // namespace foreshadow::receive
