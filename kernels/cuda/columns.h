// Gathering columns and taking seasons out on the GPU: neighbouring threads have neighbouring
// columns, and those that are gathered lie in order, so that reads and writes mostly coalesce.
#pragma once

#include "kernels/algo/columns.h"

namespace foreshadow::kernels::cuda {

inline constexpr int64_t kGatherSteps = 32;  // of a thread

template <typename Device>
void Gather(const GatherArgs& args) {
  CheckGather(args);
  const int64_t series = args.to.series;
  const int64_t pieces = (args.to.steps + kGatherSteps - 1) / kGatherSteps;
  Device::ForEach(series * pieces, args.stream, [=] FORESHADOW_PORTABLE(int64_t i) {
    const int64_t s = i % series;
    const int64_t column = args.columns.empty() ? s : args.columns[s];
    const int64_t first = i / series * kGatherSteps;
    for (int64_t step = first; step < first + kGatherSteps && step < args.to.steps; ++step) {
      args.to.at(step, s) = args.from.at(step, column);
    }
  });
}

// One step of one decomposed series.
FORESHADOW_PORTABLE inline void DeseasonStep(const DeseasonArgs& args, int64_t step, int64_t series,
                                             StrengthSums& sums) {
  const float seasonal = args.seasonal.at(step, series);
  const float remainder = args.remainder.at(step, series);
  const int32_t column = args.columns[series];
  args.residual.at(step, column) = remainder;
  args.level.at(step, column) -= seasonal;
  AddStrength(seasonal, remainder, sums);
}

template <typename Device>
void Deseason(const DeseasonArgs& args) {
  CheckDeseason(args);
  Device::ForEach(args.remainder.series, args.stream, [args] FORESHADOW_PORTABLE(int64_t s) {
    StrengthSums sums;
    if (args.decomposed[s] == SeriesStatus::kOk) {
      for (int64_t step = 0; step < args.remainder.steps; ++step) {
        DeseasonStep(args, step, s, sums);
      }
    }
    DeseasonEnd(args, s, sums);
  });
}

}  // namespace foreshadow::kernels::cuda
