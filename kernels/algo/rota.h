// Which series to refresh at a tick. On the host; deterministic.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>

#include "kernels/check.h"

namespace foreshadow::kernels {

struct RotaSlice {
  int64_t first;
  int64_t count;
};

// The series whose turn it is: each once in `ticks` ticks in a row, and as many at one tick as at
// any other, but for one.
constexpr RotaSlice RotaAt(int64_t series, int64_t ticks, int64_t tick) {
  const int64_t turn = tick % ticks;
  const auto before = [&](int64_t t) {  // series * t / ticks, which could overflow
    return series / ticks * t + series % ticks * t / ticks;
  };
  return {before(turn), before(turn + 1) - before(turn)};
}

// The series whose stray passes their tolerance, farthest past it first - the bound grows with each
// tick, so they are the most urgent - and as many as there is room for. Returns how many.
inline int64_t FarthestAstray(std::span<const float> stray, std::span<const float> tolerance,
                              std::span<int32_t> series) {
  FORESHADOW_CHECK(stray.size() == tolerance.size());
  // Infinite strays are alike, and a tolerance of zero is passed by any: the ratio orders those
  // too.
  const auto urgency = [&](int32_t s) {
    const auto i = static_cast<size_t>(s);
    return tolerance[i] > 0 ? stray[i] / tolerance[i] : std::numeric_limits<float>::infinity();
  };
  const auto before = [&](int32_t a, int32_t b) {
    return urgency(a) > urgency(b) || (urgency(a) == urgency(b) && a < b);
  };
  int64_t count = 0;
  const auto room = static_cast<int64_t>(series.size());
  for (int32_t s = 0; s < std::ssize(stray); ++s) {
    if (!(stray[static_cast<size_t>(s)] > tolerance[static_cast<size_t>(s)])) continue;
    const auto kept = series.first(static_cast<size_t>(count));
    if (count == room && (room == 0 || !before(s, kept.front()))) continue;
    if (count == room) {  // a heap with the least urgent in front
      std::pop_heap(kept.begin(), kept.end(), before);
      kept.back() = s;
    } else {
      series[static_cast<size_t>(count++)] = s;
    }
    const auto grown = series.first(static_cast<size_t>(count));
    std::push_heap(grown.begin(), grown.end(), before);
  }
  const auto found = series.first(static_cast<size_t>(count));
  std::sort_heap(found.begin(), found.end(), before);
  return count;
}

}  // namespace foreshadow::kernels
