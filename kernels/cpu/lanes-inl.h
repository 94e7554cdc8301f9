// Vectors of neighbouring series: a lane is a series, a vector one step of each.
// Compiled once per instruction set, in the manner of Highway.
#if defined(FORESHADOW_KERNELS_CPU_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FORESHADOW_KERNELS_CPU_LANES_INL_H_
#undef FORESHADOW_KERNELS_CPU_LANES_INL_H_
#else
#define FORESHADOW_KERNELS_CPU_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "kernels/cpu/stl_memory.h"

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, kLanesMax>;
using V = hn::Vec<D>;
using M = hn::Mask<D>;
using I = hn::Vec<hn::RebindToSigned<D>>;

HWY_INLINE int64_t N() { return static_cast<int64_t>(hn::Lanes(D())); }
HWY_INLINE V At(const float* array, int64_t step) { return hn::Load(D(), array + step * N()); }
HWY_INLINE void Put(V v, float* array, int64_t step) { hn::Store(v, D(), array + step * N()); }
HWY_INLINE V Const(double value) { return hn::Set(D(), static_cast<float>(value)); }

}  // namespace HWY_NAMESPACE
}  // namespace foreshadow::kernels::cpu
HWY_AFTER_NAMESPACE();

#endif  // FORESHADOW_KERNELS_CPU_LANES_INL_H_
