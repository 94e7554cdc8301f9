// What the LSTM sees of a series at each step, and the plain forecasts it mixes. All of it is
// causal and made from the samples alone, so training and serving use the same function, and a
// series is scaled by its own running level and deviation: a tenant of 0.1 cores and one of 100
// look alike. Pure functions, any thread; the caller owns the memory.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "models/forecaster.h"

namespace foreshadow::models {

// Names are kept in a model's card: a model trained on another list is refused.
inline constexpr auto kFeatureNames = std::to_array<std::string_view>({
    "value",           "age",
    "difference",      "hour_mean",
    "hour_median",     "hour_spread",
    "hour_max",        "hour_min",
    "yesterday_1",     "yesterday_3",
    "yesterday_6",     "yesterday_12",
    "profile_1",       "profile_6",
    "profile_12",      "has_yesterday",
    "since_yesterday", "deviation_share",
    "deviation_tail",  "peak",
    "short_level",     "short_step",
    "long_step",       "day_sin",
    "day_cos",
});
inline constexpr int kFeatures = static_cast<int>(kFeatureNames.size());

// The median of each step is a mixture of these, plus what the network adds.
inline constexpr auto kCandidateNames = std::to_array<std::string_view>(
    {"last_value", "hour_mean", "hour_median", "level", "yesterday", "profile"});
inline constexpr int kCandidates = static_cast<int>(kCandidateNames.size());

// What the network measures its own offset and gaps in, so that a series that rests is forecast as
// resting: the deviation itself, the last hour's, and the mean step of late and of the day. Given
// as logarithms of their ratio to the deviation.
inline constexpr auto kSpreadNames =
    std::to_array<std::string_view>({"deviation", "hour_spread", "short_step", "long_step"});
inline constexpr int kSpreads = static_cast<int>(kSpreadNames.size());

// Steps before the first one asked for that still count: older samples weigh under 2 % in the
// running level and deviation.
inline constexpr int kMemorySteps = 864;
inline constexpr int kDaysBack = 7;    // yesterday, and six more for the profile
inline constexpr int kSamplesMin = 6;  // fewer samples than this tell no deviation

struct FeatureSpec {
  int64_t step_ms = 300'000;
  int horizon_steps = 12;

  int hour_steps() const { return static_cast<int>(3'600'000 / step_ms); }
  int day_steps() const { return static_cast<int>(86'400'000 / step_ms); }
};

// Where the rows of one sequence go, in arrays [step][sequence][...].
struct SequenceRows {
  float* features = nullptr;    // rows of kFeatures
  int64_t features_stride = 0;  // from one step to the next
  float* candidates = nullptr;  // rows of horizon_steps * kCandidates
  int64_t candidates_stride = 0;
  float* spreads = nullptr;  // rows of kSpreads
  int64_t spreads_stride = 0;
  std::vector<float> levels;  // out: [scored step], what scaled values are measured from
  std::vector<float> scales;  // out: [scored step], above 0
};

// Features of the steps [first, samples.size()), and candidates, spreads, level and scale of
// the last `scored` of them. `samples` is one series, oldest first, NaN = missing; the steps before
// `first` are its memory. `end_ms` is the time of the last sample.
void BuildFeatures(const FeatureSpec& spec, std::span<const float> samples, int64_t end_ms,
                   int64_t first, int64_t scored, SequenceRows& rows);

}  // namespace foreshadow::models
