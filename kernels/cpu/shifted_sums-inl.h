// Sums of products of one series with another some steps later, for many shifts at once: the lanes
// of a vector are neighbouring series, the data lie as [step][lane]. Included once per instruction
// set.
#if defined(FORESHADOW_KERNELS_CPU_SHIFTED_SUMS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FORESHADOW_KERNELS_CPU_SHIFTED_SUMS_INL_H_
#undef FORESHADOW_KERNELS_CPU_SHIFTED_SUMS_INL_H_
#else
#define FORESHADOW_KERNELS_CPU_SHIFTED_SUMS_INL_H_
#endif

#include <algorithm>

#include "kernels/cpu/wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu::HWY_NAMESPACE {

inline constexpr int kShiftTile = 8;         // sums that stay in registers, on 16 of them too
inline constexpr int64_t kShiftSteps = 128;  // of both series: they stay in the L1 cache

// sums[k] += sum over i in begin..end-1 of x[i - shifts[k]] y[i], for a tile of ascending shifts.
HWY_INLINE void AddShiftTile(const double* x, const double* y, int64_t begin, int64_t end,
                             const int64_t (&shifts)[kShiftTile], Wide (&sums)[kShiftTile]) {
  const Doubles d;
  const int64_t lanes = WideLanes();
  const int64_t together = std::min(end, std::max(begin, shifts[kShiftTile - 1]));
  for (int k = 0; k < kShiftTile; ++k) {  // the first steps, which some shifts do not have
    for (int64_t i = std::max(begin, shifts[k]); i < together; ++i) {
      sums[k] = hn::MulAdd(hn::Load(d, x + (i - shifts[k]) * lanes), hn::Load(d, y + i * lanes),
                           sums[k]);
    }
  }
  Wide s0 = sums[0], s1 = sums[1], s2 = sums[2], s3 = sums[3];
  Wide s4 = sums[4], s5 = sums[5], s6 = sums[6], s7 = sums[7];
  const double* x0 = x - shifts[0] * lanes;
  const double* x1 = x - shifts[1] * lanes;
  const double* x2 = x - shifts[2] * lanes;
  const double* x3 = x - shifts[3] * lanes;
  const double* x4 = x - shifts[4] * lanes;
  const double* x5 = x - shifts[5] * lanes;
  const double* x6 = x - shifts[6] * lanes;
  const double* x7 = x - shifts[7] * lanes;
  for (int64_t i = together * lanes; i < end * lanes; i += lanes) {
    const Wide later = hn::Load(d, y + i);
    s0 = hn::MulAdd(hn::Load(d, x0 + i), later, s0);
    s1 = hn::MulAdd(hn::Load(d, x1 + i), later, s1);
    s2 = hn::MulAdd(hn::Load(d, x2 + i), later, s2);
    s3 = hn::MulAdd(hn::Load(d, x3 + i), later, s3);
    s4 = hn::MulAdd(hn::Load(d, x4 + i), later, s4);
    s5 = hn::MulAdd(hn::Load(d, x5 + i), later, s5);
    s6 = hn::MulAdd(hn::Load(d, x6 + i), later, s6);
    s7 = hn::MulAdd(hn::Load(d, x7 + i), later, s7);
  }
  sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
  sums[4] = s4, sums[5] = s5, sums[6] = s6, sums[7] = s7;
}

// to(k) = sum over i of x[i - shift(k)] y[i], for ascending shifts; `to` gives the place of a
// vector. x and y as [steps][lanes].
template <typename Shift, typename To>
HWY_INLINE void SumShifted(const double* x, const double* y, int64_t steps, int64_t count,
                           Shift shift, To to) {
  const Doubles d;
  for (int64_t k = 0; k < count; ++k) hn::Store(hn::Zero(d), d, to(k));
  for (int64_t begin = 0; begin < steps; begin += kShiftSteps) {
    const int64_t end = std::min(steps, begin + kShiftSteps);
    for (int64_t first = 0; first < count; first += kShiftTile) {
      if (shift(first) >= end) break;
      // The last tile repeats its last shift.
      int64_t shifts[kShiftTile];
      Wide sums[kShiftTile];
      for (int64_t k = 0; k < kShiftTile; ++k) {
        const int64_t at = std::min(first + k, count - 1);
        shifts[k] = shift(at);
        sums[k] = hn::Load(d, to(at));
      }
      AddShiftTile(x, y, begin, end, shifts, sums);
      for (int64_t k = 0; k < kShiftTile && first + k < count; ++k) {
        hn::Store(sums[k], d, to(first + k));
      }
    }
  }
}

}  // namespace foreshadow::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
