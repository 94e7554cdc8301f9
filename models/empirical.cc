#include "models/empirical.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/algo/scores.h"

namespace foreshadow::models {
namespace {

constexpr float kMost = std::numeric_limits<float>::max();
constexpr float kPriorScale = 0.25f;  // of the magnitude: a value is easily half off, rarely twice

float LaplaceQuantile(float level) {
  return level < 0.5f ? std::log(2 * level) : -std::log(2 * (1 - level));
}

float SortedQuantile(std::span<const float> sorted, double level) {
  const double last = static_cast<double>(sorted.size()) - 1;
  const double rank = std::clamp((last + 2) * level - 1, 0.0, last);
  const auto below = static_cast<size_t>(rank);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  const float share = static_cast<float>(rank - static_cast<double>(below));
  return std::lerp(sorted[below], sorted[above], share);  // neither overflows nor leaves the two
}

}  // namespace

Offsets ErrorOffsets(std::span<float> errors, float magnitude) {
  for (float& error : errors) error = std::clamp(error, -kMost, kMost);
  std::sort(errors.begin(), errors.end());
  const float trust = std::min(1.0f, static_cast<float>(errors.size()) / kErrorsMin);
  Offsets offsets;
  for (int q = 0; q < kQuantiles; ++q) {
    const float level = kQuantileLevels[q];
    const float prior = kPriorScale * std::fabs(magnitude) * LaplaceQuantile(level);
    const float seen = errors.empty() ? 0 : SortedQuantile(errors, level);
    const float offset = trust * seen + (1 - trust) * prior;
    offsets[q] = level < 0.5f   ? std::min(offset, 0.0f)
                 : level > 0.5f ? std::max(offset, 0.0f)
                                : 0.0f;
  }
  return offsets;
}

void WriteQuantiles(float point, const Offsets& offsets, std::span<float> row) {
  for (int q = 0; q < kQuantiles; ++q) {
    row[q] = std::clamp(point + offsets[q], 0.0f, std::numeric_limits<float>::max());
  }
}

namespace {

// Distances whose errors are measured.
int NextAnchor(int anchor) { return anchor < 3 ? anchor + 1 : 2 * anchor; }

}  // namespace

void WriteByDistance(std::span<const float> points, std::span<const float> spread, float magnitude,
                     const std::function<std::span<float>(int distance)>& errors_at, int64_t series,
                     QuantileBlock& out) {
  const auto steps = static_cast<int>(points.size());
  int before = 0;
  Offsets offsets_before{};
  for (int anchor = 1; before < steps; anchor = NextAnchor(anchor)) {
    const int end = std::min(anchor, steps);
    const std::span<float> errors = errors_at(end);
    Offsets offsets;
    if (std::ssize(errors) >= kErrorsMin || before == 0) {
      offsets = ErrorOffsets(errors, magnitude);
    } else {
      const float growth = spread[end - 1] / spread[before - 1];
      for (int q = 0; q < kQuantiles; ++q) offsets[q] = growth * offsets_before[q];
    }
    for (int step = before; step < end; ++step) {
      const float share = static_cast<float>(step + 1 - before) / static_cast<float>(end - before);
      Offsets between;
      for (int q = 0; q < kQuantiles; ++q) {
        between[q] = offsets_before[q] + share * (offsets[q] - offsets_before[q]);
      }
      WriteQuantiles(points[step], between, out.at(series, step));
    }
    before = end;
    offsets_before = offsets;
  }
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
