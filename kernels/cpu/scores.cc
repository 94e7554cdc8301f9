#include "kernels/cpu/scores.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/scores.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "kernels/algo/scores.h"
#include "kernels/check.h"
#include "kernels/cpu/wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu::HWY_NAMESPACE {
namespace {

// Series that one sweep over the rows takes: a page of each row, and their sums fit the L1 cache.
constexpr int64_t kBlockSeries = 1024;

// Mean over the steps of term(step, series, lanes), NaN left out; NaN where nothing is left. Rows
// are read in order, so that memory streams.
template <typename Term>
void MeanOverSteps(int64_t steps, int64_t series, float* mean, Term term) {
  const Doubles d;
  const int64_t lanes = WideLanes();
  HWY_ALIGN double sum[kBlockSeries];
  HWY_ALIGN double count[kBlockSeries];
  for (int64_t first = 0; first < series; first += kBlockSeries) {
    const int64_t width = std::min(kBlockSeries, series - first);
    std::fill_n(sum, kBlockSeries, 0.0);
    std::fill_n(count, kBlockSeries, 0.0);
    for (int64_t step = 0; step < steps; ++step) {
      for (int64_t i = 0; i < width; i += lanes) {
        const Wide value = term(step, first + i, std::min(lanes, width - i));
        const auto there = hn::Eq(value, value);
        hn::Store(hn::Add(hn::Load(d, sum + i), hn::IfThenElseZero(there, value)), d, sum + i);
        hn::Store(hn::Add(hn::Load(d, count + i), hn::IfThenElseZero(there, hn::Set(d, 1.0))), d,
                  count + i);
      }
    }
    for (int64_t i = 0; i < width; i += lanes) {
      StoreWide(hn::Div(hn::Load(d, sum + i), hn::Load(d, count + i)), std::min(lanes, width - i),
                mean + first + i);
    }
  }
}

void Pinball(const PinballArgs& args) {
  const Doubles d;
  const Wide above = hn::Set(d, double{args.level});
  const Wide below = hn::Set(d, double{args.level} - 1);
  MeanOverSteps(args.actual.steps, args.actual.series, args.loss.data(),
                [&](int64_t step, int64_t s, int64_t lanes) HWY_ATTR {
                  const Wide off = hn::Sub(LoadWide(&args.actual.at(step, s), lanes),
                                           LoadWide(&args.forecast.at(step, s), lanes));
                  return hn::IfThenElse(hn::Ge(off, hn::Zero(d)), hn::Mul(above, off),
                                        hn::Mul(below, off));
                });
}

void NaiveScale(const NaiveScaleArgs& args) {
  MeanOverSteps(args.past.steps - args.season, args.past.series, args.scale.data(),
                [&](int64_t step, int64_t s, int64_t lanes) HWY_ATTR {
                  return hn::Abs(hn::Sub(LoadWide(&args.past.at(step + args.season, s), lanes),
                                         LoadWide(&args.past.at(step, s), lanes)));
                });
}

void Mase(const MaseArgs& args) {
  MeanOverSteps(args.actual.steps, args.actual.series, args.mase.data(),
                [&](int64_t step, int64_t s, int64_t lanes) HWY_ATTR {
                  return hn::Abs(hn::Sub(LoadWide(&args.actual.at(step, s), lanes),
                                         LoadWide(&args.forecast.at(step, s), lanes)));
                });
  for (int64_t s = 0; s < args.actual.series; ++s) {
    args.mase[s] =
        args.scale[s] > 0 ? args.mase[s] / args.scale[s] : std::numeric_limits<float>::quiet_NaN();
  }
}

}  // namespace
}  // namespace foreshadow::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foreshadow::kernels::cpu {

HWY_EXPORT(Pinball);
HWY_EXPORT(NaiveScale);
HWY_EXPORT(Mase);

void Pinball(const PinballArgs& args) {
  FORESHADOW_CHECK(args.actual.steps == args.forecast.steps);
  FORESHADOW_CHECK(args.actual.series == args.forecast.series);
  FORESHADOW_CHECK(std::ssize(args.loss) == args.actual.series);
  FORESHADOW_CHECK(args.level >= 0 && args.level <= 1);
  HWY_DYNAMIC_DISPATCH(Pinball)(args);
}

void NaiveScale(const NaiveScaleArgs& args) {
  FORESHADOW_CHECK(args.season >= 1 && std::ssize(args.scale) == args.past.series);
  HWY_DYNAMIC_DISPATCH(NaiveScale)(args);
}

void Mase(const MaseArgs& args) {
  FORESHADOW_CHECK(args.actual.steps == args.forecast.steps);
  FORESHADOW_CHECK(args.actual.series == args.forecast.series);
  FORESHADOW_CHECK(std::ssize(args.scale) == args.actual.series);
  FORESHADOW_CHECK(std::ssize(args.mase) == args.actual.series);
  HWY_DYNAMIC_DISPATCH(Mase)(args);
}

}  // namespace foreshadow::kernels::cpu
#endif
