// Rolling quantiles by ranks, one series at a time. A chunk's samples are sorted once; the window
// is then a set of ranks, kept as bits, and each level a cursor that moves by a few bits a step,
// whatever the window: O(log n) a sample for the sort, O(1) for the rest.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/algo/portable.h"
#include "kernels/check.h"
#include "kernels/ops.h"

namespace foreshadow::kernels {

// A series is answered in chunks, so that ranks are few: a chunk's samples are those of its steps
// and of the window before.
struct RollingPlan {
  int64_t window = 0;  // steps, no more than there are
  int64_t length = 0;  // samples a chunk may have: a power of two, at least 64
  int64_t steps = 0;   // steps a chunk answers
  int64_t chunks = 0;
};

inline RollingPlan PlanRolling(const RollingQuantileArgs& args) {
  constexpr int64_t kLengthMin = 1024;
  constexpr int64_t kWindows = 4;  // of a chunk: a quarter of them is sorted twice
  RollingPlan plan;
  const int64_t steps = std::max<int64_t>(args.values.steps, 1);
  plan.window = std::min<int64_t>(args.window, steps);
  const int64_t wanted = std::max(kLengthMin, kWindows * plan.window);
  plan.length = static_cast<int64_t>(
      std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(64, std::min(steps, wanted)))));
  plan.steps = plan.length >= steps ? steps : plan.length - (plan.window - 1);
  plan.chunks = (steps + plan.steps - 1) / plan.steps;
  return plan;
}

// What every backend asks of its caller.
inline void CheckRollingQuantiles(const RollingQuantileArgs& args) {
  FORESHADOW_CHECK(args.window >= 1 && args.present_min >= 1);
  FORESHADOW_CHECK(!args.levels.empty() && args.levels.size() <= kQuantilesMax);
  FORESHADOW_CHECK(std::ssize(args.status) == args.values.series);
  for (size_t k = 0; k < args.levels.size(); ++k) {
    FORESHADOW_CHECK(args.levels[k] >= 0 && args.levels[k] <= 1);
    FORESHADOW_CHECK(args.quantiles[k].steps == args.values.steps);
    FORESHADOW_CHECK(args.quantiles[k].series == args.values.series);
  }
}

// The verdict on a series whose quantiles are written: those of one with an infinity are void.
FORESHADOW_PORTABLE inline void SetRollingStatus(const RollingQuantileArgs& args, int64_t series,
                                                 bool seen, bool infinite) {
  args.status[series] = infinite ? SeriesStatus::kNotFinite
                        : seen   ? SeriesStatus::kOk
                                 : SeriesStatus::kNoData;
  if (!infinite) return;
  for (size_t k = 0; k < args.levels.size(); ++k) {
    for (int64_t step = 0; step < args.values.steps; ++step) {
      args.quantiles[k].at(step, series) = std::numeric_limits<float>::quiet_NaN();
    }
  }
}

// A float as an integer of the same order, and back. Not for NaN.
FORESHADOW_PORTABLE inline uint32_t OrderedBits(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}
FORESHADOW_PORTABLE inline float OfOrderedBits(uint32_t ordered) {
  return std::bit_cast<float>((ordered & 0x80000000u) != 0 ? ordered & 0x7fffffffu : ~ordered);
}

// Where a level lies among n sorted values: type 7 of Hyndman and Fan (1996).
struct QuantilePlace {
  int64_t low;   // index of the order statistic below
  double above;  // share of the way to the next
};
FORESHADOW_PORTABLE inline QuantilePlace PlaceOf(float level, int64_t n) {
  const double place = static_cast<double>(n - 1) * double{level};
  const auto low = static_cast<int64_t>(place);
  return {low, place - static_cast<double>(low)};
}
FORESHADOW_PORTABLE inline float Between(float low, float high, double above) {
  return static_cast<float>(double{low} + above * (double{high} - double{low}));
}

FORESHADOW_PORTABLE inline int LowestBit(uint64_t word) {
#if defined(__CUDA_ARCH__)
  return __ffsll(static_cast<long long>(word)) - 1;
#else
  return std::countr_zero(word);
#endif
}
FORESHADOW_PORTABLE inline int HighestBit(uint64_t word) {
#if defined(__CUDA_ARCH__)
  return 63 - __clzll(static_cast<long long>(word));
#else
  return 63 - std::countl_zero(word);
#endif
}

// The ranks in the window. Words of one series lie `stride` apart.
struct RankSet {
  uint64_t* words;
  int64_t stride;

  FORESHADOW_PORTABLE uint64_t& WordOf(int32_t rank) const { return words[(rank >> 6) * stride]; }
  FORESHADOW_PORTABLE void Flip(int32_t rank) const { WordOf(rank) ^= uint64_t{1} << (rank & 63); }
  // The nearest member at or above the rank; there must be one.
  FORESHADOW_PORTABLE int32_t AtOrAbove(int32_t rank) const {
    uint64_t word = WordOf(rank) & (~uint64_t{0} << (rank & 63));
    for (rank &= ~63; word == 0; word = WordOf(rank)) rank += 64;
    return rank + LowestBit(word);
  }
  // The nearest member below the rank; there must be one.
  FORESHADOW_PORTABLE int32_t Below(int32_t rank) const {
    --rank;
    uint64_t word = WordOf(rank) & (~uint64_t{0} >> (63 - (rank & 63)));
    for (rank &= ~63; word == 0; word = WordOf(rank)) rank -= 64;
    return rank + HighestBit(word);
  }
};

// A level's place in the set: `below` members are smaller than `rank`.
struct RankCursor {
  int32_t rank = 0;
  int32_t below = 0;
};

// Moves to the member that has `wanted` below it.
FORESHADOW_PORTABLE inline void MoveTo(const RankSet& set, int32_t wanted, RankCursor& cursor) {
  while (cursor.below > wanted) {
    cursor.rank = set.Below(cursor.rank);
    --cursor.below;
  }
  cursor.rank = set.AtOrAbove(cursor.rank);
  while (cursor.below < wanted) {
    cursor.rank = set.AtOrAbove(cursor.rank + 1);
    ++cursor.below;
  }
}

// Levels by value, for kernels.
struct Levels {
  float at[kQuantilesMax] = {};
  int count = 0;
};
inline Levels LevelsOf(const RollingQuantileArgs& args) {
  Levels levels;
  levels.count = static_cast<int>(args.levels.size());
  std::copy(args.levels.begin(), args.levels.end(), levels.at);
  return levels;
}

// The quantiles of one chunk of a series. rank_of(i) is the rank of the chunk's sample i, -1 =
// missing; value_of(rank) its value. The set must be empty, and is left dirty.
template <typename RankOf, typename ValueOf>
FORESHADOW_PORTABLE void RollChunk(const RollingQuantileArgs& args, const RollingPlan& plan,
                                   const Levels& levels, int64_t series, int64_t chunk,
                                   const RankSet& set, RankOf rank_of, ValueOf value_of) {
  const int64_t begin = chunk * plan.steps;
  const int64_t end =
      begin + plan.steps < args.values.steps ? begin + plan.steps : args.values.steps;
  const int64_t origin = begin - (plan.window - 1) > 0 ? begin - (plan.window - 1) : 0;
  RankCursor cursors[kQuantilesMax] = {};
  int32_t present = 0;
  const auto change = [&](int32_t rank, int32_t by) {
    if (rank < 0) return;
    set.Flip(rank);
    present += by;
    for (int k = 0; k < levels.count; ++k) cursors[k].below += rank < cursors[k].rank ? by : 0;
  };
  for (int64_t step = origin; step < end; ++step) {
    change(rank_of(step - origin), 1);
    if (step - plan.window >= origin) change(rank_of(step - plan.window - origin), -1);
    if (step < begin) continue;
    for (int k = 0; k < levels.count; ++k) {
      float& quantile = args.quantiles[k].at(step, series);
      if (present < args.present_min) {
        quantile = std::numeric_limits<float>::quiet_NaN();
        continue;
      }
      const QuantilePlace place = PlaceOf(levels.at[k], present);
      MoveTo(set, static_cast<int32_t>(place.low), cursors[k]);
      quantile = value_of(cursors[k].rank);
      if (place.above > 0) {
        quantile = Between(quantile, value_of(set.AtOrAbove(cursors[k].rank + 1)), place.above);
      }
    }
  }
}

}  // namespace foreshadow::kernels
