// Scores on the GPU, a thread a series: neighbouring threads read neighbouring columns.
#pragma once

#include "kernels/algo/scores.h"

namespace foreshadow::kernels::cuda {

template <typename Device>
void Pinball(const PinballArgs& args) {
  Device::ForEach(args.actual.series, args.stream,
                  [args] FORESHADOW_PORTABLE(int64_t s) { args.loss[s] = PinballOf(args, s); });
}

template <typename Device>
void NaiveScale(const NaiveScaleArgs& args) {
  Device::ForEach(args.past.series, args.stream,
                  [args] FORESHADOW_PORTABLE(int64_t s) { args.scale[s] = NaiveScaleOf(args, s); });
}

template <typename Device>
void Mase(const MaseArgs& args) {
  Device::ForEach(args.actual.series, args.stream,
                  [args] FORESHADOW_PORTABLE(int64_t s) { args.mase[s] = MaseOf(args, s); });
}

}  // namespace foreshadow::kernels::cuda
