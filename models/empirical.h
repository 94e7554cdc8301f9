// What the simple models share: a history's samples, and quantiles from a model's own past errors.
// Pure functions over the caller's memory; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "models/forecaster.h"

namespace foreshadow::models {

using Offsets = std::array<float, kQuantiles>;  // to be added to the point forecast, ascending

// Fewer past errors than this say little: the prior below then takes its share.
inline constexpr int kErrorsMin = 8;

// Empirical quantiles of the errors (actual minus forecast) by the (n + 1) p rule, the median put
// at zero and each other level kept on its side of it, so that the point forecast stays the median.
// With fewer than kErrorsMin errors they lean, in proportion, on a Laplace law whose scale is a
// quarter of `magnitude`. Reorders `errors`, which are finite.
Offsets ErrorOffsets(std::span<float> errors, float magnitude);

// point + offsets, cut to [0, largest float].
void WriteQuantiles(float point, const Offsets& offsets, std::span<float> row);

// Marks a series that has no answer.
void WriteMissing(ForecastStatus status, int64_t series, QuantileBlock& out);

// INVALID_ARGUMENT naming the field unless the arrays fit each other and steps is in 1..steps_max.
absl::Status CheckHistory(const History& history, int steps, int steps_max);

// One series, contiguous, oldest first; what is not finite becomes NaN. `column` has room for
// history.values.steps.
void CopyColumn(const History& history, int64_t series, std::span<float> column);

}  // namespace foreshadow::models
