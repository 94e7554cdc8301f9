#include "models/empirical.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "kernels/algo/scores.h"
#include "models/sliding.h"

namespace foreshadow::models {
namespace {

// Numbers in the order of the floats (which are no NaN): negative ones count downwards.
uint32_t KeyOf(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return (bits >> 31) != 0 ? ~bits : bits | 0x8000'0000u;
}

float OfKey(uint32_t key) {
  return std::bit_cast<float>((key >> 31) != 0 ? key & 0x7fff'ffffu : ~key);
}

}  // namespace

// By their bytes, the lowest first: seven times as fast as std::sort for a few hundred. Highway's
// sort, as fast, leaves some inputs in disorder (1.0.3, where many are nearly equal).
void SortErrors(std::span<float> errors) {
  constexpr float kMost = std::numeric_limits<float>::max();
  constexpr int kDigits = sizeof(uint32_t);
  if (errors.empty()) return;
  static thread_local std::vector<uint32_t> keys;
  static thread_local std::vector<uint32_t> sorted;
  keys.resize(errors.size());
  sorted.resize(errors.size());
  std::array<std::array<uint32_t, 256>, kDigits> places{};  // first counts, then places
  const auto digit_of = [](uint32_t key, int digit) { return key >> (8 * digit) & 0xff; };
  for (size_t i = 0; i < errors.size(); ++i) {
    keys[i] = KeyOf(std::clamp(errors[i], -kMost, kMost));
    for (int digit = 0; digit < kDigits; ++digit) ++places[digit][digit_of(keys[i], digit)];
  }
  for (int digit = 0; digit < kDigits; ++digit) {
    auto& place = places[digit];
    if (place[digit_of(keys[0], digit)] == keys.size()) continue;  // all have the same
    uint32_t next = 0;
    for (uint32_t& count : place) next += std::exchange(count, next);
    for (const uint32_t key : keys) sorted[place[digit_of(key, digit)]++] = key;
    keys.swap(sorted);
  }
  std::ranges::transform(keys, errors.begin(), OfKey);
}

Offsets ErrorOffsets(std::span<float> errors, float magnitude) {
  SortErrors(errors);
  const PaddedOffsets padded = OffsetsOf(errors, magnitude);
  Offsets offsets;
  std::copy_n(padded.begin(), kQuantiles, offsets.begin());
  return offsets;
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

Offsets AgedOffsets(std::span<float> errors, float magnitude) {
  const auto count = std::ssize(errors);
  if (count < kErrorsMin) return ErrorOffsets(errors, magnitude);
  struct Aged {
    float error;
    float weight;
  };
  std::vector<Aged> sorted(errors.size());
  const double fades = std::exp2(-1.0 / kErrorHalfLife);
  double weight = 1;
  double total = 0;
  double squares = 0;
  constexpr float kMost = std::numeric_limits<float>::max();
  for (int64_t i = count; i-- > 0; weight *= fades) {
    sorted[i] = {std::clamp(errors[i], -kMost, kMost), static_cast<float>(weight)};
    total += weight;
    squares += weight * weight;
  }
  std::ranges::sort(sorted, {}, &Aged::error);
  // An error stands at the middle of its share; levels move outwards as the (n + 1) p rule has it.
  const double worth = total * total / squares;
  const auto place = [&](double before, const Aged& at) {
    return (before + 0.5 * at.weight) / total;
  };
  Offsets offsets{};
  double before = 0;  // weight of the errors below i
  int64_t i = 0;
  for (int q = 0; q < kQuantiles; ++q) {
    const double wanted = ((worth + 1) * double{kQuantileLevels[q]} - 0.5) / worth;
    while (i + 1 < count && place(before + sorted[i].weight, sorted[i + 1]) <= wanted) {
      before += sorted[i++].weight;
    }
    const double low = place(before, sorted[i]);
    const int64_t above = std::min(i + 1, count - 1);
    const double high = place(before + sorted[i].weight, sorted[above]);
    const double share = above == i ? 0 : std::clamp((wanted - low) / (high - low), 0.0, 1.0);
    const double at = (1 - share) * double{sorted[i].error} + share * double{sorted[above].error};
    if (q < kMedian) offsets[q] = static_cast<float>(std::min(at, 0.0));
    if (q > kMedian) offsets[q] = static_cast<float>(std::max(at, 0.0));
  }
  return offsets;
}

void WriteFromErrors(std::span<const float> points, std::span<const float> errors,
                     std::span<const float> weights, int parameters, float magnitude,
                     std::vector<float>& scratch, int64_t series, QuantileBlock& out) {
  std::vector<float> spread(points.size());
  double squares = 0;
  for (size_t step = 0; step < points.size(); ++step) {
    squares += static_cast<double>(weights[step]) * weights[step];
    spread[step] = static_cast<float>(std::sqrt(squares));
  }
  const auto n = static_cast<double>(
      std::ranges::count_if(errors, [](float error) { return !std::isnan(error); }));
  const double k = std::min<double>(parameters, n / 4);  // fewer samples say nothing of it
  const auto unseen = static_cast<float>(n > 0 ? std::sqrt((n + k) / (n - k)) : 1);
  std::vector<AtDistance> measured;
  for (const int distance : MeasuredDistances(static_cast<int>(points.size()))) {
    ErrorsAhead(errors, weights, distance, scratch);
    for (float& error : scratch) error *= unseen;
    const Offsets offsets = AgedOffsets(scratch, magnitude);
    AtDistance& at = measured.emplace_back();
    at.distance = distance;
    at.errors = static_cast<int>(scratch.size());
    std::ranges::copy(offsets, at.offsets.begin());
  }
  WriteRows(points, spread, measured, out.at(series, 0).data());
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
