// One series taken out of a batch, with what every analysis asks of it first.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/series.h"

namespace foreshadow::kernels::cpu {

struct Column {
  SeriesStatus status = SeriesStatus::kOk;
  int64_t present = 0;
};

// Copies a series. kNoData without a sample, kNotFinite with an infinity, kConstant without
// variation.
inline Column ReadColumn(StepMajor<const float> from, int64_t series, std::span<float> to) {
  Column column;
  float low = 0;
  float high = 0;
  for (int64_t i = 0; i < from.steps; ++i) {
    const float value = from.at(i, series);
    to[i] = value;
    if (std::isnan(value)) continue;
    if (std::isinf(value)) column.status = SeriesStatus::kNotFinite;
    low = column.present == 0 ? value : std::min(low, value);
    high = column.present == 0 ? value : std::max(high, value);
    ++column.present;
  }
  if (column.status != SeriesStatus::kOk) return column;
  if (column.present == 0)
    column.status = SeriesStatus::kNoData;
  else if (low == high)
    column.status = SeriesStatus::kConstant;
  return column;
}

// Median of the values, which are reordered.
inline float MedianOf(std::span<float> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

}  // namespace foreshadow::kernels::cpu
