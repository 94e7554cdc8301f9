#include "models/sliding.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "models/sliding.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>

#include "kernels/algo/round_up.h"
#include "kernels/check.h"

#ifndef FORESHADOW_MODELS_SLIDING_SHARED  // by the texts of all instruction sets
#define FORESHADOW_MODELS_SLIDING_SHARED
namespace foreshadow::models {

inline constexpr float kLargestFloat = std::numeric_limits<float>::max();
inline constexpr float kInfiniteFloat = std::numeric_limits<float>::infinity();

// The order statistics that the (n + 1) p rule takes from n errors, and the share of the upper one.
struct WantedRanks {
  alignas(32) std::array<int32_t, kTails> low;
  alignas(32) std::array<int32_t, kTails> high;  // low + 1, but for the last of all
  alignas(32) std::array<float, kTails> share;
};

// Order statistics that follow each other, on their way up or, negated, down.
struct Run {
  std::array<float, 3 * kRankRows> value;  // ascending
  int first;                               // rank of the first one
  int held;
};

}  // namespace foreshadow::models
#endif

HWY_BEFORE_NAMESPACE();
namespace foreshadow::models::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using F = hn::CappedTag<float, kErrorLanes>;
using T = hn::CappedTag<float, kTails>;
using I = hn::RebindToSigned<T>;
using H = hn::Rebind<int16_t, T>;

HWY_INLINE hn::Vec<I> AsOnes(hn::Mask<T> mask) {  // 1 where it holds
  return hn::Neg(hn::BitCast(I(), hn::VecFromMask(T(), mask)));
}

// Takes one that is among the rows of `in` out of them.
HWY_INLINE void TakeOut(float leaves, hn::Mask<T> in, hn::Vec<T>* rows) {
  const auto gone = hn::Set(T(), leaves);
  for (int j = 0; j < kRankRows; ++j) {
    const auto next = j + 1 < kRankRows ? rows[j + 1] : hn::Inf(T());
    rows[j] = hn::IfThenElse(hn::And(in, hn::Ge(rows[j], gone)), next, rows[j]);
  }
}

// Puts one that lies between the rows of `in` in its place; of `drop` the lowest one falls out for
// it, else the highest.
HWY_INLINE void PutIn(float comes, hn::Mask<T> in, hn::Mask<T> drop, hn::Vec<T>* rows) {
  const auto come = hn::Set(T(), comes);
  auto before = rows[0];
  for (int j = 1; j < kRankRows; ++j) {
    const auto here = rows[j];
    rows[j - 1] = hn::IfThenElse(drop, hn::Min(here, hn::Max(before, come)), rows[j - 1]);
    rows[j] = hn::IfThenElse(hn::AndNot(drop, in), hn::Min(here, hn::Max(before, come)), here);
    before = here;
  }
}

// What is known of all tails in rows of the same place, so that the tails are a vector.
bool SlideRows(float leaves, float comes, const WantedRanks& wanted, Ranks& ranks) {
  const T t;
  const I n;
  const auto gone = hn::Set(t, leaves);  // NaN is neither below nor above anything
  const auto come = hn::Set(t, comes);
  bool settled = true;
  for (size_t i = 0; i < kTails; i += hn::Lanes(t)) {
    float* const values = &ranks.value[i];
    auto first = hn::PromoteTo(n, hn::LoadU(H(), &ranks.first[i]));
    auto held = hn::PromoteTo(n, hn::LoadU(H(), &ranks.held[i]));
    auto lowest = hn::LoadU(t, values);
    const auto highest = hn::LoadU(t, values + (kRankRows - 1) * kTails);  // inf where not full
    first = hn::Sub(first, AsOnes(hn::Lt(gone, lowest)));
    const auto leaves_rows = hn::And(hn::Ge(gone, lowest), hn::Le(gone, highest));
    const auto enters_rows = hn::And(hn::Ge(come, lowest), hn::Lt(come, highest));
    const auto low = hn::Load(n, &wanted.low[i]);
    const auto high = hn::Load(n, &wanted.high[i]);
    if (!hn::AllFalse(t, hn::Or(leaves_rows, enters_rows))) {
      hn::Vec<T> rows[kRankRows];
      for (int j = 0; j < kRankRows; ++j) rows[j] = hn::LoadU(t, values + j * kTails);
      auto is_one = hn::Eq(rows[0], gone);
      for (int j = 1; j < kRankRows; ++j) is_one = hn::Or(is_one, hn::Eq(rows[j], gone));
      TakeOut(leaves, is_one, rows);
      lowest = rows[0];
      held = hn::Sub(held, AsOnes(is_one));
      auto in = hn::Lt(rows[0], rows[0]);  // none
      for (int j = 1; j < kRankRows; ++j) {
        in = hn::Or(in, hn::And(hn::Gt(rows[j], come), hn::Lt(rows[j], hn::Inf(t))));
      }
      in = hn::And(in, hn::Ge(come, lowest));
      // Where there is no room, what is farther from the wanted ones falls out.
      const auto full = hn::RebindMask(t, hn::Gt(held, hn::Set(n, kRankRows - 1)));
      const auto to_spare_below = hn::Sub(low, first);
      const auto to_spare_above = hn::Sub(hn::Add(first, hn::Sub(held, hn::Set(n, 1))), high);
      const auto drop =
          hn::And(hn::And(in, full), hn::RebindMask(t, hn::Gt(to_spare_below, to_spare_above)));
      PutIn(comes, in, drop, rows);
      first = hn::Add(first, AsOnes(drop));
      held = hn::Add(held, AsOnes(hn::AndNot(full, in)));
      for (int j = 0; j < kRankRows; ++j) hn::StoreU(rows[j], t, values + j * kTails);
      hn::StoreU(hn::DemoteTo(H(), held), H(), &ranks.held[i]);
    }
    first = hn::Add(first, AsOnes(hn::Lt(come, lowest)));
    hn::StoreU(hn::DemoteTo(H(), first), H(), &ranks.first[i]);
    const auto known = hn::AndNot(hn::Lt(low, first), hn::Lt(high, hn::Add(first, held)));
    settled = settled && hn::AllTrue(n, known);
  }
  return settled;
}

// What lies beyond a value on one side.
template <int kNearest>
struct Beyond {
  int count = 0;
  std::array<float, kNearest> nearest{};  // from there on; inf where there are no more
};

// The nearest so far in each lane, ascending, with one more.
template <int kNearest>
HWY_INLINE void TakeNearest(hn::Vec<F> value, hn::Vec<F> (&nearest)[kNearest]) {
  for (auto& so_far : nearest) {
    const auto nearer = hn::Min(so_far, value);
    value = hn::Max(so_far, value);
    so_far = nearer;
  }
}

// kAbove: of the errors above the value. Else of the negated ones, of which those above it are
// those below its negative. Two chains, as each step of one waits for the step before it.
template <bool kAbove, int kNearest>
Beyond<kNearest> FindBeyond(const float* errors, size_t count, float value) {
  constexpr size_t kChains = 2;
  const F f;
  const hn::RebindToSigned<F> i;
  const size_t lanes = hn::Lanes(f);
  const auto v = hn::Set(f, value);
  hn::Vec<F> nearest[kChains][kNearest];
  for (auto& chain : nearest) std::ranges::fill(chain, hn::Inf(f));
  hn::Vec<hn::RebindToSigned<F>> many[kChains] = {hn::Zero(i), hn::Zero(i)};
  const auto take = [&](size_t chain, size_t at) {
    auto e = hn::LoadU(f, errors + at);
    if constexpr (!kAbove) e = hn::Neg(e);
    const auto is_beyond = hn::Gt(e, v);
    many[chain] = hn::Sub(many[chain], hn::BitCast(i, hn::VecFromMask(f, is_beyond)));
    TakeNearest(hn::IfThenElse(is_beyond, e, hn::Inf(f)), nearest[chain]);
  };
  size_t at = 0;
  for (; at + 2 * lanes <= count; at += 2 * lanes) {
    take(0, at);
    take(1, at + lanes);
  }
  for (; at < count; at += lanes) take(0, at);
  auto& all = nearest[0];
  for (const auto& one : nearest[1]) TakeNearest(one, all);
  Beyond<kNearest> beyond;
  beyond.count = hn::GetLane(hn::SumOfLanes(i, hn::Add(many[0], many[1])));
  for (float& next : beyond.nearest) {
    next = hn::GetLane(hn::MinOfLanes(f, all[0]));
    if constexpr (kNearest == 1) break;
    const auto found = hn::Eq(all[0], hn::Set(f, next));  // the first of them is taken
    const auto up_to_first = hn::FirstN(f, hn::FindFirstTrue(f, found) + 1);
    const auto taken = hn::And(found, up_to_first);
    for (int q = 0; q < kNearest; ++q) {
      all[q] = hn::IfThenElse(taken, q + 1 < kNearest ? all[q + 1] : hn::Inf(f), all[q]);
    }
  }
  return beyond;
}

// Goes on with the run, one of `total` errors, and keeps the kRankRows of it (fewer where there are
// no more) about the pair wanted, whose lower rank `low` lies at most kRankRows beyond its end.
template <bool kAbove>
void Extend(const float* errors, size_t count, int total, int low, Run& run) {
  const int start = std::max(run.first, std::min(low - (kRankRows / 2 - 1), total - kRankRows));
  const int end = std::min(start + kRankRows, total);
  while (run.first + run.held < end) {
    const float last = run.value[run.held - 1];
    const auto beyond = FindBeyond<kAbove, kRankRows / 2>(errors, count, last);
    const auto push = [&](float value) {
      if (run.first + run.held < end) run.value[run.held++] = value;
    };
    int same = total - beyond.count - (run.first + run.held);
    FORESHADOW_CHECK(same >= 0 && same + beyond.count > 0);  // the ranks are those of the errors
    for (; same > 0 && run.first + run.held < end; --same) push(last);
    for (const float next : beyond.nearest) push(next);
  }
  std::copy_n(run.value.begin() + (start - run.first), end - start, run.value.begin());
  run.first = start;
  run.held = end - start;
}

// Returns false where what is known lies too far from what is wanted.
bool SettleRows(const float* errors, size_t count, const WantedRanks& wanted, Ranks& ranks) {
  const int total = ranks.count;
  for (int i = 0; i < kTails; ++i) {
    const int first = ranks.first[i];
    const int held = ranks.held[i];
    const int low = wanted.low[i];
    const int high = wanted.high[i];
    if (low >= first && high < first + held) continue;
    const bool is_above = low >= first;
    if (held == 0 || (is_above ? high - (first + held) : first - low) > kRankRows) return false;
    Run run;
    run.first = is_above ? first : total - first - held;
    run.held = held;
    for (int j = 0; j < held; ++j) {
      run.value[j] =
          is_above ? ranks.value[j * kTails + i] : -ranks.value[(held - 1 - j) * kTails + i];
    }
    is_above ? Extend<true>(errors, count, total, low, run)
             : Extend<false>(errors, count, total, total - 1 - high, run);
    for (int j = 0; j < kRankRows; ++j) {
      ranks.value[j * kTails + i] = j >= run.held ? kInfiniteFloat
                                    : is_above    ? run.value[j]
                                                  : -run.value[run.held - 1 - j];
    }
    ranks.first[i] = static_cast<int16_t>(is_above ? run.first : total - run.first - run.held);
    ranks.held[i] = static_cast<int16_t>(run.held);
  }
  return true;
}

// The one of rank k of `total` values, sought from a number on, from value to value.
float ValueAt(int k, int total, float from, const float* values, size_t count) {
  while (true) {
    const auto above = FindBeyond<true, 1>(values, count, from);
    if (k >= total - above.count) {
      from = above.nearest[0];
      if (k == total - above.count) return from;
      continue;
    }
    const auto below = FindBeyond<false, 1>(values, count, -from);
    if (k >= below.count) return from;
    from = -below.nearest[0];
    if (k == below.count - 1) return from;
  }
}

float SeekMedian(float guess, const float* values, size_t count, int there) {
  const float low = ValueAt((there - 1) / 2, there, guess, values, count);
  return there % 2 == 1 ? low + 0.0f : Middle(low, ValueAt(there / 2, there, low, values, count));
}

void Subtract(const float* a, const float* b, int64_t count, float* out) {
  const F f;
  const auto most = hn::Set(f, kLargestFloat);
  const auto lanes = static_cast<int64_t>(hn::Lanes(f));
  const auto take = [&](int64_t t) {
    // Order of Min and Max: NaN stays NaN by the blend.
    const auto d = hn::Sub(hn::LoadU(f, a + t), hn::LoadU(f, b + t));
    const auto cut = hn::Max(hn::Neg(most), hn::Min(d, most));
    hn::StoreU(hn::IfThenElse(hn::Eq(d, d), cut, d), f, out + t);
  };
  int64_t t = 0;
  for (; t + lanes <= count; t += lanes) take(t);
  if (t == count) return;
  if (count >= lanes) return take(count - lanes);  // some of them again
  for (; t < count; ++t) {
    const float d = a[t] - b[t];
    out[t] = d != d ? d : std::max(-kLargestFloat, std::min(d, kLargestFloat));
  }
}

// Between the two order statistics, on a line; neither overflows nor leaves them.
HWY_INLINE hn::Vec<T> Between(hn::Vec<T> low, hn::Vec<T> high, hn::Vec<T> share) {
  const auto line = hn::Add(hn::Mul(hn::Sub(hn::Set(T(), 1.0f), share), low), hn::Mul(share, high));
  return hn::Min(high, hn::Max(low, line));
}

void ReadRows(const Ranks& ranks, const WantedRanks& wanted, float* seen) {
  for (size_t i = 0; i < kTails; i += hn::Lanes(T())) {
    const auto first = hn::PromoteTo(I(), hn::LoadU(H(), &ranks.first[i]));
    const auto tail = hn::Iota(I(), static_cast<int32_t>(i));
    const auto value = [&](const int32_t* rank) {
      const auto row = hn::Sub(hn::Load(I(), rank), first);
      const auto at = hn::Add(hn::Mul(row, hn::Set(I(), kTails)), tail);
      return hn::GatherIndex(T(), ranks.value.data(), at);
    };
    hn::StoreU(
        Between(value(&wanted.low[i]), value(&wanted.high[i]), hn::Load(T(), &wanted.share[i])),
        T(), seen + i);
  }
}

// Rows of the next steps, whose offsets run from `before` to `after`. A row is nine wide, and what
// a vector writes beyond it the next one writes over: the last one goes to `last_row`, which has
// room.
void WriteLine(const float* points, int steps, const float* before, const float* after, float* rows,
               float* last_row) {
  const F f;
  constexpr size_t kLanes = hn::MaxLanes(F());
  constexpr size_t kVectors = (kQuantiles + kLanes - 1) / kLanes;
  hn::Vec<F> from[kVectors];
  hn::Vec<F> change[kVectors];
  for (size_t i = 0; i < kVectors; ++i) {
    from[i] = hn::LoadU(f, before + i * kLanes);
    change[i] = hn::Sub(hn::LoadU(f, after + i * kLanes), from[i]);
  }
  const auto zero = hn::Zero(f);
  const auto most = hn::Set(f, kLargestFloat);
  for (int step = 0; step < steps; ++step) {
    const auto share = hn::Set(f, static_cast<float>(step + 1) / static_cast<float>(steps));
    const auto point = hn::Set(f, points[step]);
    float* const row = step + 1 < steps ? rows + step * kQuantiles : last_row;
    for (size_t i = 0; i < kVectors; ++i) {
      const auto between = hn::Add(from[i], hn::Mul(share, change[i]));
      hn::StoreU(hn::Min(most, hn::Max(zero, hn::Add(point, between))), f, row + i * kLanes);
    }
  }
}

}  // namespace
}  // namespace foreshadow::models::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foreshadow::models {
namespace {

HWY_EXPORT(SlideRows);
HWY_EXPORT(SettleRows);
HWY_EXPORT(SeekMedian);
HWY_EXPORT(Subtract);
HWY_EXPORT(ReadRows);
HWY_EXPORT(WriteLine);

constexpr int kCountMax = 2'400;  // errors at a distance: a day and a horizon of the level models

constexpr float kPriorScale = 0.25f;  // of the magnitude: a value is easily half off, rarely twice

constexpr int LevelOf(int tail) { return tail < kMedian ? tail : tail + 1; }

WantedRanks WantedOf(int count) {
  WantedRanks wanted{};
  for (int i = 0; i < kTails; ++i) {
    const double last = std::max(0, count - 1);
    const double rank =
        std::clamp((last + 2) * static_cast<double>(kQuantileLevels[LevelOf(i)]) - 1, 0.0, last);
    const auto below = static_cast<int>(rank);
    wanted.low[i] = below;
    wanted.high[i] = std::min(below + 1, static_cast<int>(last));
    wanted.share[i] = static_cast<float>(rank - below);
  }
  return wanted;
}

const WantedRanks& Wanted(int count) {
  static const std::vector<WantedRanks>& all = *[] {
    auto* made = new std::vector<WantedRanks>;
    for (int n = 0; n <= kCountMax; ++n) made->push_back(WantedOf(n));
    return made;
  }();
  return all[count];
}

float PriorOffset(float level, float magnitude) {
  const float laplace = level < 0.5f ? std::log(2 * level) : -std::log(2 * (1 - level));
  return kPriorScale * std::fabs(magnitude) * laplace;
}

PaddedOffsets Offset(const Ranks& ranks, const WantedRanks& wanted, int count, float magnitude) {
  std::array<float, kTails> seen{};
  if (count > 0) HWY_DYNAMIC_DISPATCH(ReadRows)(ranks, wanted, seen.data());
  if (count < kErrorsMin) {
    const float trust = static_cast<float>(count) / kErrorsMin;
    for (int i = 0; i < kTails; ++i) {
      seen[i] = trust * seen[i] + (1 - trust) * PriorOffset(kQuantileLevels[LevelOf(i)], magnitude);
    }
  }
  PaddedOffsets offsets{};
  for (int q = 0; q < kMedian; ++q) offsets[q] = std::min(seen[q], 0.0f);
  for (int q = kMedian + 1; q < kQuantiles; ++q) offsets[q] = std::max(seen[q - 1], 0.0f);
  return offsets;
}

}  // namespace

Ranks RanksOf(std::span<const float> sorted) {
  const auto count = static_cast<int>(sorted.size());
  FORESHADOW_CHECK(count <= kCountMax);
  Ranks ranks;
  ranks.count = count;
  ranks.value.fill(kInfiniteFloat);
  if (count == 0) return ranks;
  const WantedRanks& wanted = Wanted(count);
  const int held = std::min(count, kRankRows);
  for (int i = 0; i < kTails; ++i) {
    const int first = std::clamp(wanted.low[i] - (kRankRows / 2 - 1), 0, count - held);
    ranks.first[i] = static_cast<int16_t>(first);
    ranks.held[i] = static_cast<int16_t>(held);
    for (int j = 0; j < held; ++j) ranks.value[j * kTails + i] = sorted[first + j];
  }
  return ranks;
}

bool Slide(float leaves, float comes, Ranks& ranks) {
  ranks.count += (std::isnan(comes) ? 0 : 1) - (std::isnan(leaves) ? 0 : 1);
  FORESHADOW_CHECK(ranks.count >= 0 && ranks.count <= kCountMax);
  const bool settled = HWY_DYNAMIC_DISPATCH(SlideRows)(leaves, comes, Wanted(ranks.count), ranks);
  return settled || ranks.count == 0;
}

void Settle(std::span<const float> errors, Ranks& ranks) {
  if (ranks.count == 0) return;
  FORESHADOW_CHECK(errors.size() % kErrorLanes == 0);
  const bool settled =
      HWY_DYNAMIC_DISPATCH(SettleRows)(errors.data(), errors.size(), Wanted(ranks.count), ranks);
  if (settled) return;
  std::vector<float> sorted;
  std::ranges::copy_if(errors, std::back_inserter(sorted), [](float e) { return !std::isnan(e); });
  FORESHADOW_CHECK(std::ssize(sorted) == ranks.count);
  std::ranges::sort(sorted);
  ranks = RanksOf(sorted);
}

float MedianNear(float guess, std::span<const float> values, int count) {
  FORESHADOW_CHECK(count > 0 && values.size() % kErrorLanes == 0);
  return HWY_DYNAMIC_DISPATCH(SeekMedian)(guess, values.data(), values.size(), count);
}

void ErrorsOfRing(std::span<const float> samples, std::span<const float> levels, int64_t newest,
                  int lag, int64_t count, std::vector<float>& errors) {
  const auto ring = std::ssize(samples);
  const auto place = [ring](int64_t step) { return ((step % ring) + ring) % ring; };
  errors.resize(static_cast<size_t>(kernels::RoundUp(count, kErrorLanes)));
  std::fill(errors.begin() + count, errors.end(), std::numeric_limits<float>::quiet_NaN());
  int64_t a = place(newest - count + 1);
  int64_t b = place(newest - count + 1 - lag);
  for (int64_t done = 0; done < count;) {
    const int64_t run = std::min({count - done, ring - a, ring - b});
    HWY_DYNAMIC_DISPATCH(Subtract)(&samples[a], &levels[b], run, &errors[done]);
    done += run;
    a = a + run == ring ? 0 : a + run;
    b = b + run == ring ? 0 : b + run;
  }
}

PaddedOffsets OffsetsOf(const Ranks& ranks, float magnitude) {
  return Offset(ranks, Wanted(ranks.count), ranks.count, magnitude);
}

PaddedOffsets OffsetsOf(std::span<const float> sorted, float magnitude) {
  const auto count = static_cast<int>(sorted.size());
  WantedRanks wanted = WantedOf(count);
  Ranks two;  // the first row for the lower ones
  for (int i = 0; count > 0 && i < kTails; ++i) {
    two.value[i] = sorted[std::exchange(wanted.low[i], 0)];
    two.value[kTails + i] = sorted[std::exchange(wanted.high[i], 1)];
  }
  return Offset(two, wanted, count, magnitude);
}

std::vector<int> MeasuredDistances(int steps) {
  std::vector<int> distances;
  for (int anchor = 1; distances.empty() || distances.back() < steps;
       anchor = anchor < 3 ? anchor + 1 : 2 * anchor) {
    distances.push_back(std::min(anchor, steps));
  }
  return distances;
}

void WriteRows(std::span<const float> points, std::span<const float> spread,
               std::span<AtDistance> measured, float* rows) {
  int before = 0;
  PaddedOffsets offsets_before{};
  for (AtDistance& at : measured) {
    if (at.errors < kErrorsMin && before > 0) {
      const float growth = spread[at.distance - 1] / spread[before - 1];
      for (int q = 0; q < kQuantiles; ++q) at.offsets[q] = growth * offsets_before[q];
    }
    PaddedOffsets last_row;
    HWY_DYNAMIC_DISPATCH(WriteLine)
    (points.data() + before, at.distance - before, offsets_before.data(), at.offsets.data(),
     rows + before * kQuantiles, last_row.data());
    std::copy_n(last_row.data(), kQuantiles, rows + (at.distance - 1) * kQuantiles);
    before = at.distance;
    offsets_before = at.offsets;
  }
}

void WriteRows(std::span<const float> points, const PaddedOffsets& offsets, float* rows) {
  PaddedOffsets last_row;
  HWY_DYNAMIC_DISPATCH(WriteLine)
  (points.data(), static_cast<int>(points.size()), offsets.data(), offsets.data(), rows,
   last_row.data());
  std::copy_n(last_row.data(), kQuantiles, rows + (points.size() - 1) * kQuantiles);
}

}  // namespace foreshadow::models
#endif  // HWY_ONCE
