// Quantiles of a model's errors as they slide from step to step: of the sorted errors only those
// are known that the quantiles lie between, and a few on both sides. An error that comes or goes
// moves the ranks of these, or goes to its place among them; only where a wanted rank is none of
// theirs any more are the errors looked at. A few dozen vector operations instead of a sort, and
// the same numbers. Plain data and functions; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "models/forecaster.h"

namespace foreshadow::models {

inline constexpr int kTails = kQuantiles - 1;  // levels but the median, whose error is zero
inline constexpr int kRankRows = 4;            // order statistics that are known of each
inline constexpr int kErrorLanes = 16;         // errors are handed over in whole groups of so many

// 164 bytes of each distance of each series. Of each tail the order statistics `first` to
// first + held - 1 are known, rank 0 being the least.
struct Ranks {
  std::array<float, kRankRows * kTails> value{};  // [row][tail] ascending, then inf
  std::array<int16_t, kTails> first{};
  std::array<int16_t, kTails> held{};
  int32_t count = 0;  // of errors, none of them NaN
};

// Of errors in ascending order.
Ranks RanksOf(std::span<const float> sorted);

// An error leaves and another one comes; NaN = none does. Returns whether the ranks wanted are
// still known; if not, Settle has to follow.
bool Slide(float leaves, float comes, Ranks& ranks);

// Seeks what is missing of the ranks wanted among the errors (NaN = none), whose number is a
// multiple of kErrorLanes.
void Settle(std::span<const float> errors, Ranks& ranks);

// Between two values; zero is the positive one, whichever of the two they were.
inline float Middle(float low, float high) { return 0.5f * low + 0.5f * high + 0.0f; }

// The median of values of which `count` are there (NaN = not), their number a multiple of
// kErrorLanes. It is sought from `guess`, a number, on, from value to value: the nearer, the
// sooner.
float MedianNear(float guess, std::span<const float> values, int count);

// Errors samples[t] - levels[t - lag] of the `count` steps up to `newest`, in rings of the same
// length, padded with NaN to whole groups. What overflows is cut to the largest float.
void ErrorsOfRing(std::span<const float> samples, std::span<const float> levels, int64_t newest,
                  int lag, int64_t count, std::vector<float>& errors);

// Fewer past errors than this say little: a prior then takes its share.
inline constexpr int kErrorsMin = 8;

// What is to be added to the point forecast, [kQuantiles] ascending, padded to whole vectors:
// quantiles of the errors (actual minus forecast) by the (n + 1) p rule, the median put at zero and
// each other level kept on its side of it, so that the point forecast stays the median. With fewer
// than kErrorsMin errors they lean, in proportion, on a Laplace law whose scale is a quarter of
// `magnitude`.
using PaddedOffsets = std::array<float, kErrorLanes>;
PaddedOffsets OffsetsOf(const Ranks& ranks, float magnitude);
PaddedOffsets OffsetsOf(std::span<const float> sorted, float magnitude);

// Offsets of one of the distances that are measured.
struct AtDistance {
  int distance = 0;  // steps
  int errors = 0;    // that it rests on
  PaddedOffsets offsets{};
};

// The distances that are measured for a horizon, ascending; its last step is one.
std::vector<int> MeasuredDistances(int steps);

// The rows [step][kQuantiles] of all steps of a series: points[step] with offsets that lie on a
// line between those of the measured distances. Where too few errors were seen, which is far ahead,
// the offsets before grow as `spread` [steps] does, and `measured` is filled with those.
void WriteRows(std::span<const float> points, std::span<const float> spread,
               std::span<AtDistance> measured, float* rows);

// The same with one set of offsets for all steps.
void WriteRows(std::span<const float> points, const PaddedOffsets& offsets, float* rows);

}  // namespace foreshadow::models
