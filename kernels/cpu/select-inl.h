// Order statistics of lanes by counting.
// Compiled once per instruction set, in the manner of Highway.
#if defined(FORESHADOW_KERNELS_CPU_SELECT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FORESHADOW_KERNELS_CPU_SELECT_INL_H_
#undef FORESHADOW_KERNELS_CPU_SELECT_INL_H_
#else
#define FORESHADOW_KERNELS_CPU_SELECT_INL_H_
#endif

#include <limits>

#include "kernels/cpu/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu {
namespace HWY_NAMESPACE {

// The k-th smallest (from 0) of each lane's values and the one after it, k of each lane's own.
// Values are not negative, so that they order as the integers their bits are. A bracket closes
// around the k-th by counting: by turns where the counts point to, and in the middle.
struct Pair {
  V first;
  V second;
};

HWY_INLINE Pair Select(const float* values, int64_t n, I k, V largest, I count) {
  const hn::RebindToSigned<D> di;
  I low = hn::Set(di, -1);            // below_low values are not above it: k or fewer
  I high = hn::BitCast(di, largest);  // below_high: more than k
  I below_low = hn::Zero(di);
  I below_high = count;
  const I one = hn::Set(di, 1);
  for (int round = 0;; ++round) {
    const auto open = hn::And(hn::Lt(below_low, k), hn::Gt(hn::Sub(high, low), one));
    if (hn::AllFalse(di, open)) break;
    const I middle = hn::Add(low, hn::ShiftRight<1>(hn::Sub(high, low)));
    I probe = middle;
    if (round % 3 != 2) {
      const V from = hn::BitCast(D(), hn::Max(low, hn::Zero(di)));
      const V to = hn::BitCast(D(), high);
      const V share = hn::Div(hn::ConvertTo(D(), hn::Sub(k, below_low)),
                              hn::ConvertTo(D(), hn::Sub(below_high, below_low)));
      const V pointed = hn::MulAdd(hn::Sub(to, from), share, from);
      probe = hn::Max(hn::Add(low, one), hn::Min(hn::BitCast(di, pointed), hn::Sub(high, one)));
    }
    I below = hn::Set(di, static_cast<int32_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      const I value = hn::BitCast(di, At(values, i));
      below = hn::Add(below, hn::VecFromMask(di, hn::Gt(value, probe)));  // a true lane is -1
    }
    const auto enough = hn::Gt(below, k);
    high = hn::IfThenElse(enough, probe, high);
    below_high = hn::IfThenElse(enough, below, below_high);
    low = hn::IfThenElse(enough, low, probe);
    below_low = hn::IfThenElse(enough, below_low, below);
  }
  // Either k values are not above `low`, and the two smallest above it are the answer; or equal
  // values stand in the way and the k-th is `high`.
  const auto apart = hn::Eq(below_low, k);
  const I above = hn::IfThenElse(apart, low, high);
  const V inf = hn::Set(D(), std::numeric_limits<float>::infinity());
  V first = inf;
  V second = inf;
  for (int64_t i = 0; i < n; ++i) {
    const V value = At(values, i);
    const auto is_above = hn::RebindMask(D(), hn::Gt(hn::BitCast(di, value), above));
    const V kept = hn::IfThenElse(is_above, value, inf);
    second = hn::Min(second, hn::Max(first, kept));
    first = hn::Min(first, kept);
  }
  const V tied = hn::BitCast(D(), high);
  const auto next_tied = hn::Gt(below_high, hn::Add(k, one));
  const M is_apart = hn::RebindMask(D(), apart);
  return {hn::IfThenElse(is_apart, first, tied),
          hn::IfThenElse(is_apart, second,
                         hn::IfThenElse(hn::RebindMask(D(), next_tied), tied, first))};
}

}  // namespace HWY_NAMESPACE
}  // namespace foreshadow::kernels::cpu
HWY_AFTER_NAMESPACE();

#endif  // FORESHADOW_KERNELS_CPU_SELECT_INL_H_
