// Rows of floats as vectors of doubles: a lane a series. Sums of doubles keep what single precision
// would lose, whatever a series's level. Included once per instruction set.
#if defined(FORESHADOW_KERNELS_CPU_WIDE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FORESHADOW_KERNELS_CPU_WIDE_INL_H_
#undef FORESHADOW_KERNELS_CPU_WIDE_INL_H_
#else
#define FORESHADOW_KERNELS_CPU_WIDE_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "kernels/cpu/wide.h"
#include "kernels/series.h"

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using Doubles = hn::ScalableTag<double>;
using Wide = hn::Vec<Doubles>;
using Floats = hn::Rebind<float, Doubles>;  // as many lanes

static_assert(hn::MaxLanes(Doubles()) <= kWideLanesMax);

HWY_INLINE int64_t WideLanes() { return static_cast<int64_t>(hn::Lanes(Doubles())); }

// `count` neighbours; lanes beyond them repeat the first, so that nothing past the row is read and
// no lane holds a value of its own.
HWY_INLINE hn::Vec<Floats> LoadNarrow(const float* from, int64_t count) {
  const Floats f;
  if (HWY_LIKELY(count >= WideLanes())) return hn::LoadU(f, from);
  HWY_ALIGN float lanes[hn::MaxLanes(f)];
  hn::Store(hn::Set(f, from[0]), f, lanes);
  std::memcpy(lanes, from, static_cast<size_t>(count) * sizeof(float));
  return hn::Load(f, lanes);
}

HWY_INLINE Wide LoadWide(const float* from, int64_t count) {
  return hn::PromoteTo(Doubles(), LoadNarrow(from, count));
}

// Copies some columns to [vector][step][lane]: work on one vector of series at a time then reads
// memory in order, and each row is fetched from far away once.
inline void PackColumns(StepMajor<const float> from, int64_t first, int64_t count, float* to) {
  const int64_t lanes = WideLanes();
  for (int64_t step = 0; step < from.steps; ++step) {
    for (int64_t i = 0; i < count; i += lanes) {
      hn::StoreU(LoadNarrow(&from.at(step, first + i), count - i), Floats(),
                 to + i * from.steps + step * lanes);
    }
  }
}

HWY_INLINE void StoreWide(Wide values, int64_t count, float* to) {
  const Floats f;
  const auto narrow = hn::DemoteTo(f, values);
  if (HWY_LIKELY(count >= WideLanes())) {
    hn::StoreU(narrow, f, to);
    return;
  }
  HWY_ALIGN float lanes[hn::MaxLanes(f)];
  hn::Store(narrow, f, lanes);
  std::memcpy(to, lanes, static_cast<size_t>(count) * sizeof(float));
}

}  // namespace foreshadow::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
