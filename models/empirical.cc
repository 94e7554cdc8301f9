#include "models/empirical.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace foreshadow::models {
namespace {

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
  return sorted[below] + share * (sorted[above] - sorted[below]);
}

}  // namespace

Offsets ErrorOffsets(std::span<float> errors, float magnitude) {
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
