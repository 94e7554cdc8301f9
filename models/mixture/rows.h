// The inner loop of the mixture: of one series the models' quantiles, step by step, averaged level
// by level, stretched about the median and put in order.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "kernels/algo/round_up.h"
#include "models/forecaster.h"

namespace foreshadow::models {

// A row of quantiles in whole vectors; what is beyond kQuantiles is read and not used.
inline constexpr int kPaddedRow = 16;
using PaddedRow = std::array<float, kPaddedRow>;

constexpr size_t Padded(size_t count) { return kernels::RoundUp(count, kPaddedRow); }

// A log weight so far below the best is no weight: e^-80.
inline constexpr float kLogWeightMin = -80;

// e^x, to 6e-6 of it, for each x up to 80, in place; 0 for those not above kLogWeightMin. Whole
// vectors: Padded(n) of them.
void Exponentials(std::span<float> values);

// values x scale to the nearest whole number, cut to -127 .. 127. Whole vectors.
void RoundScaled(std::span<const float> values, float scale, std::span<int8_t> rounded);

// Where a step lies between two judged distances.
struct Between {
  int low;
  int high;
  float share;  // of high
};

struct RowsToMix {
  std::span<const float* const> rows;  // [model] its [step][kQuantiles]
  std::span<const PaddedRow> weights;  // [judged distance][model]
  std::span<const uint8_t> leaders;    // [judged distance] the model that weighs most in the median
  std::span<const PaddedRow> factors;  // [judged distance] of the gaps about the median
  std::span<const Between> places;     // [step]
  float most;                          // beyond which nothing is said
};

// Fills [step][kQuantiles]; values are finite, in order, and from 0 to `most`. `last_rows` [model]
// is scratch.
void MixSteps(const RowsToMix& in, std::span<PaddedRow> last_rows, float* out);

}  // namespace foreshadow::models
