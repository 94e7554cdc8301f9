// Packed columns made ready for sums: centred, their gaps zero and listed. Included once per
// instruction set.
#if defined(FORESHADOW_KERNELS_CPU_COLUMNS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FORESHADOW_KERNELS_CPU_COLUMNS_INL_H_
#undef FORESHADOW_KERNELS_CPU_COLUMNS_INL_H_
#else
#define FORESHADOW_KERNELS_CPU_COLUMNS_INL_H_
#endif

#include <limits>

#include "kernels/algo/samples.h"
#include "kernels/cpu/wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu::HWY_NAMESPACE {

// A vector of series less their means, zero where missing.
struct WideColumns {
  const double* values;
  const uint8_t* there;
  const int32_t* gaps;  // the steps at which a lane has none
  int64_t gaps_count;
  // Of the whole series.
  Wide mean;  // what was taken off
  Wide present;
  Wide sum;
  Wide square;
  Wide own;  // of products with the step before
};

HWY_INLINE uint8_t Every() { return static_cast<uint8_t>((1u << WideLanes()) - 1); }

// The lanes that have a sample.
HWY_INLINE hn::Mask<Doubles> There(const WideColumns& columns, int64_t step) {
  return hn::LoadMaskBits(Doubles(), columns.there + step);
}

// `from` as [steps][lanes].
inline WideColumns ReadColumns(const float* from, int64_t steps, double* values, uint8_t* there,
                        int32_t* gaps, SeriesStatus* status) {
  const Doubles d;
  const int64_t lanes = WideLanes();
  const Wide zero = hn::Zero(d);
  const Wide infinity = hn::Set(d, std::numeric_limits<double>::infinity());
  Wide present = zero;
  Wide sum = zero;
  Wide low = infinity;
  Wide high = hn::Neg(infinity);
  int64_t gaps_count = 0;
  for (int64_t i = 0; i < steps; ++i) {
    const Wide value = LoadWide(from + i * lanes, lanes);
    const auto has = hn::Eq(value, value);
    hn::StoreMaskBits(d, has, there + i);
    gaps[gaps_count] = static_cast<int32_t>(i);
    gaps_count += there[i] != Every();
    hn::Store(value, d, values + i * lanes);
    present = hn::Add(present, hn::IfThenElseZero(has, hn::Set(d, 1.0)));
    sum = hn::Add(sum, hn::IfThenElseZero(has, value));
    low = hn::Min(low, hn::IfThenElse(has, value, infinity));
    high = hn::Max(high, hn::IfThenElse(has, value, hn::Neg(infinity)));
  }
  const Wide mean = hn::Div(sum, present);
  sum = zero;
  Wide square = zero;
  Wide own = zero;
  Wide before = zero;
  for (int64_t i = 0; i < steps; ++i) {
    const Wide value = hn::Load(d, values + i * lanes);
    const Wide off = hn::IfThenElseZero(hn::Eq(value, value), hn::Sub(value, mean));
    hn::Store(off, d, values + i * lanes);
    sum = hn::Add(sum, off);
    square = hn::MulAdd(off, off, square);
    own = hn::MulAdd(before, off, own);
    before = off;
  }
  HWY_ALIGN double present_of[kWideLanesMax], low_of[kWideLanesMax], high_of[kWideLanesMax];
  hn::Store(present, d, present_of);
  hn::Store(low, d, low_of);
  hn::Store(high, d, high_of);
  for (int64_t lane = 0; lane < lanes; ++lane) {
    if (status[lane] != SeriesStatus::kOk) continue;
    status[lane] = SamplesStatus(present_of[lane], low_of[lane], high_of[lane]);
  }
  return {values, there, gaps, gaps_count, mean, present, sum, square, own};
}

}  // namespace foreshadow::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
