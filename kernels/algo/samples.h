// What a series's samples are worth.
#pragma once

#include <cmath>

#include "kernels/algo/portable.h"
#include "kernels/series.h"

namespace foreshadow::kernels {

// Of the count of samples, the least and the largest.
FORESHADOW_PORTABLE inline SeriesStatus SamplesStatus(double present, double low, double high) {
  if (present == 0) return SeriesStatus::kNoData;
  if (std::isinf(low) || std::isinf(high)) return SeriesStatus::kNotFinite;
  return low == high ? SeriesStatus::kConstant : SeriesStatus::kOk;
}

}  // namespace foreshadow::kernels
