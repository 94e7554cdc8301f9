// Rolling quantiles two ways. A window of moderate size is kept sorted, a lane a series: each step
// sweeps over it once, taking out the oldest sample and putting in the newest on the way, and all
// levels are looked up. A larger window is a set of ranks (kernels/algo/rolling.h), a series at a
// time, at a cost that the window does not change.
#include "kernels/algo/rolling.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "kernels/cpu/numbers.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rolling.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/wide-inl.h"

#ifndef FORESHADOW_KERNELS_CPU_ROLLING_ONCE
#define FORESHADOW_KERNELS_CPU_ROLLING_ONCE
namespace foreshadow::kernels::cpu {

constexpr int64_t kFloatLanesMax = 16;
// A sweep costs in proportion to the window, for all lanes together; a window of more steps than
// this for each lane is faster by ranks.
constexpr int64_t kSortedStepsALane = 64;

// Series whose columns are taken out of the rows together: a cache line.
constexpr int64_t kRankSeries = 16;

// Scratch of the ranks of a chunk.
struct RankScratch {
  float* columns;   // [kRankSeries][length]
  uint64_t* keys;   // [length] ordered bits of a sample, and its step
  uint64_t* spare;  // [length]
  int32_t* ranks;   // [length] of a step's sample, -1 = missing
  float* sorted;    // [length]
  uint64_t* words;  // [length / 64]
};

inline size_t RankScratchBytes(int64_t length) {
  constexpr size_t kBytes =
      kRankSeries * sizeof(float) + 2 * sizeof(uint64_t) + sizeof(int32_t) + sizeof(float);
  return static_cast<size_t>(length) * kBytes + static_cast<size_t>(length / 8);
}

// Sorts keys by their upper halves, least significant digits first.
inline void SortKeys(uint64_t*& keys, uint64_t*& spare, int64_t count) {
  constexpr int kDigits = 3;
  constexpr int kBits = 11;
  constexpr uint32_t kBuckets = 1u << kBits;
  const auto digit = [](uint64_t key, int d) { return (key >> (32 + d * kBits)) & (kBuckets - 1); };
  uint32_t begins[kDigits][kBuckets] = {};
  for (int64_t i = 0; i < count; ++i) {
    for (int d = 0; d < kDigits; ++d) ++begins[d][digit(keys[i], d)];
  }
  for (int d = 0; d < kDigits; ++d) {
    uint32_t begin = 0;
    for (uint32_t& bucket : begins[d]) begin += std::exchange(bucket, begin);
    for (int64_t i = 0; i < count; ++i) spare[begins[d][digit(keys[i], d)]++] = keys[i];
    std::swap(keys, spare);
  }
}

// The quantiles of one chunk of a series, given the chunk's samples.
inline void RollChunkOf(const RollingQuantileArgs& args, const RollingPlan& plan,
                        const Levels& levels, int64_t series, int64_t chunk, const float* samples,
                        int64_t count, const RankScratch& scratch) {
  int64_t present = 0;
  uint64_t* keys = scratch.keys;
  uint64_t* spare = scratch.spare;
  for (int64_t i = 0; i < count; ++i) {
    scratch.ranks[i] = -1;
    if (std::isnan(samples[i])) continue;
    keys[present++] = uint64_t{OrderedBits(samples[i])} << 32 | static_cast<uint64_t>(i);
  }
  SortKeys(keys, spare, present);
  for (int64_t rank = 0; rank < present; ++rank) {
    scratch.sorted[rank] = OfOrderedBits(static_cast<uint32_t>(keys[rank] >> 32));
    scratch.ranks[static_cast<uint32_t>(keys[rank])] = static_cast<int32_t>(rank);
  }
  std::fill_n(scratch.words, plan.length / 64, 0);
  RollChunk(
      args, plan, levels, series, chunk, RankSet{scratch.words, 1},
      [&](int64_t i) { return scratch.ranks[i]; },
      [&](int32_t rank) { return scratch.sorted[rank]; });
}

inline void RollRanks(const RollingQuantileArgs& args, const RollingPlan& plan,
                      const RankScratch& scratch) {
  const Levels levels = LevelsOf(args);
  for (int64_t first = 0; first < args.values.series; first += kRankSeries) {
    const int64_t width = std::min(kRankSeries, args.values.series - first);
    bool seen[kRankSeries] = {};
    bool infinite[kRankSeries] = {};
    for (int64_t chunk = 0; chunk < plan.chunks; ++chunk) {
      const int64_t begin = chunk * plan.steps;
      const int64_t origin = std::max<int64_t>(0, begin - (plan.window - 1));
      const int64_t count = std::min(begin + plan.steps, args.values.steps) - origin;
      for (int64_t i = 0; i < count; ++i) {
        const float* row = &args.values.at(origin + i, first);
        for (int64_t s = 0; s < width; ++s) {
          scratch.columns[s * plan.length + i] = row[s];
          seen[s] |= !std::isnan(row[s]);
          infinite[s] |= std::isinf(row[s]);
        }
      }
      for (int64_t s = 0; s < width; ++s) {
        RollChunkOf(args, plan, levels, first + s, chunk, scratch.columns + s * plan.length, count,
                    scratch);
      }
    }
    for (int64_t s = 0; s < width; ++s) SetRollingStatus(args, first + s, seen[s], infinite[s]);
  }
}

}  // namespace foreshadow::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu::HWY_NAMESPACE {
namespace {

using Lanes = hn::ScalableTag<float>;
using Lane = hn::Vec<Lanes>;

// A step of `count` series; lanes beyond them repeat the first.
HWY_INLINE Lane LoadStep(StepMajor<const float> values, int64_t step, int64_t first,
                         int64_t count) {
  const Lanes d;
  const float* from = &values.at(step, first);
  if (HWY_LIKELY(count >= static_cast<int64_t>(hn::Lanes(d)))) return hn::LoadU(d, from);
  HWY_ALIGN float lanes[kFloatLanesMax];
  hn::Store(hn::Set(d, from[0]), d, lanes);
  std::copy_n(from, count, lanes);
  return hn::Load(d, lanes);
}

// Takes `old` out of the sorted window and puts `fresh` in. One more +inf lies behind the window.
HWY_INLINE void Replace(Lane old, Lane fresh, int64_t window, float* sorted) {
  const Lanes d;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(d));
  Lane before = hn::Set(d, -std::numeric_limits<float>::infinity());
  Lane here = hn::Load(d, sorted);
  for (int64_t k = 0; k < window; ++k) {
    const Lane next = hn::Load(d, sorted + (k + 1) * lanes);
    const Lane kept = hn::IfThenElse(hn::Lt(here, old), here, next);
    // Between its neighbours of the window without `old`.
    hn::Store(hn::Min(kept, hn::Max(before, fresh)), d, sorted + k * lanes);
    before = kept;
    here = next;
  }
}

// A quantile of sorted windows that have as many samples each. Half of the lanes: as many doubles.
HWY_INLINE Wide QuantileOfSame(const float* sorted, float present, float level) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Lanes()));
  const QuantilePlace place = PlaceOf(level, static_cast<int64_t>(present));
  const Wide low = LoadWide(sorted + place.low * lanes, WideLanes());
  if (place.above == 0) return low;  // there may be none to the right
  const Wide high = LoadWide(sorted + (place.low + 1) * lanes, WideLanes());
  return hn::Add(low, hn::Mul(hn::Set(Doubles(), place.above), hn::Sub(high, low)));
}

HWY_INLINE Wide QuantileOfEach(const float* sorted, const float* present, float level,
                               int present_min) {
  const Doubles d;
  const Floats f;
  const hn::RebindToSigned<Floats> indices;
  const auto lanes = static_cast<int32_t>(hn::Lanes(Lanes()));
  const Wide count = LoadWide(present, WideLanes());
  const auto enough = hn::Ge(count, hn::Set(d, static_cast<double>(present_min)));
  const Wide place = hn::IfThenElseZero(
      enough, hn::Mul(hn::Sub(count, hn::Set(d, 1.0)), hn::Set(d, double{level})));
  const Wide below = hn::Floor(place);
  const Wide above = hn::Sub(place, below);
  const auto at =
      hn::Add(hn::Mul(hn::DemoteTo(indices, below), hn::Set(indices, lanes)), hn::Iota(indices, 0));
  const Wide low = hn::PromoteTo(d, hn::GatherIndex(f, sorted, at));
  const Wide high = hn::PromoteTo(d, hn::GatherIndex(f, sorted + lanes, at));
  const Wide between = hn::Add(low, hn::Mul(above, hn::Sub(high, low)));
  const Wide value = hn::IfThenElse(hn::Gt(above, hn::Zero(d)), between, low);
  return hn::IfThenElse(enough, value, hn::Set(d, std::numeric_limits<double>::quiet_NaN()));
}

// The quantiles of a vector of series. Missing samples are +inf, which sorts last. Scratch:
// [window + 1][lanes].
void RollSorted(const RollingQuantileArgs& args, int64_t window, int64_t first, int64_t count,
                float* sorted) {
  const Lanes d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Lane infinity = hn::Set(d, std::numeric_limits<float>::infinity());
  const Lane one = hn::Set(d, 1.0f);
  for (int64_t k = 0; k <= window; ++k) hn::Store(infinity, d, sorted + k * lanes);
  HWY_ALIGN float present[kFloatLanesMax] = {};
  Lane present_count = hn::Zero(d);
  Lane seen = hn::Zero(d);
  Lane infinite = hn::Zero(d);
  for (int64_t step = 0; step < args.values.steps; ++step) {
    const Lane fresh = LoadStep(args.values, step, first, count);
    const auto fresh_there = hn::Eq(fresh, fresh);
    Lane old = infinity;
    if (step >= window) {
      old = LoadStep(args.values, step - window, first, count);
      const auto old_there = hn::Eq(old, old);
      present_count = hn::Sub(present_count, hn::IfThenElseZero(old_there, one));
      old = hn::IfThenElse(old_there, old, infinity);
    }
    present_count = hn::Add(present_count, hn::IfThenElseZero(fresh_there, one));
    seen = hn::Max(seen, present_count);
    infinite = hn::Or(infinite, hn::IfThenElseZero(hn::Eq(hn::Abs(fresh), infinity), one));
    Replace(old, hn::IfThenElse(fresh_there, fresh, infinity), window, sorted);

    hn::Store(present_count, d, present);
    const bool same = hn::AllTrue(d, hn::Eq(present_count, hn::Set(d, present[0])));
    const bool enough = present[0] >= static_cast<float>(args.present_min);
    for (size_t k = 0; k < args.levels.size(); ++k) {
      float* quantile = &args.quantiles[k].at(step, first);
      for (int64_t i = 0; i < count; i += WideLanes()) {
        const Wide value = same && enough ? QuantileOfSame(sorted + i, present[0], args.levels[k])
                                          : QuantileOfEach(sorted + i, present + i, args.levels[k],
                                                           args.present_min);
        StoreWide(value, count - i, quantile + i);
      }
    }
  }
  HWY_ALIGN float seen_of[kFloatLanesMax], infinite_of[kFloatLanesMax];
  hn::Store(seen, d, seen_of);
  hn::Store(infinite, d, infinite_of);
  for (int64_t i = 0; i < count; ++i) {
    SetRollingStatus(args, first + i, seen_of[i] > 0, infinite_of[i] > 0);
  }
}

// False: the window is too large for the lanes.
bool RollAllSorted(const RollingQuantileArgs& args, int64_t window) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(Lanes()));
  if (window > kSortedStepsALane * lanes) return false;
  for (int64_t first = 0; first < args.values.series; first += lanes) {
    RollSorted(args, window, first, std::min(lanes, args.values.series - first),
               reinterpret_cast<float*>(args.workspace.data()));
  }
  return true;
}

}  // namespace
}  // namespace foreshadow::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foreshadow::kernels::cpu {

HWY_EXPORT(RollAllSorted);

size_t RollingQuantilesWorkspaceBytes(const RollingQuantileArgs& args) {
  const RollingPlan plan = PlanRolling(args);
  constexpr int64_t kSortedMax = kSortedStepsALane * kFloatLanesMax;
  const auto window = static_cast<size_t>(std::min(plan.window, kSortedMax) + 1);
  return std::max(window * kFloatLanesMax * sizeof(float), RankScratchBytes(plan.length));
}

void RollingQuantiles(const RollingQuantileArgs& args) {
  CheckRollingQuantiles(args);
  FORESHADOW_CHECK(args.workspace.size() >= RollingQuantilesWorkspaceBytes(args));
  const RollingPlan plan = PlanRolling(args);
  if (HWY_DYNAMIC_DISPATCH(RollAllSorted)(args, plan.window)) return;
  RankScratch scratch;
  scratch.keys = reinterpret_cast<uint64_t*>(args.workspace.data());
  scratch.spare = scratch.keys + plan.length;
  scratch.words = scratch.spare + plan.length;
  scratch.columns = reinterpret_cast<float*>(scratch.words + plan.length / 64);
  scratch.sorted = scratch.columns + kRankSeries * plan.length;
  scratch.ranks = reinterpret_cast<int32_t*>(scratch.sorted + plan.length);
  RollRanks(args, plan, scratch);
}

}  // namespace foreshadow::kernels::cpu
#endif
