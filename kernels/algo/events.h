// Spikes and level shifts of one series: what both twins share. The scans over samples are the
// twins' own; docs/kernels-patterns.md tells the method.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/algo/portable.h"
#include "kernels/ops.h"

namespace foreshadow::kernels {

// --- Sizes and thresholds that follow from shapes and parameters alone ---------------------------

// Levels are found in two steps, after the remedian of Rousseeuw and Bassett (1990): a block is the
// middle of kBlock samples, a level the median of kBlock blocks. Blocks take the mean of the middle
// three samples, for a median of counts jumps from one whole number to the next.
inline constexpr int kBlock = 7;
inline constexpr int kLevelSteps = kBlock * kBlock;
inline constexpr int kBlockPresentMin = 4;  // more than half, of samples and of blocks
inline constexpr int kDifferencesMin = 14;  // fewer tell nothing of how far levels part by chance
inline constexpr int kBlocksAShift = 14;    // more shifts, and most differences straddle one
inline constexpr int64_t kSamplesMin = 8;   // for spikes
inline constexpr int64_t kGapMax = 1;       // quiet steps inside a spike
inline constexpr float kDeviationOfMad = 1.4826f;  // of a normal distribution

struct EventPlan {
  int64_t steps = 0;
  int64_t blocks = 0;       // of the newest steps; 0 = no shifts are sought
  int64_t differences = 0;  // between neighbouring levels: at blocks kBlock .. blocks - kBlock
  int32_t shifts_max = 0;   // a series
  float spike_height = 0;   // in deviations: what normal noise passes with the chance chosen
  float shift_height = 0;   // likewise, of a difference between levels
  float false_alarms = 0;

  FORESHADOW_PORTABLE int64_t first_block_step() const { return steps - blocks * kBlock; }
};

EventPlan PlanEvents(const EventArgs& args);

// CHECKs what must hold of any call, before either twin starts.
void CheckEvents(const EventArgs& args);

// --- What becomes of a series --------------------------------------------------------------------

// low > high: no sample is present.
FORESHADOW_PORTABLE inline SeriesStatus StatusOfRange(float low, float high) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if (low > high) return SeriesStatus::kOk;
  if (low == -kInfinity || high == kInfinity) return SeriesStatus::kNotFinite;
  return high - low == kInfinity ? SeriesStatus::kPrecision : SeriesStatus::kOk;
}

FORESHADOW_PORTABLE inline SeriesStatus StatusOf(float low, float high, int64_t present) {
  if (present == 0) return SeriesStatus::kNoData;
  const SeriesStatus of_range = StatusOfRange(low, high);
  if (of_range != SeriesStatus::kOk) return of_range;
  if (low == high) return SeriesStatus::kConstant;
  return present < kSamplesMin ? SeriesStatus::kTooShort : SeriesStatus::kOk;
}

FORESHADOW_PORTABLE inline SeriesStatus StatusOfNoise(float median, float deviation) {
  constexpr float kUlps = 4 * std::numeric_limits<float>::epsilon();
  if (deviation == 0) return SeriesStatus::kConstant;
  return deviation > kUlps * std::abs(median) ? SeriesStatus::kOk : SeriesStatus::kPrecision;
}

// --- Medians of seven ----------------------------------------------------------------------------

// Sixteen exchanges sort seven values; 16 is the least (Knuth, volume 3, section 5.3.4).
struct Exchange {
  int low;
  int high;
};
inline constexpr std::array<Exchange, 16> kSort7 = {{{0, 6},
                                                     {2, 3},
                                                     {4, 5},
                                                     {0, 2},
                                                     {1, 4},
                                                     {3, 6},
                                                     {0, 1},
                                                     {2, 5},
                                                     {3, 4},
                                                     {1, 2},
                                                     {4, 6},
                                                     {2, 3},
                                                     {4, 5},
                                                     {1, 2},
                                                     {3, 4},
                                                     {5, 6}}};

struct Middle {
  float median;  // of the present ones; NaN when they are too few
  float mean;    // of the middle three of an odd number, two of an even one; likewise
  float spread;  // sixth less second; NaN unless all seven are there
};

template <typename At>
FORESHADOW_PORTABLE Middle MiddleOf7(At at) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  float v[kBlock];
  int present = 0;
  for (int i = 0; i < kBlock; ++i) {
    const float value = at(i);
    const bool there = value == value;
    v[i] = there ? value : kInfinity;
    present += there;
  }
  constexpr auto kExchanges = kSort7;  // a device has no variables of a namespace
  for (const auto& [a, b] : kExchanges) {
    const float low = v[a] < v[b] ? v[a] : v[b];
    v[b] = v[a] < v[b] ? v[b] : v[a];
    v[a] = low;
  }
  if (present < kBlockPresentMin) return {kNan, kNan, kNan};
  const float median = (v[(present - 1) / 2] + v[present / 2]) / 2;
  const float mean = present % 2 == 0
                         ? median
                         : (v[present / 2 - 1] + v[present / 2] + v[present / 2 + 1]) * (1 / 3.0f);
  return {median, mean, present == kBlock ? v[5] - v[1] : kNan};
}

// --- Order statistics ----------------------------------------------------------------------------

// Maps the bits of floats to integers of the same order, and back.
FORESHADOW_PORTABLE constexpr int32_t FlipFloat(int32_t bits) {
  return bits ^ ((bits >> 31) & 0x7fffffff);
}

// Where to cut a bracket low < high of `inside` samples next, in search of that which `rank` of
// them lie below: where a straight line through the counts at its ends puts it, a little to the far
// side, so that both ends close in (after Floyd and Rivest 1975). Every fourth pass halves the
// floats in between instead: 32 of those end any search.
FORESHADOW_PORTABLE inline float PivotOf(float low, float high, int32_t rank, int32_t inside,
                                         int pass) {
  if (pass % 4 == 3) {
    const int32_t from = FlipFloat(std::bit_cast<int32_t>(low));
    const int32_t to = FlipFloat(std::bit_cast<int32_t>(high));
    return std::bit_cast<float>(FlipFloat((from & to) + ((from ^ to) >> 1)));
  }
  const float of = static_cast<float>(inside);
  const float ahead = static_cast<float>(rank) + 0.5f;
  const float aside = 0.5f * std::sqrt(of);
  const float aim = of - ahead > ahead ? ahead + aside : ahead - aside;
  const float pivot = (aim > 0 ? aim / of : 0) * (high - low) + low;
  return pivot < high ? pivot : low;
}

// --- Level shifts --------------------------------------------------------------------------------

// How far neighbouring levels part by chance, as a standard deviation. The differences themselves
// tell, so that noise may be correlated; never less than white noise as wide as within blocks.
// Where most differences are zero - a staircase without noise - their mean says what is common.
FORESHADOW_PORTABLE inline float DeviationOfDifferences(float median_height, float mean_height,
                                                        float median_spread) {
  constexpr float kOfSpread = 0.2f;  // 0.31 deviations, over a mean spread of 1.51 of them
  constexpr float kDeviationOfMean = 1.2533f;  // of a normal distribution: sqrt(pi / 2)
  const float floor = kOfSpread * (median_spread > 0 ? median_spread : 0);
  const float own = kDeviationOfMad * median_height;
  const float scale = own > floor ? own : floor;
  return scale > 0 ? scale : kDeviationOfMean * mean_height;
}

struct LevelShift {
  int32_t onset;  // first step on the new level
  float before;
  float after;
  float score;
  float center;  // median of the remainder from here to the next shift
};

// Median of the samples present in [from, to), at most kLevelSteps of them; NaN without any.
template <typename At>
FORESHADOW_PORTABLE float LevelOf(int64_t from, int64_t to, At at) {
  float sorted[kLevelSteps];
  int n = 0;
  for (int64_t i = from; i < to; ++i) {
    const float value = at(i);
    if (value != value) continue;
    int place = n++;
    for (; place > 0 && sorted[place - 1] > value; --place) sorted[place] = sorted[place - 1];
    sorted[place] = value;
  }
  if (n == 0) return std::numeric_limits<float>::quiet_NaN();
  return (sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
}

// First sample of the new level: the cut in [from, to] that leaves least absolute deviation from
// the level before and the level after.
template <typename At>
FORESHADOW_PORTABLE int64_t CutBetween(int64_t from, int64_t to, float before, float after, At at) {
  double gain = 0;
  double best = 0;
  int64_t cut = from;
  bool behind = true;  // the cut waits for the first sample behind it
  for (int64_t i = from; i < to; ++i) {
    const float value = at(i);
    if (value != value) continue;
    if (behind) cut = i;
    behind = false;
    gain += std::abs(double{value} - after) - std::abs(double{value} - before);
    if (gain > best) {
      best = gain;
      behind = true;
    }
  }
  return behind ? to : cut;
}

// Fills shifts, oldest first, and returns how many. value(step) is the series, block(j) and
// difference(j) the middles and the differences of levels (after less before) at block j; NaN =
// missing. A run of differences of one sign over the limit is one shift.
template <typename Value, typename Block, typename Difference>
FORESHADOW_PORTABLE int32_t FindShifts(const EventPlan& plan, float deviation, Value value,
                                       Block block, Difference difference, LevelShift* shifts) {
  const float limit = plan.shift_height * deviation;
  const int64_t first_step = plan.first_block_step();
  const int64_t last = plan.blocks - kBlock;
  const auto over = [&](int64_t j) { return std::abs(difference(j)) > limit; };
  int32_t count = 0;
  int64_t free_from = 0;  // first step that no shift before has taken
  for (int64_t j = kBlock; j <= last && count < plan.shifts_max; ++j) {
    if (!over(j)) continue;
    const bool up = difference(j) > 0;
    int64_t end = j;
    for (int64_t k = j + 1; k <= last && k <= end + kBlock; ++k) {
      if (!over(k)) continue;
      if ((difference(k) > 0) != up) break;
      end = k;
    }
    const float before = MiddleOf7([&](int i) { return block(j - kBlock + i); }).median;
    const float after = MiddleOf7([&](int i) { return block(end + i); }).median;
    const int64_t from = first_step + (j - 1) * kBlock;
    const int64_t to = first_step + (end + 1) * kBlock;
    const int64_t onset = CutBetween(from > free_from ? from : free_from, to, before, after, value);
    if (onset >= free_from && onset > 0) {
      shifts[count++].onset = static_cast<int32_t>(onset);
      free_from = onset + kBlock;
    }
    j = end;
  }
  for (int32_t k = 0; k < count; ++k) {
    LevelShift& shift = shifts[k];
    const int64_t floor = k > 0 ? shifts[k - 1].onset : 0;
    const int64_t ceiling = k + 1 < count ? shifts[k + 1].onset : plan.steps;
    const int64_t from = shift.onset - kLevelSteps;
    const int64_t to = shift.onset + kLevelSteps;
    shift.before = LevelOf(from > floor ? from : floor, shift.onset, value);
    shift.after = LevelOf(shift.onset, to < ceiling ? to : ceiling, value);
    shift.score = std::abs(shift.after - shift.before) / deviation;
    shift.center = 0;
  }
  return count;
}

// --- Spikes --------------------------------------------------------------------------------------

// Order statistics of the heights that describe their tail: where it begins, and two of its
// quantiles.
struct TailRanks {
  int32_t base;
  int32_t half;
  int32_t three_quarters;
  int32_t count;  // of the heights in the tail
};

FORESHADOW_PORTABLE constexpr TailRanks RanksOfTail(int32_t present) {
  const auto base = static_cast<int32_t>(0.95 * present);  // a twentieth describes the tail
  const int32_t count = present - base;
  return {base, base + count / 2, base + static_cast<int32_t>(int64_t{3} * count / 4), count};
}

// The heights in the tail of one series.
struct TailSample {
  float base;            // of the ranks
  float half;            // likewise
  float three_quarters;  // likewise
  float next;            // least height over the base
  int32_t above_base;    // heights over it
  int32_t above_far;     // heights over the greater of three_quarters and next
};

// Height that counts as a spike: what noise passes with the chance chosen, by a normal distribution
// or by the tail itself, whichever is more. The excesses over the base are taken for generalised
// Pareto, as Siffer et al. (2017) do; two of their quantiles give shape and scale (Pickands 1975),
// so that a few spikes among them do not raise it. Where these quantiles tie, as counts and whole
// per cents do, an exponential tail is laid through two values that differ.
FORESHADOW_PORTABLE inline float SpikeThreshold(const EventPlan& plan, float deviation,
                                                const TailSample& tail, int32_t present) {
  // What tails are like before a look at this one: exponential, give or take; and how far the
  // estimate from one excess would be off.
  constexpr double kShapePrior = 0.15;
  constexpr double kShapeError = 1.8;
  constexpr int32_t kTailMin = 8;  // fewer describe nothing
  const double normal = double{plan.spike_height} * deviation;
  const int32_t count = RanksOfTail(present).count;
  const double half = double{tail.half} - tail.base;
  const double three_quarters = double{tail.three_quarters} - tail.base;
  const bool ties = half <= 0 || three_quarters <= half;
  const double above = ties ? tail.above_base : count;
  const double share = plan.false_alarms * static_cast<double>(present) / above;
  if (count < kTailMin || above < 1 || share >= 1) return static_cast<float>(normal);

  double height = 0;
  if (ties) {
    const double quantum = double{tail.next} - tail.base;
    const double far = tail.three_quarters > tail.next ? tail.three_quarters : tail.next;
    const double rarer = tail.above_far > 0 ? above / tail.above_far : 2 * above;
    height = quantum / 2 - (far - tail.base) / std::log(rarer) * std::log(share);
  } else {
    constexpr double kKnown = kShapePrior * kShapePrior;
    const double trust = kKnown / (kKnown + kShapeError * kShapeError / count);
    const double shape = trust * std::log2(three_quarters / half - 1);
    const bool is_exponential = std::abs(shape) < 1e-6;
    const double scale =
        is_exponential ? half / std::log(2.0) : shape * half / (std::exp2(shape) - 1);
    height =
        is_exponential ? -scale * std::log(share) : scale / shape * (std::pow(share, -shape) - 1);
  }
  return static_cast<float>(tail.base + height > normal ? tail.base + height : normal);
}

// See EventShape for the definitions.
FORESHADOW_PORTABLE constexpr EventShape ShapeOf(int64_t duration, int64_t peak_at,
                                                 double mean_height, double peak_height) {
  if (duration <= 2) return EventShape::kPulse;
  if (mean_height >= 0.8 * peak_height) return EventShape::kPlateau;
  if (3 * peak_at <= duration - 1) return EventShape::kDecay;
  if (3 * peak_at >= 2 * (duration - 1)) return EventShape::kRampUp;
  return EventShape::kHump;
}

// What the samples over the threshold do not tell of a series.
struct EventContext {
  int32_t index;
  float deviation;
  float center;  // of the remainder less the shifts' centers
  float first_center;
  const LevelShift* shifts;
  int32_t shifts_count;
  int32_t steps;
};

// Turns the steps over the threshold of one series, told in order, into its events in order of
// onset, given to `sink`.
template <typename Sink>
class EventWriter {
 public:
  FORESHADOW_PORTABLE EventWriter(const EventContext& of, Sink& sink) : of_(of), sink_(sink) {}

  // A step over the threshold; height is what the remainder has over its center.
  FORESHADOW_PORTABLE void Over(int64_t step, float height) {
    const bool goes_on = count_ > 0 && step - last_ <= kGapMax + 1 && (height > 0) == (peak_ > 0);
    if (!goes_on) {
      EndSpike();
      onset_ = step;
      peak_ = 0;
      sum_ = 0;
    }
    if (std::abs(height) > std::abs(peak_)) {
      peak_ = height;
      peak_at_ = step - onset_;
    }
    sum_ += std::abs(double{height});
    ++count_;
    last_ = step;
  }
  FORESHADOW_PORTABLE void Finish() {
    EndSpike();
    WriteShifts(of_.steps);
  }

 private:
  FORESHADOW_PORTABLE void EndSpike() {
    if (count_ == 0) return;
    if (!IsPartOfShift()) {
      WriteShifts(onset_);
      const auto duration = static_cast<int32_t>(last_ - onset_ + 1);
      const float level =
          of_.center + (next_ > 0 ? of_.shifts[next_ - 1].center : of_.first_center);
      sink_({of_.index, static_cast<int32_t>(onset_), duration, peak_,
             std::abs(peak_) / of_.deviation, level, level, EventKind::kSpike,
             ShapeOf(duration, peak_at_, sum_ / static_cast<double>(count_), std::abs(peak_))});
    }
    count_ = 0;
  }
  // The way from one level to the next is no spike: it touches the shift and is no higher.
  FORESHADOW_PORTABLE bool IsPartOfShift() const {
    for (int32_t k = 0; k < of_.shifts_count; ++k) {
      const LevelShift& shift = of_.shifts[k];
      if (onset_ <= shift.onset + kGapMax && last_ + 1 + kGapMax >= shift.onset &&
          std::abs(peak_) <= std::abs(shift.after - shift.before)) {
        return true;
      }
    }
    return false;
  }
  // Those that begin at `to` or before.
  FORESHADOW_PORTABLE void WriteShifts(int64_t to) {
    for (; next_ < of_.shifts_count && of_.shifts[next_].onset <= to; ++next_) {
      const LevelShift& shift = of_.shifts[next_];
      const int32_t end = next_ + 1 < of_.shifts_count ? of_.shifts[next_ + 1].onset : of_.steps;
      sink_({of_.index, shift.onset, end - shift.onset, shift.after - shift.before, shift.score,
             shift.before, shift.after, EventKind::kLevelShift, EventShape::kStep});
    }
  }

  EventContext of_;
  Sink& sink_;
  int32_t next_ = 0;  // shift not yet written
  int64_t onset_ = 0;
  int64_t last_ = 0;
  int64_t peak_at_ = 0;
  int64_t count_ = 0;  // steps over the threshold in the open spike; 0 = none is open
  float peak_ = 0;
  double sum_ = 0;
};

}  // namespace foreshadow::kernels
