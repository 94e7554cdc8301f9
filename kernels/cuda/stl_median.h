// The median of each series of a tile, by counting.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/cuda/stl_tile.h"

namespace foreshadow::kernels::cuda {

FORESHADOW_PORTABLE inline int32_t Bits(float value) {
  int32_t bits;
  memcpy(&bits, &value, sizeof(bits));
  return bits;
}
FORESHADOW_PORTABLE inline float FromBits(int32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof(value));
  return value;
}

// The k-th smallest of the present values in m.weights and the one after it, k = (present - 1)/2,
// into the verdicts. A bracket closes by counting; see Select in kernels/cpu/stl.cc.
template <int kTile, typename Team>
FORESHADOW_PORTABLE void SelectMedian(Team team, const TileMemory& m, int64_t steps) {
  const float inf = std::numeric_limits<float>::infinity();
  const auto value_at = [&](int32_t step, int s) { return m.weights[step * kTile + s]; };
  const auto plus = [](float a, float b) { return a + b; };
  const auto least = [](float a, float b) { return b < a ? b : a; };
  const auto largest_finite = [inf](float a, float b) { return b > a && b < inf ? b : a; };
  Reduce<kTile>(team, m, steps, 0.0f, value_at, largest_finite, [&](int s, float largest) {
    Verdict& v = m.verdicts[s];
    v.from = -1;
    v.to = Bits(largest);
    v.below_from = 0;
    v.below_to = v.present;
  });
  for (int round = 0;; ++round) {
    team.For(1, [&](int64_t) {
      m.flags[1] = 0;
      for (int s = 0; s < kTile; ++s) {
        Verdict& v = m.verdicts[s];
        const int32_t k = (v.present - 1) / 2;
        v.probe = v.from + (v.to - v.from) / 2;
        if (round % 3 != 2) {
          const float low = FromBits(v.from < 0 ? 0 : v.from);
          const float share =
              static_cast<float>(k - v.below_from) / static_cast<float>(v.below_to - v.below_from);
          const int32_t pointed = Bits(low + (FromBits(v.to) - low) * share);
          v.probe = pointed > v.to - 1 ? v.to - 1 : pointed;
          if (v.probe < v.from + 1) v.probe = v.from + 1;
        }
        m.flags[1] |= v.below_from < k && v.to - v.from > 1;
      }
    });
    if (m.flags[1] == 0) break;
    const auto is_below = [&](int32_t step, int s) {
      return Bits(value_at(step, s)) <= m.verdicts[s].probe ? 1.0f : 0.0f;
    };
    Reduce<kTile>(team, m, steps, 0.0f, is_below, plus, [&](int s, float count) {
      Verdict& v = m.verdicts[s];
      const auto below = static_cast<int32_t>(count);
      if (below > (v.present - 1) / 2) {
        v.to = v.probe;
        v.below_to = below;
      } else {
        v.from = v.probe;
        v.below_from = below;
      }
    });
  }
  // k values are not above `from` and the next two are wanted; or equal values stand in the way
  // and the k-th is `to`.
  team.For(kTile, [&](int64_t s) {
    Verdict& v = m.verdicts[s];
    const bool apart = v.below_from == (v.present - 1) / 2;
    v.probe = apart ? v.from : v.to;
  });
  const auto above = [&](int32_t step, int s) {
    const float value = value_at(step, s);
    return Bits(value) > m.verdicts[s].probe ? value : inf;
  };
  Reduce<kTile>(team, m, steps, inf, above, least,
                [&](int s, float next) { m.verdicts[s].first = next; });
  const auto at_first = [&](int32_t step, int s) {
    return above(step, s) == m.verdicts[s].first ? 1.0f : 0.0f;
  };
  const auto above_first = [&](int32_t step, int s) {
    const float value = above(step, s);
    return value > m.verdicts[s].first ? value : inf;
  };
  Reduce<kTile>(team, m, steps, 0.0f, at_first, plus, [&](int s, float count) {
    m.verdicts[s].below_from = static_cast<int32_t>(count);
  });
  Reduce<kTile>(team, m, steps, inf, above_first, least, [&](int s, float next) {
    Verdict& v = m.verdicts[s];
    const int32_t k = (v.present - 1) / 2;
    if (v.probe == v.to) {  // tied
      v.second = v.below_to > k + 1 ? FromBits(v.to) : v.first;
      v.first = FromBits(v.to);
    } else {
      v.second = v.below_from > 1 ? v.first : next;
    }
  });
}

}  // namespace foreshadow::kernels::cuda
