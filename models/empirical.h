// What the simple models share: a history's samples, and quantiles from a model's own past errors.
// Pure functions over the caller's memory; any thread.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "models/forecaster.h"

namespace foreshadow::models {

using Offsets = std::array<float, kQuantiles>;  // to be added to the point forecast, ascending

// Cuts errors, which are not NaN, to finite ones and puts them in ascending order.
void SortErrors(std::span<float> errors);

// The offsets that errors speak for, see OffsetsOf (models/sliding.h). Reorders them.
Offsets ErrorOffsets(std::span<float> errors, float magnitude);

// point + offsets, cut to [0, largest float].
inline void WriteQuantiles(float point, const Offsets& offsets, std::span<float> row) {
  constexpr float kMost = std::numeric_limits<float>::max();
  float* const to = row.data();
  for (int q = 0; q < kQuantiles; ++q) to[q] = std::min(std::max(point + offsets[q], 0.0f), kMost);
}

// The row of every step 1..points.size() of `series`: points[step - 1] with the quantiles of the
// model's errors at that distance. Those of a few distances are asked for (`errors_at` gives errors
// that this may reorder), between them is a line: neighbours differ little. Where too few were
// seen, which is far ahead, those before grow as `spread` [steps] does.
void WriteByDistance(std::span<const float> points, std::span<const float> spread, float magnitude,
                     const std::function<std::span<float>(int distance)>& errors_at, int64_t series,
                     QuantileBlock& out);

// What a model that each error of one step moves would have erred by at a distance, had it stood
// still at that many steps before (Hyndman, Koehler, Ord and Snyder 2008, section 6.1): error(t) +
// sum of weights[j] error(t - j) for 0 < j < distance. One pass of the model so gives its held-out
// errors at all distances. Windows with a gap (NaN) are left out; weights[0] is 1.
void ErrorsAhead(std::span<const float> errors, std::span<const float> weights, int distance,
                 std::vector<float>& out);

// The offsets that errors speak for that are not exchangeable, oldest first: one counts half as
// much as one kErrorHalfLife later (Barber, Candes, Ramdas and Tibshirani 2023, "Conformal
// prediction beyond exchangeability", section 3.1), and the (n + 1) p rule is that of as many as
// their weights are worth (Kish 1965). With equal weights it is ErrorOffsets, to which fewer than
// kErrorsMin errors are left.
inline constexpr int kErrorHalfLife = 72;  // 6 h of 5 min; worth some 200 errors of one age
Offsets AgedOffsets(std::span<float> errors, float magnitude);

// What such a model's errors make of its points: AgedOffsets of each distance. The errors are those
// of the samples that the model was fitted to with `parameters` coefficients: what it has not seen
// will be off by more, by Akaike's sqrt((n + k) / (n - k)) (1969, "Fitting autoregressive models
// for prediction"). `errors` are those of one step, oldest first; `scratch` is overwritten.
void WriteFromErrors(std::span<const float> points, std::span<const float> errors,
                     std::span<const float> weights, int parameters, float magnitude,
                     std::vector<float>& scratch, int64_t series, QuantileBlock& out);

// Mean over the levels of the pinball loss of quantiles (Koenker and Bassett 1978).
double MeanPinball(double actual, std::span<const float> quantiles);

// Marks a series that has no answer.
void WriteMissing(ForecastStatus status, int64_t series, QuantileBlock& out);

// INVALID_ARGUMENT naming the field unless the arrays fit each other and steps is in 1..steps_max.
absl::Status CheckHistory(const History& history, int steps, int steps_max);

// One series, contiguous, oldest first; what is not finite becomes NaN. `column` has room for
// history.values.steps.
void CopyColumn(const History& history, int64_t series, std::span<float> column);

}  // namespace foreshadow::models
