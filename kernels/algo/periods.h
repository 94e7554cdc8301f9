// What the twins of period detection share besides its text (periods-inl.h): the sizes that follow
// from a batch's shape and the memory of one series at work.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/algo/portable.h"
#include "kernels/algo/round_up.h"
#include "kernels/ops.h"

namespace foreshadow::kernels {

inline constexpr int64_t kPeriodSamplesMin = 16;  // fewer say nothing about a spectrum
// Positions are counted in floats, which are exact up to here.
inline constexpr int64_t kPeriodSamplesMax = int64_t{1} << 23;
inline constexpr int kReds = 18;   // lag-one correlations of noise that are tried,
inline constexpr int kWhites = 6;  // with none and ever larger shares of white noise on top
inline constexpr int kNoises = kReds * kWhites;
inline constexpr int kNoisesPadded = RoundUp(kNoises, 16);  // so that whole vectors fit
inline constexpr int kBandsMax = 64;
inline constexpr int kOctavesMax = 24;
inline constexpr int kKeptMax = 8;        // cycles a series; forecasts use up to three
inline constexpr int kPeriodLooks = 4;    // at most: one for the trend, the others for cycles
inline constexpr int64_t kMirrored = 2;   // ordinates that the taper reaches past the ends
inline constexpr int64_t kRowSlack = 32;  // floats a vector may read past the end of an array

// Ordinates of the spectrum whose noise is looked at together.
struct Band {
  int32_t first;
  int32_t size;
};

// All that does not depend on the samples. Plain data, given to the GPU by value.
struct PeriodShape {
  int64_t steps;
  int64_t padded;  // of the transforms: two lengths or more, a circular correlation must not wrap
  int64_t ordinates;   // padded / 2 + 1
  int64_t min_period;  // that are looked for
  int64_t max_period;
  int64_t reported_min;  // and told: a cycle outside still hides others
  int64_t reported_max;
  int reported;        // a series, at most
  int64_t first;       // ordinate of the longest period,
  int64_t last;        // and of the shortest
  float threshold;     // of power over noise: noise passes it anywhere with the chosen chance
  float taper_cosine;  // of the angle at which the taper lies in the middle of the samples
  float taper_sine;
  float taper_end;  // its height at the ends of the samples
  int bands_count;
  int octaves_count;
  Band bands[kBandsMax];      // that widen with the frequency: the shape of the noise
  Band octaves[kOctavesMax];  // likewise, by a factor of two
  float reds[kReds];
  float whites[kWhites];
};

// Of checked arguments and at least kPeriodSamplesMin steps.
PeriodShape ShapeOf(const PeriodArgs& args);
// CHECKs for the caller's bugs, all but the size of the workspace.
void CheckPeriodArgs(const PeriodArgs& args);

// Tables that the series share: pure functions of the shape.
struct PeriodTables {
  float* cosines;     // [ordinates] of the ordinate's angle
  float* noise_logs;  // [bands][kNoisesPadded] log of NoiseShape in the middle of the band
};

struct KeptCycle {
  int32_t period;
  float strength;  // autocorrelation of the series at it
  float excess;    // of its peak over the noise
};

struct PeriodState {
  int64_t present;  // samples that are there
  float red;        // the noise: AR(1) with this lag-one correlation,
  float white;      // but for this share of it
  float slope;      // of the line that the fit of the trend took away, a step,
  float level;      // and its value in the middle
  float whole;      // sum of squares of the values before any cycle was taken out,
  float share;      // and what the values have of it now
  int count;        // of cycles kept
  KeptCycle kept[kKeptMax];
  SeriesStatus status;
  bool gaps;
  bool news;  // a cycle was added by the last look
  bool done;  // nothing is left to look for
};

// The memory of one series. Every array has kRowSlack floats more than it says, for the vectors.
struct PeriodRow {
  float* values;       // [padded] zero where missing and beyond the steps
  float* present;      // [steps] 1, or 0 where missing; zeros follow
  float* correlation;  // [padded] at each lag, over the pairs that are there
  float* pairs;        // [padded] with gaps: pairs at each lag
  float* spectrum;     // [2 ordinates] real and imaginary parts; kMirrored more on either side
  float* power;        // [ordinates] of the tapered values; then the combs of the lags
  float* excess;       // [ordinates] power over noise; of candidates only, once there are
  float* scratch;      // [bands and noises]
  PeriodState* state;
};

inline constexpr int64_t kRowScratch = kBandsMax + 2 * kNoisesPadded;
inline constexpr int64_t kStateFloats = 64;
static_assert(sizeof(PeriodState) <= kStateFloats * sizeof(float));

// The same walk sizes the memory and hands it out: take(floats) gives their place.
template <typename Take>
FORESHADOW_PORTABLE PeriodRow CarveRow(const PeriodShape& shape, Take take) {
  PeriodRow row;
  row.values = take(shape.padded + kRowSlack);
  row.present = take(shape.steps + kRowSlack);
  row.correlation = take(shape.padded + kRowSlack);
  row.pairs = take(shape.padded + kRowSlack);
  row.spectrum = take(2 * (shape.ordinates + 2 * kMirrored + kRowSlack));
  row.power = take(shape.ordinates + kRowSlack);
  row.excess = take(shape.ordinates + kRowSlack);
  row.scratch = take(kRowScratch + kRowSlack);
  row.state = reinterpret_cast<PeriodState*>(take(kStateFloats));
  return row;
}

FORESHADOW_PORTABLE constexpr int64_t WholeLines(int64_t floats) { return RoundUp(floats, 32); }

FORESHADOW_PORTABLE inline PeriodRow RowAt(const PeriodShape& shape, float* memory) {
  PeriodRow row = CarveRow(shape, [&memory](int64_t floats) {
    float* taken = memory;
    memory += WholeLines(floats);
    return taken;
  });
  row.spectrum += 2 * kMirrored;
  return row;
}

// Floats of a row and, likewise, of the tables.
int64_t RowFloats(const PeriodShape& shape);
int64_t TableFloats(const PeriodShape& shape);

FORESHADOW_PORTABLE inline PeriodTables TablesAt(const PeriodShape& shape, float* memory) {
  return {memory, memory + WholeLines(shape.ordinates + kRowSlack)};
}

// The spectrum of noise of variance one, at the angle of that cosine: of an AR(1) process and, in a
// share of the variance, of white noise, which gaps and measurement add.
FORESHADOW_PORTABLE inline double NoiseShape(double red, double white, double cosine) {
  return (1 - white) * (1 - red * red) / (1 + red * red - 2 * red * cosine) + white;
}

// Items of the tables: fill each of 0..TableItems-1, in any order.
FORESHADOW_PORTABLE constexpr int64_t TableItems(const PeriodShape& shape) {
  return shape.ordinates + int64_t{shape.bands_count} * kNoises;
}
FORESHADOW_PORTABLE inline void FillTable(const PeriodShape& shape, const PeriodTables& tables,
                                          int64_t item) {
  constexpr double kTwoPi = 6.283185307179586;
  const double turn = kTwoPi / static_cast<double>(shape.padded);
  if (item < shape.ordinates) {
    tables.cosines[item] = static_cast<float>(std::cos(turn * static_cast<double>(item)));
    return;
  }
  const int64_t pair = item - shape.ordinates;
  const Band band = shape.bands[pair / kNoises];
  const int64_t noise = pair % kNoises;
  const auto first = static_cast<double>(band.first);
  const double middle = std::sqrt(first * (first + static_cast<double>(band.size)));
  tables.noise_logs[pair / kNoises * kNoisesPadded + noise] = static_cast<float>(std::log(
      NoiseShape(shape.reds[noise % kReds], shape.whites[noise / kReds], std::cos(turn * middle))));
}

}  // namespace foreshadow::kernels
