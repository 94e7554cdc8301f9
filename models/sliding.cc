#include "models/sliding.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "models/sliding.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/algo/round_up.h"
#include "kernels/check.h"

#ifndef FORESHADOW_MODELS_SLIDING_SHARED  // by the texts of all instruction sets
#define FORESHADOW_MODELS_SLIDING_SHARED
namespace foreshadow::models {

inline constexpr float kLargestFloat = std::numeric_limits<float>::max();
inline constexpr float kInfiniteFloat = std::numeric_limits<float>::infinity();

// The order statistics that the (n + 1) p rule takes from n errors, and the share of the upper one.
struct WantedRanks {
  alignas(64) std::array<int32_t, kRanks> rank;
  alignas(64) std::array<float, kTails> share;
};

}  // namespace foreshadow::models
#endif

HWY_BEFORE_NAMESPACE();
namespace foreshadow::models::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using F = hn::CappedTag<float, kRanks>;
using I = hn::RebindToSigned<F>;
using H = hn::Rebind<int16_t, F>;
using T = hn::CappedTag<float, kTails>;

// Lanes of the order statistics for which `condition` holds, as bits.
template <typename Condition>
uint32_t BitsOf(Condition condition) {
  uint32_t bits = 0;
  for (size_t i = 0; i < kRanks; i += hn::Lanes(F())) {
    uint8_t bytes[8] = {};
    hn::StoreMaskBits(I(), condition(i), bytes);
    bits |= (uint32_t{bytes[0]} | uint32_t{bytes[1]} << 8) << i;
  }
  return bits;
}

uint32_t OffBits(const Ranks& ranks, const WantedRanks& wanted) {
  return BitsOf([&](size_t i) {
    const auto k = hn::Load(I(), &wanted.rank[i]);
    const auto below = hn::PromoteTo(I(), hn::LoadU(H(), &ranks.below[i]));
    const auto upto = hn::PromoteTo(I(), hn::LoadU(H(), &ranks.upto[i]));
    return hn::Or(hn::Lt(k, below), hn::Not(hn::Lt(k, upto)));
  });
}

bool SlideCounts(float leaves, float comes, const WantedRanks& wanted, Ranks& ranks) {
  const auto gone = hn::Set(F(), leaves);
  const auto come = hn::Set(F(), comes);
  for (size_t i = 0; i < kRanks; i += hn::Lanes(F())) {
    const auto value = hn::LoadU(F(), &ranks.value[i]);
    auto below = hn::PromoteTo(I(), hn::LoadU(H(), &ranks.below[i]));
    auto upto = hn::PromoteTo(I(), hn::LoadU(H(), &ranks.upto[i]));
    // A mask is -1 where it holds.
    below = hn::Sub(below, hn::BitCast(I(), hn::VecFromMask(F(), hn::Lt(come, value))));
    below = hn::Add(below, hn::BitCast(I(), hn::VecFromMask(F(), hn::Lt(gone, value))));
    upto = hn::Sub(upto, hn::BitCast(I(), hn::VecFromMask(F(), hn::Le(come, value))));
    upto = hn::Add(upto, hn::BitCast(I(), hn::VecFromMask(F(), hn::Le(gone, value))));
    hn::StoreU(hn::DemoteTo(H(), below), H(), &ranks.below[i]);
    hn::StoreU(hn::DemoteTo(H(), upto), H(), &ranks.upto[i]);
  }
  return OffBits(ranks, wanted) == 0;
}

// Folds the errors that hold under `condition` into one, four chains at a time: each step of one
// waits for the step before it.
template <typename Condition, typename Fold>
HWY_INLINE auto FoldWhere(const float* errors, size_t count, float none, Condition condition,
                          Fold fold) {
  const F f;
  const size_t lanes = hn::Lanes(f);
  const auto take = [&](auto& so_far, size_t t) {
    const auto e = hn::LoadU(f, errors + t);
    so_far = hn::IfThenElse(condition(e), fold(so_far, e), so_far);
  };
  auto a = hn::Set(f, none), b = a, c = a, d = a;
  size_t t = 0;
  for (; t + 4 * lanes <= count; t += 4 * lanes) {
    take(a, t);
    take(b, t + lanes);
    take(c, t + 2 * lanes);
    take(d, t + 3 * lanes);
  }
  for (; t < count; t += lanes) take(a, t);
  return fold(fold(a, b), fold(c, d));
}

HWY_INLINE float LeastAbove(const float* errors, size_t count, float value) {
  const auto v = hn::Set(F(), value);
  const auto least = FoldWhere(
      errors, count, kInfiniteFloat, [v](auto e) { return hn::Gt(e, v); },
      [](auto x, auto y) { return hn::Min(x, y); });
  return hn::GetLane(hn::MinOfLanes(F(), least));
}

HWY_INLINE float MostBelow(const float* errors, size_t count, float value) {
  const auto v = hn::Set(F(), value);
  const auto most = FoldWhere(
      errors, count, -kInfiniteFloat, [v](auto e) { return hn::Lt(e, v); },
      [](auto x, auto y) { return hn::Max(x, y); });
  return hn::GetLane(hn::MaxOfLanes(F(), most));
}

template <typename Condition>
HWY_INLINE int CountWhere(const float* errors, size_t count, Condition condition) {
  const F f;
  const size_t lanes = hn::Lanes(f);
  const auto found = [&](size_t t) {
    return hn::CountTrue(f, condition(hn::LoadU(f, errors + t)));
  };
  size_t all = 0;
  size_t t = 0;
  for (; t + 4 * lanes <= count; t += 4 * lanes) {
    all += (found(t) + found(t + lanes)) + (found(t + 2 * lanes) + found(t + 3 * lanes));
  }
  for (; t < count; t += lanes) all += found(t);
  return static_cast<int>(all);
}

HWY_INLINE int CountOf(const float* errors, size_t count, float value) {
  const auto v = hn::Set(F(), value);
  return CountWhere(errors, count, [v](auto e) { return hn::Eq(e, v); });
}

// A value among the errors, or beside them, how many are below it and how many up to it.
struct Found {
  float value;
  int below;
  int upto;
};

// From there to the one of rank k.
HWY_INLINE Found Seek(const float* errors, size_t count, int k, Found at) {
  while (k < at.below || k >= at.upto) {
    const bool up = k >= at.upto;
    at.value = up ? LeastAbove(errors, count, at.value) : MostBelow(errors, count, at.value);
    const int many = CountOf(errors, count, at.value);
    FORESHADOW_CHECK(many > 0);  // the counts are those of the errors
    at.below = up ? at.upto : at.below - many;
    at.upto = at.below + many;
  }
  return at;
}

void SettleAll(const float* errors, size_t count, const WantedRanks& wanted, Ranks& ranks) {
  uint32_t off = OffBits(ranks, wanted);
  // Each says what is true of the errors, whichever rank it was wanted for; where both of a pair
  // move down, the upper one takes the place that the lower one has left.
  const Ranks known = ranks;
  for (; off != 0; off &= off - 1) {
    const int j = std::countr_zero(off);
    const int32_t k = wanted.rank[j];
    // The other one of its pair may be there already: a rank moves to its neighbour most often.
    const int other = j ^ kTails;
    const int from = k >= known.below[other] && k < known.upto[other] ? other : j;
    const Found found =
        Seek(errors, count, k, {known.value[from], known.below[from], known.upto[from]});
    ranks.value[j] = found.value;
    ranks.below[j] = static_cast<int16_t>(found.below);
    ranks.upto[j] = static_cast<int16_t>(found.upto);
  }
}

float SeekMedian(float guess, const float* values, size_t count, int there) {
  const auto v = hn::Set(F(), guess);
  const int below = CountWhere(values, count, [v](auto e) { return hn::Lt(e, v); });
  const Found low =
      Seek(values, count, (there - 1) / 2, {guess, below, below + CountOf(values, count, guess)});
  if (there % 2 == 1) return low.value + 0.0f;
  return Middle(low.value, Seek(values, count, there / 2, low).value);
}

void Subtract(const float* a, const float* b, int64_t count, float* out) {
  const F f;
  const auto most = hn::Set(f, kLargestFloat);
  const auto lanes = static_cast<int64_t>(hn::Lanes(f));
  int64_t t = 0;
  const auto store = [&](const float* x, const float* y, float* to) {
    // Order of Min and Max: NaN stays NaN by the blend.
    const auto d = hn::Sub(hn::LoadU(f, x), hn::LoadU(f, y));
    const auto cut = hn::Max(hn::Neg(most), hn::Min(d, most));
    hn::StoreU(hn::IfThenElse(hn::Eq(d, d), cut, d), f, to);
  };
  for (; t + lanes <= count; t += lanes) store(a + t, b + t, out + t);
  for (; t < count; ++t) {
    const float d = a[t] - b[t];
    out[t] = d != d ? d : std::max(-kLargestFloat, std::min(d, kLargestFloat));
  }
}

// On the line between the two order statistics; neither overflows nor leaves them.
void Interpolate(const float* order, const WantedRanks& wanted, float* seen) {
  for (size_t i = 0; i < kTails; i += hn::Lanes(T())) {
    const auto low = hn::LoadU(T(), order + i);
    const auto high = hn::LoadU(T(), order + kTails + i);
    const auto share = hn::Load(T(), &wanted.share[i]);
    const auto line =
        hn::Add(hn::Mul(hn::Sub(hn::Set(T(), 1.0f), share), low), hn::Mul(share, high));
    hn::StoreU(hn::Min(high, hn::Max(low, line)), T(), seen + i);
  }
}

// Rows of the next steps, whose offsets run from `before` to `after`. A row is nine wide, and what
// a vector writes beyond it the next one writes over: the last one goes to `last_row`, which has
// room.
void WriteLine(const float* points, int steps, const float* before, const float* after, float* rows,
               float* last_row) {
  const F f;
  const auto zero = hn::Zero(f);
  const auto most = hn::Set(f, kLargestFloat);
  for (int step = 0; step < steps; ++step) {
    const auto share = hn::Set(f, static_cast<float>(step + 1) / static_cast<float>(steps));
    const auto point = hn::Set(f, points[step]);
    float* const row = step + 1 < steps ? rows + step * kQuantiles : last_row;
    for (size_t i = 0; i < kQuantiles; i += hn::Lanes(f)) {
      const auto from = hn::LoadU(f, before + i);
      const auto between = hn::Add(from, hn::Mul(share, hn::Sub(hn::LoadU(f, after + i), from)));
      hn::StoreU(hn::Min(most, hn::Max(zero, hn::Add(point, between))), f, row + i);
    }
  }
}

}  // namespace
}  // namespace foreshadow::models::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foreshadow::models {
namespace {

HWY_EXPORT(SlideCounts);
HWY_EXPORT(SettleAll);
HWY_EXPORT(SeekMedian);
HWY_EXPORT(Subtract);
HWY_EXPORT(Interpolate);
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
    wanted.rank[i] = below;
    wanted.rank[kTails + i] = std::min(below + 1, static_cast<int>(last));
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

PaddedOffsets Offset(const std::array<float, kRanks>& order, const WantedRanks& wanted, int count,
                     float magnitude) {
  alignas(64) std::array<float, kTails> seen{};
  if (count > 0) HWY_DYNAMIC_DISPATCH(Interpolate)(order.data(), wanted, seen.data());
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
  FORESHADOW_CHECK(std::ssize(sorted) <= kCountMax);
  Ranks ranks;
  ranks.count = static_cast<int32_t>(sorted.size());
  if (sorted.empty()) return ranks;
  const WantedRanks& wanted = Wanted(ranks.count);
  for (int i = 0; i < kRanks; ++i) {
    const float value = sorted[wanted.rank[i]];
    const auto [first, end] = std::equal_range(sorted.begin(), sorted.end(), value);
    ranks.value[i] = value;
    ranks.below[i] = static_cast<int16_t>(first - sorted.begin());
    ranks.upto[i] = static_cast<int16_t>(end - sorted.begin());
  }
  return ranks;
}

bool Slide(float leaves, float comes, Ranks& ranks) {
  ranks.count += (std::isnan(comes) ? 0 : 1) - (std::isnan(leaves) ? 0 : 1);
  FORESHADOW_CHECK(ranks.count >= 0 && ranks.count <= kCountMax);
  const bool settled = HWY_DYNAMIC_DISPATCH(SlideCounts)(leaves, comes, Wanted(ranks.count), ranks);
  return settled || ranks.count == 0;
}

void Settle(std::span<const float> errors, Ranks& ranks) {
  if (ranks.count == 0) return;
  FORESHADOW_CHECK(errors.size() % kErrorLanes == 0);
  HWY_DYNAMIC_DISPATCH(SettleAll)(errors.data(), errors.size(), Wanted(ranks.count), ranks);
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
  return Offset(ranks.value, Wanted(ranks.count), ranks.count, magnitude);
}

PaddedOffsets OffsetsOf(std::span<const float> sorted, float magnitude) {
  std::array<float, kRanks> order{};
  const auto count = static_cast<int>(sorted.size());
  const WantedRanks wanted = WantedOf(count);
  for (int i = 0; count > 0 && i < kRanks; ++i) order[i] = sorted[wanted.rank[i]];
  return Offset(order, wanted, count, magnitude);
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
