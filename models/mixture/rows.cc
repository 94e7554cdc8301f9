#include "models/mixture/rows.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "models/mixture/rows.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/check.h"

HWY_BEFORE_NAMESPACE();
namespace foreshadow::models::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using F = hn::CappedTag<float, kPaddedRow>;
using Steps = hn::CappedTag<float, kQuantiles - 1>;  // from level to level
static_assert((kQuantiles - 1) % 8 == 0);

constexpr float kLargest = std::numeric_limits<float>::max();
// The levels of the leader's 90 % interval.
constexpr int kLeastLevel = 0;
constexpr int kMostLevel = 6;
static_assert(kQuantileLevels[kLeastLevel] == 0.05f && kQuantileLevels[kMostLevel] == 0.95f);

// The model that weighs most in the median between two judged distances.
size_t LeaderBetween(std::span<const PaddedRow> low, std::span<const PaddedRow> high, float share) {
  size_t leader = 0;
  float most = -1;
  for (size_t k = 0; k < low.size(); ++k) {
    const float weight = low[k][kMedian] + share * (high[k][kMedian] - low[k][kMedian]);
    if (weight > most) most = weight, leader = k;
  }
  return leader;
}

// One step: the median of no model counts as outside the 90 % interval of the one that weighs most,
// nor does an upper level count as below it or a lower one as above. `row_of` says where a model's
// row begins, with kPaddedRow floats to be read there; as many are written to `out`.
template <typename RowOf>
void MixStep(const RowsToMix& in, const Between& place, const RowOf& row_of, float* out) {
  const F f;
  const size_t models = in.rows.size();
  const auto low = in.weights.subspan(place.low * models, models);
  const auto high = in.weights.subspan(place.high * models, models);
  const auto share = hn::Set(f, place.share);
  const auto between = [&](const PaddedRow& a, const PaddedRow& b, size_t i) {
    const auto from = hn::LoadU(f, &a[i]);
    return hn::Add(from, hn::Mul(share, hn::Sub(hn::LoadU(f, &b[i]), from)));
  };
  // One that leads at both ends leads at all steps between them.
  size_t leading = in.leaders[place.low];
  if (leading != in.leaders[place.high]) leading = LeaderBetween(low, high, place.share);
  const float* leader = row_of(leading);
  const auto least = hn::Set(f, leader[kLeastLevel]);
  const auto most = hn::Set(f, leader[kMostLevel]);
  for (size_t i = 0; i < kQuantiles; i += hn::Lanes(f)) {
    const auto level = hn::Iota(f, static_cast<float>(i));
    const auto median_level = hn::Set(f, kMedian);
    const auto from = hn::IfThenElse(hn::Ge(level, median_level), least, hn::Set(f, -kLargest));
    const auto to = hn::IfThenElse(hn::Le(level, median_level), most, hn::Set(f, kLargest));
    auto sum = hn::Zero(f);
    for (size_t k = 0; k < models; ++k) {
      const auto row = hn::Min(hn::Max(hn::LoadU(f, row_of(k) + i), from), to);
      sum = hn::Add(sum, hn::Mul(between(low[k], high[k], i), row));
    }
    // Weights round to a little over 1.
    hn::StoreU(hn::Min(sum, hn::Set(f, kLargest)), f, out + i);
  }
  const auto median = hn::Set(f, out[kMedian]);
  for (size_t i = 0; i < kQuantiles; i += hn::Lanes(f)) {
    const auto factor = between(in.factors[place.low], in.factors[place.high], i);
    const auto gap = hn::Mul(hn::Sub(hn::LoadU(f, out + i), median), factor);
    const auto cut = hn::Min(hn::Max(hn::Add(median, gap), hn::Zero(f)), hn::Set(f, in.most));
    hn::StoreU(cut, f, out + i);
  }
}

// Levels that are out of order, which is seldom, are put level with the one nearer to the median.
void Straighten(float* row) {
  const Steps f;
  bool ascends = true;
  for (size_t q = 0; q < kQuantiles - 1; q += hn::Lanes(f)) {
    ascends = ascends && hn::AllTrue(f, hn::Le(hn::LoadU(f, row + q), hn::LoadU(f, row + q + 1)));
  }
  if (ascends) return;
  for (int q = kMedian; q-- > 0;) row[q] = std::min(row[q], row[q + 1]);
  for (int q = kMedian + 1; q < kQuantiles; ++q) row[q] = std::max(row[q], row[q - 1]);
}

HWY_INLINE hn::Vec<F> Exp(hn::Vec<F> x) {
  const F f;
  const hn::RebindToSigned<F> i;
  const auto scaled = hn::Mul(x, hn::Set(f, 1.44269504f));
  const auto whole = hn::ConvertTo(i, scaled);
  const auto fraction = hn::Sub(scaled, hn::ConvertTo(f, whole));  // in (-1, 1)
  // Taylor's series of 2^fraction.
  auto power = hn::Set(f, 1.5252734e-5f);
  for (const float coefficient :
       {1.5403530e-4f, 0.00133336f, 0.00961813f, 0.05550411f, 0.24022651f, 0.69314718f, 1.0f}) {
    power = hn::Add(hn::Mul(power, fraction), hn::Set(f, coefficient));
  }
  return hn::Mul(power, hn::BitCast(f, hn::ShiftLeft<23>(hn::Add(whole, hn::Set(i, 127)))));
}

void ExpAll(float* values, size_t count) {
  const F f;
  const auto least = hn::Set(f, kLogWeightMin);
  for (size_t t = 0; t < count; t += hn::Lanes(f)) {
    const auto x = hn::LoadU(f, values + t);
    hn::StoreU(hn::IfThenZeroElse(hn::Le(x, least), Exp(x)), f, values + t);
  }
}

void RoundAll(const float* values, size_t count, float scale, int8_t* rounded) {
  const F f;
  const hn::Rebind<int8_t, F> bytes;
  const auto most = hn::Set(f, 127.0f);
  for (size_t t = 0; t < count; t += hn::Lanes(f)) {
    const auto scaled = hn::Mul(hn::LoadU(f, values + t), hn::Set(f, scale));
    const auto cut = hn::Max(hn::Neg(most), hn::Min(scaled, most));
    const auto nearest = hn::Add(cut, hn::CopySign(hn::Set(f, 0.5f), cut));
    hn::StoreU(hn::DemoteTo(bytes, hn::ConvertTo(hn::RebindToSigned<F>(), nearest)), bytes,
               rounded + t);
  }
}

// What a step reads and writes beyond its row is the next one's, but for the last.
void MixAll(const RowsToMix& in, std::span<PaddedRow> last_rows, float* out) {
  const size_t last = in.places.size() - 1;
  for (size_t step = 0; step < last; ++step) {
    const auto row_of = [&](size_t k) { return in.rows[k] + step * kQuantiles; };
    MixStep(in, in.places[step], row_of, out + step * kQuantiles);
  }
  for (size_t k = 0; k < in.rows.size(); ++k) {
    std::copy_n(in.rows[k] + last * kQuantiles, kQuantiles, last_rows[k].data());
  }
  PaddedRow mixed;
  MixStep(
      in, in.places[last], [&](size_t k) { return last_rows[k].data(); }, mixed.data());
  std::copy_n(mixed.data(), kQuantiles, out + last * kQuantiles);
  for (size_t step = 0; step <= last; ++step) Straighten(out + step * kQuantiles);
}

}  // namespace
}  // namespace foreshadow::models::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foreshadow::models {

HWY_EXPORT(MixAll);
HWY_EXPORT(ExpAll);
HWY_EXPORT(RoundAll);

void MixSteps(const RowsToMix& in, std::span<PaddedRow> last_rows, float* out) {
  HWY_DYNAMIC_DISPATCH(MixAll)(in, last_rows, out);
}

void Exponentials(std::span<float> values) {
  FORESHADOW_CHECK(values.size() % kPaddedRow == 0);
  HWY_DYNAMIC_DISPATCH(ExpAll)(values.data(), values.size());
}

void RoundScaled(std::span<const float> values, float scale, std::span<int8_t> rounded) {
  FORESHADOW_CHECK(values.size() % kPaddedRow == 0 && rounded.size() == values.size());
  HWY_DYNAMIC_DISPATCH(RoundAll)(values.data(), values.size(), scale, rounded.data());
}

}  // namespace foreshadow::models
#endif  // HWY_ONCE
