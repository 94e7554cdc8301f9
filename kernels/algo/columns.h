// What the two backends share of gathering columns and of taking seasons out.
#pragma once

#include <iterator>

#include "kernels/algo/portable.h"
#include "kernels/algo/strength.h"
#include "kernels/check.h"
#include "kernels/ops.h"

namespace foreshadow::kernels {

inline void CheckGather(const GatherArgs& args) {
  FORESHADOW_CHECK(args.to.steps == args.from.steps);
  FORESHADOW_CHECK(args.columns.empty() ? args.to.series == args.from.series
                                        : args.to.series == std::ssize(args.columns));
}

inline void CheckDeseason(const DeseasonArgs& args) {
  const auto& remainder = args.remainder;
  for (const StepMajor<const float>& part : {args.seasonal, args.trend}) {
    FORESHADOW_CHECK(part.steps == remainder.steps && part.series == remainder.series);
  }
  FORESHADOW_CHECK(args.residual.steps == remainder.steps && args.level.steps == remainder.steps);
  FORESHADOW_CHECK(std::ssize(args.decomposed) == remainder.series);
  FORESHADOW_CHECK(std::ssize(args.columns) == remainder.series);
  FORESHADOW_CHECK(std::ssize(args.slope) == remainder.series);
  FORESHADOW_CHECK(std::ssize(args.strength) == remainder.series);
  FORESHADOW_CHECK(args.slope_steps >= 1 && args.slope_steps < remainder.steps);
}

// What is said of a series, after its last step.
FORESHADOW_PORTABLE inline void DeseasonEnd(const DeseasonArgs& args, int64_t series,
                                            const StrengthSums& sums) {
  const bool is_decomposed = args.decomposed[series] == SeriesStatus::kOk;
  const int64_t last = args.trend.steps - 1;
  const float rise = args.trend.at(last, series) - args.trend.at(last - args.slope_steps, series);
  args.slope[series] = is_decomposed ? rise / static_cast<float>(args.slope_steps) : 0;
  args.strength[series] = is_decomposed ? static_cast<float>(StrengthOf(sums)) : 0;
}

}  // namespace foreshadow::kernels
