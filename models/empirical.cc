#include "models/empirical.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "hwy/contrib/sort/vqsort.h"
#include "kernels/algo/scores.h"
#include "models/sliding.h"

namespace foreshadow::models {

void SortErrors(std::span<float> errors) {
  constexpr float kMost = std::numeric_limits<float>::max();
  for (float& error : errors) error = std::clamp(error, -kMost, kMost);
  hwy::Sorter()(errors.data(), errors.size(), hwy::SortAscending());
}

Offsets ErrorOffsets(std::span<float> errors, float magnitude) {
  SortErrors(errors);
  const PaddedOffsets padded = OffsetsOf(errors, magnitude);
  Offsets offsets;
  std::copy_n(padded.begin(), kQuantiles, offsets.begin());
  return offsets;
}

void WriteQuantiles(float point, const Offsets& offsets, std::span<float> row) {
  for (int q = 0; q < kQuantiles; ++q) {
    row[q] = std::clamp(point + offsets[q], 0.0f, std::numeric_limits<float>::max());
  }
}

void WriteByDistance(std::span<const float> points, std::span<const float> spread, float magnitude,
                     const std::function<std::span<float>(int distance)>& errors_at, int64_t series,
                     QuantileBlock& out) {
  std::vector<AtDistance> measured;
  for (const int distance : MeasuredDistances(static_cast<int>(points.size()))) {
    const std::span<float> errors = errors_at(distance);
    SortErrors(errors);
    measured.push_back({distance, static_cast<int>(errors.size()), OffsetsOf(errors, magnitude)});
  }
  WriteRows(points, spread, measured, out.at(series, 0).data());
}

void ErrorsAhead(std::span<const float> errors, std::span<const float> weights, int distance,
                 std::vector<float>& out) {
  out.clear();
  int64_t run = 0;  // errors without a gap up to this one
  for (int64_t t = 0; t < std::ssize(errors); ++t) {
    run = std::isnan(errors[t]) ? 0 : run + 1;
    if (run < distance) continue;
    float sum = 0;
    for (int j = 0; j < distance; ++j) sum += weights[j] * errors[t - j];
    if (std::isfinite(sum)) out.push_back(sum);
  }
}

void WriteFromErrors(std::span<const float> points, std::span<const float> errors,
                     std::span<const float> weights, float magnitude, std::vector<float>& scratch,
                     int64_t series, QuantileBlock& out) {
  std::vector<float> spread(points.size());
  double variance = 0;
  for (size_t step = 0; step < points.size(); ++step) {
    variance += static_cast<double>(weights[step]) * weights[step];
    spread[step] = static_cast<float>(std::sqrt(variance));
  }
  const auto errors_at = [&](int distance) -> std::span<float> {
    ErrorsAhead(errors, weights, distance, scratch);
    return scratch;
  };
  WriteByDistance(points, spread, magnitude, errors_at, series, out);
}

double MeanPinball(double actual, std::span<const float> quantiles) {
  double sum = 0;
  for (int q = 0; q < kQuantiles; ++q) {
    sum += kernels::Pinball(actual, quantiles[q], kQuantileLevels[q]);
  }
  return sum / kQuantiles;
}

void WriteMissing(ForecastStatus status, int64_t series, QuantileBlock& out) {
  out.status[series] = status;
  for (int step = 0; step < out.steps; ++step) {
    std::ranges::fill(out.at(series, step), std::numeric_limits<float>::quiet_NaN());
  }
}

absl::Status CheckHistory(const History& history, int steps, int steps_max) {
  const int64_t series = history.values.series;
  if (steps < 1 || steps > steps_max) {
    return absl::InvalidArgumentError(
        fmt::format("steps is {}: allowed is 1 to {}", steps, steps_max));
  }
  if (history.step_ms <= 0) {
    return absl::InvalidArgumentError(
        fmt::format("step_ms is {}: it must be above 0", history.step_ms));
  }
  if (std::ssize(history.signals) != series || std::ssize(history.periods) != series) {
    return absl::InvalidArgumentError(
        fmt::format("signals has {} and periods {} entries for {} series", history.signals.size(),
                    history.periods.size(), series));
  }
  return absl::OkStatus();
}

void CopyColumn(const History& history, int64_t series, std::span<float> column) {
  for (int64_t step = 0; step < history.values.steps; ++step) {
    const float value = history.values.at(step, series);
    column[step] = std::isfinite(value) ? value : std::numeric_limits<float>::quiet_NaN();
  }
}

}  // namespace foreshadow::models
