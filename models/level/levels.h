// What the models of a level make of a series' samples: the level of each step, the errors it had,
// and the answer from the history alone. Plain functions; any thread, a Scratch to each.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "models/level/level.h"
#include "models/sliding.h"

namespace foreshadow::models::level {

inline constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
inline constexpr int64_t kNever = std::numeric_limits<int64_t>::min() / 2;
inline constexpr int kErrorsMax = 288;  // a day of 5 min: enough for the outer levels
// Silence up to which the errors at the distances since the last sample are found in what is
// carried; they are farther back by it.
inline constexpr int kSpareSteps = 16;
inline constexpr int kLateSteps = 12;  // samples that come so much later than their step are seen
// Steps are counted from so many before 1970, so that none is negative.
inline constexpr int64_t kEpochSteps = int64_t{1} << 40;

// What is the same for all series of a call.
struct Call {
  LevelKind kind;
  int steps;
  History newest;         // the part that the forecast rests on, however long that of others
  int64_t silence_steps;  // a level older than these is none
  int hour_steps;
  int64_t ring_steps;  // that are carried
  int64_t end_step;
  std::vector<int> distances;
  std::vector<float> spread;  // [steps] as a random walk's

  // Errors at a distance, at most; the first steps of those that are carried are their levels only.
  int64_t ErrorsAt(int distance) const { return kErrorsMax + steps - distance; }
  float sample(int64_t row, int64_t s) const {
    const float value = newest.values.at(row, s);
    return std::isfinite(value) ? value : kNone;
  }
  int64_t step_of(int64_t row) const { return end_step - (newest.values.steps - 1 - row); }
};

// Of one thread, reused from series to series.
struct Scratch {
  std::vector<float> samples;  // of one series, NaN = missing
  std::vector<float> levels;   // what the model says at each step
  std::vector<float> errors;
  std::vector<float> recent;
  std::vector<float> sorted;  // the last hour's
  std::vector<float> ring;    // samples by place
  std::vector<float> points;
  std::vector<AtDistance> measured;
};

Call CallOf(LevelKind kind, const History& history, int steps);

float Mean(std::span<const float> values);

// Copies the samples that are there, and returns how many.
size_t KeepThere(std::span<const float> samples, float* there);

// The newest part of the history into scratch.samples; returns how old its newest sample is,
// kNever's age if it has none.
int64_t TakeSamples(const Call& call, int64_t s, Scratch& scratch);
// Of these samples, whose last `age` steps had none, as far back as errors are looked at.
void MakeLevels(const Call& call, int64_t age, Scratch& scratch);
// Errors of the levels `lag` steps before, of the steps from `first` on that have one.
void GatherErrors(int64_t first, int64_t lag, Scratch& scratch);

// Answers: around the level with the errors in scratch.measured; with those of the samples and
// levels in `scratch`, of which the last `age` had no sample; from the history.
void Write(const Call& call, int64_t s, float level, Scratch& scratch, QuantileBlock& out);
void WriteSorted(const Call& call, int64_t s, int64_t age, Scratch& scratch, QuantileBlock& out);
void ForecastAnew(const Call& call, int64_t s, Scratch& scratch, QuantileBlock& out);

}  // namespace foreshadow::models::level
