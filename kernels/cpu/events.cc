// Spikes and level shifts on the CPU: lanes are neighbouring series. Medians and tail quantiles are
// found by counting passes that all lanes make together; only what a few series have - shifts,
// steps over the threshold - is looked at lane by lane. See kernels/algo/events.h.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/events.cc"  // NOLINT
#include <hwy/foreach_target.h>
// After foreach_target.h.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <span>

#include "kernels/algo/events.h"
#include "kernels/algo/round_up.h"
#include "kernels/check.h"
#include "kernels/cpu/column.h"
#include "kernels/cpu/patterns.h"

#ifndef FORESHADOW_KERNELS_CPU_EVENTS_ONCE
#define FORESHADOW_KERNELS_CPU_EVENTS_ONCE

namespace foreshadow::kernels::cpu {

// A row of a group is one cache line of the batch, whatever the lanes.
inline constexpr int64_t kGroup = 16;

struct Hit {
  int32_t step;
  uint32_t lanes;  // a bit a lane
};

// Scratch of one group.
struct EventScratch {
  float* values;   // [group / lanes][steps][lanes]
  float* blocks;   // [blocks][lanes] middles of seven samples
  float* spreads;  // [blocks][lanes]
  float* levels;   // [blocks][lanes] medians of seven blocks, by the first of them
  float* differences;
  float* spare;        // [steps][lanes]
  float* column;       // [steps] samples of one segment, for its median
  LevelShift* shifts;  // [group][shifts_max]
  Hit* hits;           // [steps]
};

inline EventScratch CarveEvents(const EventPlan& plan, std::byte* memory, size_t& bytes) {
  EventScratch scratch{};
  bytes = 0;
  const auto take = [&]<typename T>(T*& part, int64_t count) {
    if (memory != nullptr) part = reinterpret_cast<T*>(memory + bytes);
    bytes += RoundUp(static_cast<size_t>(count) * sizeof(T), 64);
  };
  take(scratch.values, kGroup * plan.steps);
  for (float** part : {&scratch.blocks, &scratch.spreads, &scratch.levels, &scratch.differences}) {
    take(*part, kGroup * plan.blocks);
  }
  take(scratch.spare, kGroup * plan.steps);
  take(scratch.column, plan.steps);
  take(scratch.shifts, kGroup * plan.shifts_max);
  take(scratch.hits, plan.steps);
  return scratch;
}

// Takes the median of each stretch between shifts out of one lane; tells that of the first.
inline float TakeShiftsOut(const EventPlan& plan, float* lane_values, int64_t lanes,
                           std::span<LevelShift> shifts, float* column) {
  float first_center = 0;
  int64_t from = 0;
  for (size_t k = 0; k <= shifts.size(); ++k) {
    const int64_t to = k < shifts.size() ? shifts[k].onset : plan.steps;
    size_t present = 0;
    for (int64_t i = from; i < to; ++i) {
      const float value = lane_values[i * lanes];
      if (!std::isnan(value)) column[present++] = value;
    }
    const float center = present > 0 ? MedianOf(std::span(column, present)) : 0;
    for (int64_t i = from; i < to; ++i) lane_values[i * lanes] -= center;
    (k > 0 ? shifts[k - 1].center : first_center) = center;
    from = to;
  }
  return first_center;
}

inline void Keep(const EventArgs& args, const Event& event) {
  const auto at = static_cast<size_t>((*args.events_count)++);
  if (at < args.events.size()) args.events[at] = event;
}

}  // namespace foreshadow::kernels::cpu

#endif

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, kGroup>;
using DI = hn::RebindToSigned<D>;
using V = hn::Vec<D>;
using VI = hn::Vec<DI>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// Per lane: rows of D's lanes, one after the other; NaN = missing.
struct Rows {
  const float* data;
  int64_t count;
  bool absolute = false;  // read their absolute values

  HWY_ATTR V at(int64_t i) const {
    const D d;
    const V value = hn::Load(d, data + i * static_cast<int64_t>(hn::Lanes(d)));
    return absolute ? hn::Abs(value) : value;
  }
};

HWY_ATTR uint32_t BitsOf(hn::Mask<D> mask) {
  uint8_t bytes[8] = {};
  hn::StoreMaskBits(D(), mask, bytes);
  uint32_t bits;
  std::memcpy(&bits, bytes, sizeof(bits));
  return bits;
}

struct Extent {
  V low;   // infinity when nothing is present
  V high;  // likewise, its negative
  VI present;
};

HWY_ATTR Extent ExtentOf(Rows rows) {
  const D d;
  const DI di;
  Extent extent{hn::Set(d, kInfinity), hn::Set(d, -kInfinity), hn::Zero(di)};
  for (int64_t i = 0; i < rows.count; ++i) {
    const V x = rows.at(i);
    const auto there = hn::Eq(x, x);
    extent.low = hn::IfThenElse(there, hn::Min(extent.low, x), extent.low);
    extent.high = hn::IfThenElse(there, hn::Max(extent.high, x), extent.high);
    extent.present = hn::Sub(extent.present, hn::VecFromMask(di, hn::RebindMask(di, there)));
  }
  return extent;
}

// What one pass tells of the samples at or below a pivot, and above it.
struct Split {
  VI at_most;  // how many
  V below;     // greatest of them
  V above;     // least of the others
};

HWY_ATTR Split SplitAt(Rows rows, V pivot) {
  const D d;
  const DI di;
  Split split{hn::Zero(di), hn::Set(d, -kInfinity), hn::Set(d, kInfinity)};
  for (int64_t i = 0; i < rows.count; ++i) {
    const V x = rows.at(i);
    const auto low = hn::Le(x, pivot);
    const auto high = hn::Gt(x, pivot);
    split.at_most = hn::Sub(split.at_most, hn::VecFromMask(di, hn::RebindMask(di, low)));
    split.below = hn::IfThenElse(low, hn::Max(split.below, x), split.below);
    split.above = hn::IfThenElse(high, hn::Min(split.above, x), split.above);
  }
  return split;
}

// Maps floats to integers of the same order, and back.
HWY_ATTR VI Flip(VI bits) {
  const DI di;
  return hn::Xor(bits, hn::And(hn::ShiftRight<31>(bits), hn::Set(di, 0x7fffffff)));
}

// Between which samples a rank is known to lie, both included, and how many lie outside.
struct Bracket {
  V low;
  V high;
  VI below_low;
  VI at_most_high;
};

// Where to cut the bracket low < high next: where a straight line through the counts at its ends
// puts the rank, a little to the far side, so that both ends close in (after Floyd and Rivest
// 1975). Every fourth pass halves the floats in between instead: 32 of those end any search.
HWY_ATTR V Pivot(const Bracket& b, VI rank, int pass) {
  const D d;
  const DI di;
  if (pass % 4 == 3) {
    const VI from = Flip(hn::BitCast(di, b.low));
    const VI to = Flip(hn::BitCast(di, b.high));
    const VI middle = hn::Add(hn::And(from, to), hn::ShiftRight<1>(hn::Xor(from, to)));
    return hn::BitCast(d, Flip(middle));
  }
  const V inside = hn::ConvertTo(d, hn::Sub(b.at_most_high, b.below_low));
  const V ahead = hn::Add(hn::ConvertTo(d, hn::Sub(rank, b.below_low)), hn::Set(d, 0.5f));
  const V aside = hn::Mul(hn::Set(d, 0.5f), hn::Sqrt(inside));
  const auto far_above = hn::Gt(hn::Sub(inside, ahead), ahead);
  const V aim = hn::IfThenElse(far_above, hn::Add(ahead, aside), hn::Sub(ahead, aside));
  const V share = hn::Max(hn::Zero(d), hn::Div(aim, inside));
  const V pivot = hn::MulAdd(share, hn::Sub(b.high, b.low), b.low);
  return hn::IfThenElse(hn::Lt(pivot, b.high), pivot, b.low);
}

// Closes in on the sample of the given rank, 0 = least, until no lane has more than inside_max
// samples in its bracket, or, at 0, until each has found it. Each pass moves an end of the bracket
// to a sample.
HWY_ATTR void Shrink(Rows rows, VI rank, int64_t inside_max, Bracket& b) {
  const D d;
  const DI di;
  const VI enough = hn::Set(di, static_cast<int32_t>(inside_max));
  for (int pass = 0;; ++pass) {
    const auto many = hn::Gt(hn::Sub(b.at_most_high, b.below_low), enough);
    const auto open = hn::And(hn::Lt(b.low, b.high), hn::RebindMask(d, many));
    if (hn::AllFalse(d, open)) return;
    const V pivot = Pivot(b, rank, pass);
    const Split split = SplitAt(rows, pivot);
    const auto is_low = hn::RebindMask(d, hn::Gt(split.at_most, rank));
    const auto lower = hn::And(open, is_low);
    const auto raise = hn::AndNot(is_low, open);
    b.high = hn::IfThenElse(lower, split.below, b.high);
    b.at_most_high = hn::IfThenElse(hn::RebindMask(di, lower), split.at_most, b.at_most_high);
    b.low = hn::IfThenElse(raise, split.above, b.low);
    b.below_low = hn::IfThenElse(hn::RebindMask(di, raise), split.at_most, b.below_low);
  }
}

// Copies the samples from low to high, lane by lane without gaps; NaN ends the shorter lanes.
HWY_ATTR Rows Gather(Rows rows, V low, V high, float* to) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  int64_t counts[kGroup] = {};
  for (int64_t i = 0; i < rows.count; ++i) {
    const V x = rows.at(i);
    const auto inside = hn::And(hn::Ge(x, low), hn::Le(x, high));
    if (hn::AllFalse(d, inside)) continue;
    for (uint32_t bits = BitsOf(inside); bits != 0; bits &= bits - 1) {
      const int lane = std::countr_zero(bits);
      to[counts[lane]++ * lanes + lane] = rows.data[i * lanes + lane];
    }
  }
  const int64_t longest = *std::max_element(counts, counts + kGroup);
  for (int64_t lane = 0; lane < lanes; ++lane) {
    for (int64_t i = counts[lane]; i < longest; ++i) to[i * lanes + lane] = kNan;
  }
  return {to, longest, rows.absolute};
}

constexpr int64_t kGatherShare = 32;  // of the rows: fewer are worth a copy of their own

// Lane by lane the sample of the given rank. `spare` holds as many rows.
HWY_ATTR V Select(Rows rows, VI rank, Bracket b, float* spare) {
  const D d;
  Shrink(rows, rank, rows.count / kGatherShare, b);
  if (hn::AllFalse(d, hn::Lt(b.low, b.high))) return b.low;
  const Rows inside = Gather(rows, b.low, b.high, spare);
  const VI rank_inside = hn::Sub(rank, b.below_low);
  b.at_most_high = hn::Sub(b.at_most_high, b.below_low);
  b.below_low = hn::Zero(DI());
  Shrink(inside, rank_inside, 0, b);
  return b.low;
}

HWY_ATTR V MedianOf(Rows rows, const Extent& extent, float* spare) {
  const D d;
  const DI di;
  const VI rank = hn::Max(hn::Zero(di), hn::ShiftRight<1>(hn::Sub(extent.present, hn::Set(di, 1))));
  const V low = Select(rows, rank, {extent.low, extent.high, hn::Zero(di), extent.present}, spare);
  const Split split = SplitAt(rows, low);
  const auto has_more = hn::Gt(split.at_most, hn::Add(rank, hn::Set(di, 1)));
  const auto odd = hn::Eq(hn::And(extent.present, hn::Set(di, 1)), hn::Set(di, 1));
  const auto same = hn::RebindMask(d, hn::Or(odd, has_more));
  const V next = hn::IfThenElse(same, low, split.above);
  return hn::Mul(hn::Set(d, 0.5f), hn::Add(low, next));
}

struct LaneMiddle {
  V median;
  V mean;
  V spread;
};

HWY_ATTR LaneMiddle LaneMiddleOf7(const float* rows) {
  const D d;
  const auto lanes = hn::Lanes(d);
  V v[kBlock];
  V present = hn::Zero(d);
  for (int i = 0; i < kBlock; ++i) {
    const V x = hn::Load(d, rows + static_cast<size_t>(i) * lanes);
    const auto there = hn::Eq(x, x);
    v[i] = hn::IfThenElse(there, x, hn::Set(d, kInfinity));
    present = hn::Add(present, hn::IfThenElseZero(there, hn::Set(d, 1.0f)));
  }
  for (const auto& [a, b] : kSort7) {
    const V low = hn::Min(v[a], v[b]);
    v[b] = hn::Max(v[a], v[b]);
    v[a] = low;
  }
  const auto has = [&](float count) HWY_ATTR { return hn::Ge(present, hn::Set(d, count)); };
  const auto mean2 = [&](V a, V b) HWY_ATTR { return hn::Mul(hn::Add(a, b), hn::Set(d, 0.5f)); };
  const auto mean3 = [&](V a, V b, V c) HWY_ATTR {
    return hn::Mul(hn::Add(hn::Add(a, b), c), hn::Set(d, 1 / 3.0f));
  };
  const V missing = hn::Set(d, kNan);
  if (hn::AllTrue(d, has(7))) return {v[3], mean3(v[2], v[3], v[4]), hn::Sub(v[5], v[1])};
  const V of_four = hn::IfThenElse(has(4), mean2(v[1], v[2]), missing);
  const V of_six = mean2(v[2], v[3]);
  const auto choose = [&](V of_five, V of_seven) HWY_ATTR {
    const V few = hn::IfThenElse(has(5), of_five, of_four);
    return hn::IfThenElse(has(7), of_seven, hn::IfThenElse(has(6), of_six, few));
  };
  return {choose(v[2], v[3]), choose(mean3(v[1], v[2], v[3]), mean3(v[2], v[3], v[4])),
          hn::IfThenElse(has(7), hn::Sub(v[5], v[1]), missing)};
}

// What a float of each lane is worth outside of vectors.
struct Floats {
  alignas(64) float of[kGroup];
  HWY_ATTR explicit Floats(V v) { hn::Store(v, D(), of); }
  float operator[](int64_t lane) const { return of[lane]; }
};

struct Counts {
  alignas(64) int32_t of[kGroup];
  HWY_ATTR explicit Counts(VI v) { hn::Store(v, DI(), of); }
  int32_t operator[](int64_t lane) const { return of[lane]; }
};

// The tail of each lane. It is looked for among the greatest heights alone; `spare` holds as many
// rows.
HWY_ATTR void TailsOf(Rows heights, const Extent& extent, float* spare, TailSample* tails) {
  const D d;
  const DI di;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const Counts present(extent.present);
  alignas(64) int32_t ranks[3][kGroup] = {};
  for (int64_t lane = 0; lane < lanes; ++lane) {
    const TailRanks of_lane = RanksOfTail(present[lane]);
    ranks[0][lane] = of_lane.base;
    ranks[1][lane] = of_lane.half;
    ranks[2][lane] = of_lane.three_quarters;
  }
  Bracket b{extent.low, extent.high, hn::Zero(di), extent.present};
  Shrink(heights, hn::Load(di, ranks[0]), heights.count / kGatherShare, b);
  const Rows greatest = Gather(heights, b.low, extent.high, spare);
  const VI kept = hn::Sub(extent.present, b.below_low);
  Bracket search{b.low, extent.high, hn::Zero(di), kept};
  V found[3];
  for (int k = 0; k < 3; ++k) {
    search.high = extent.high;
    search.at_most_high = kept;
    Shrink(greatest, hn::Sub(hn::Load(di, ranks[k]), b.below_low), 0, search);
    found[k] = search.low;
  }
  const Split at_base = SplitAt(greatest, found[0]);
  const Split at_far = SplitAt(greatest, hn::Max(found[2], at_base.above));
  const Floats base(found[0]);
  const Floats half(found[1]);
  const Floats three_quarters(found[2]);
  const Floats next(at_base.above);
  const Counts above_base(hn::Sub(kept, at_base.at_most));
  const Counts above_far(hn::Sub(kept, at_far.at_most));
  for (int64_t lane = 0; lane < lanes; ++lane) {
    tails[lane] = {base[lane], half[lane],       three_quarters[lane],
                   next[lane], above_base[lane], above_far[lane]};
  }
}

HWY_ATTR V MeanOf(Rows rows, VI present) {
  const D d;
  V sum = hn::Zero(d);
  for (int64_t i = 0; i < rows.count; ++i) {
    const V x = rows.at(i);
    sum = hn::Add(sum, hn::IfThenElseZero(hn::Eq(x, x), x));
  }
  return hn::Div(sum, hn::ConvertTo(d, present));
}

// Shifts of the lanes' series; counts is [lanes], shifts [lanes][shifts_max].
HWY_ATTR void FindLaneShifts(const EventPlan& plan, const float* values, const EventScratch& s,
                             LevelShift* shifts, int32_t* counts) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const float* first = values + plan.first_block_step() * lanes;
  for (int64_t j = 0; j < plan.blocks; ++j) {
    const LaneMiddle middle = LaneMiddleOf7(first + j * kBlock * lanes);
    hn::Store(middle.mean, d, s.blocks + j * lanes);
    hn::Store(middle.spread, d, s.spreads + j * lanes);
  }
  for (int64_t j = 0; j <= plan.blocks - kBlock; ++j) {
    hn::Store(LaneMiddleOf7(s.blocks + j * lanes).median, d, s.levels + j * lanes);
  }
  for (int64_t j = 0; j < plan.differences; ++j) {
    const V before = hn::Load(d, s.levels + j * lanes);
    const V after = hn::Load(d, s.levels + (j + kBlock) * lanes);
    hn::Store(hn::Sub(after, before), d, s.differences + j * lanes);
  }
  const Rows heights{s.differences, plan.differences, true};
  const Rows spreads{s.spreads, plan.blocks};
  const Extent of_heights = ExtentOf(heights);
  const Floats median_height(MedianOf(heights, of_heights, s.spare));
  const Floats mean_height(MeanOf(heights, of_heights.present));
  const Floats median_spread(MedianOf(spreads, ExtentOf(spreads), s.spare));
  const Floats highest(of_heights.high);
  const Counts present(of_heights.present);
  for (int64_t lane = 0; lane < lanes; ++lane) {
    counts[lane] = 0;
    if (present[lane] < kDifferencesMin) continue;
    const float deviation =
        DeviationOfDifferences(median_height[lane], mean_height[lane], median_spread[lane]);
    if (!(highest[lane] > plan.shift_height * deviation)) continue;
    counts[lane] = FindShifts(
        plan, deviation, [&](int64_t i) { return values[i * lanes + lane]; },
        [&](int64_t j) { return s.blocks[j * lanes + lane]; },
        [&](int64_t j) { return s.differences[(j - kBlock) * lanes + lane]; },
        shifts + lane * plan.shifts_max);
  }
}

// Copies series first.. into values; what a partial group lacks is missing.
HWY_ATTR void LoadGroup(StepMajor<const float> from, int64_t first, float* values) {
  constexpr int64_t kRowsAhead = 12;  // rows lie pages apart, where no prefetcher looks
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  const int64_t width = std::min(kGroup, from.series - first);
  float row[kGroup];
  std::fill_n(row, kGroup, kNan);
  for (int64_t i = 0; i < from.steps; ++i) {
    const float* source = &from.at(i, first);
    hwy::Prefetch(source + (i + kRowsAhead < from.steps ? kRowsAhead * from.stride : 0));
    if (width < kGroup) {
      std::memcpy(row, source, static_cast<size_t>(width) * sizeof(float));
      source = row;
    }
    for (int64_t v = 0; v < kGroup; v += lanes) {
      std::memcpy(values + v * from.steps + i * lanes, source + v,
                  static_cast<size_t>(lanes) * sizeof(float));
    }
  }
}

// The lanes from `first`, at most as many as there are series.
HWY_ATTR void FindLaneEvents(const EventArgs& args, const EventPlan& plan, int64_t first,
                             float* values, const EventScratch& s, LevelShift* shifts,
                             int32_t* shift_counts) {
  const D d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  const int64_t used = std::min(lanes, args.remainder.series - first);
  const Rows rows{values, plan.steps};
  const Extent whole = ExtentOf(rows);
  const Floats low(whole.low);
  const Floats high(whole.high);
  const Counts present(whole.present);
  float first_center[kGroup] = {};
  bool has_shifts = false;
  for (int64_t lane = 0; lane < used; ++lane) {
    SeriesStatus& status = args.status[first + lane];
    if (status == SeriesStatus::kOk) status = StatusOf(low[lane], high[lane], present[lane]);
    if (status != SeriesStatus::kOk) shift_counts[lane] = 0;
    if (shift_counts[lane] == 0) continue;
    first_center[lane] = TakeShiftsOut(
        plan, values + lane, lanes,
        std::span(shifts + lane * plan.shifts_max, static_cast<size_t>(shift_counts[lane])),
        s.column);
    has_shifts = true;
  }
  const Extent extent = has_shifts ? ExtentOf(rows) : whole;
  const V median = MedianOf(rows, extent, s.spare);
  for (int64_t i = 0; i < plan.steps; ++i) {
    hn::Store(hn::Sub(rows.at(i), median), d, values + i * lanes);
  }

  const Rows heights{values, plan.steps, true};
  const Extent of_heights{hn::Zero(d),
                          hn::Max(hn::Sub(extent.high, median), hn::Sub(median, extent.low)),
                          extent.present};
  const Floats mad(MedianOf(heights, of_heights, s.spare));
  TailSample tails[kGroup];
  TailsOf(heights, of_heights, s.spare, tails);
  const Floats center(median);

  alignas(64) float thresholds[kGroup];
  for (int64_t lane = 0; lane < lanes; ++lane) {
    thresholds[lane] = kInfinity;
    if (lane >= used || args.status[first + lane] != SeriesStatus::kOk) continue;
    const float deviation = kDeviationOfMad * mad[lane];
    SeriesStatus& status = args.status[first + lane];
    status = StatusOfNoise(center[lane] + first_center[lane], deviation);
    if (status == SeriesStatus::kPrecision) shift_counts[lane] = 0;
    args.scale[first + lane] = deviation;
    if (status != SeriesStatus::kOk) continue;
    thresholds[lane] = SpikeThreshold(plan, deviation, tails[lane], present[lane]);
    args.threshold[first + lane] = thresholds[lane];
  }
  const V threshold = hn::Load(d, thresholds);
  int64_t hits = 0;
  for (int64_t i = 0; i < plan.steps; ++i) {
    const auto over = hn::Gt(heights.at(i), threshold);
    if (hn::AllFalse(d, over)) continue;
    s.hits[hits++] = {static_cast<int32_t>(i), BitsOf(over)};
  }
  auto keep = [&](const Event& event) { Keep(args, event); };
  for (int64_t lane = 0; lane < used; ++lane) {
    EventWriter writer(
        EventContext{static_cast<int32_t>(first + lane), args.scale[first + lane], center[lane],
                     first_center[lane], shifts + lane * plan.shifts_max, shift_counts[lane],
                     static_cast<int32_t>(plan.steps)},
        keep);
    for (int64_t h = 0; h < hits; ++h) {
      if ((s.hits[h].lanes >> lane & 1) == 0) continue;
      writer.Over(s.hits[h].step, values[s.hits[h].step * lanes + lane]);
    }
    writer.Finish();
  }
}

HWY_ATTR void FindEvents(const EventArgs& args, const EventPlan& plan) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  size_t bytes = 0;
  const EventScratch s = CarveEvents(plan, args.workspace.data(), bytes);
  const bool is_own_level = args.level.data == nullptr;
  for (int64_t first = 0; first < args.remainder.series; first += kGroup) {
    const int64_t end = std::min(first + kGroup, args.remainder.series);
    int32_t shift_counts[kGroup] = {};
    LoadGroup(is_own_level ? args.remainder : args.level, first, s.values);
    for (int64_t v = 0; first + v < end; v += lanes) {
      float* values = s.values + v * plan.steps;
      const Extent extent = ExtentOf({values, plan.steps});
      const Floats low(extent.low);
      const Floats high(extent.high);
      if (plan.blocks > 0) {
        FindLaneShifts(plan, values, s, s.shifts + v * plan.shifts_max, shift_counts + v);
      }
      for (int64_t lane = 0; lane < std::min(lanes, end - first - v); ++lane) {
        const int64_t i = first + v + lane;
        args.scale[i] = args.threshold[i] = kNan;
        args.status[i] = StatusOfRange(low[lane], high[lane]);
        if (args.status[i] != SeriesStatus::kOk) shift_counts[v + lane] = 0;
      }
    }
    if (!is_own_level) LoadGroup(args.remainder, first, s.values);
    for (int64_t v = 0; first + v < end; v += lanes) {
      FindLaneEvents(args, plan, first + v, s.values + v * plan.steps, s,
                     s.shifts + v * plan.shifts_max, shift_counts + v);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace foreshadow::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foreshadow::kernels::cpu {

HWY_EXPORT(FindEvents);

size_t EventsWorkspaceBytes(const EventArgs& args) {
  size_t bytes = 0;
  CarveEvents(PlanEvents(args), nullptr, bytes);
  return bytes;
}

void Events(const EventArgs& args) {
  CheckEvents(args);
  FORESHADOW_CHECK(args.workspace.size() >= EventsWorkspaceBytes(args));
  *args.events_count = 0;
  HWY_DYNAMIC_DISPATCH(FindEvents)(args, PlanEvents(args));
}

}  // namespace foreshadow::kernels::cpu
#endif
