// What the LSTM sees of a series at each step, and the plain forecasts it mixes. All of it is
// causal and made from the samples alone, and a series is scaled by its own running level and
// deviation: a tenant of 0.1 cores and one of 100 look alike.
//
// One text for training, serving and streaming: a state is advanced by one step's samples at a
// time at O(1) a step, and described when the network is to see it. Season and trend are those of a
// first pass of STL at the series' end (Cleveland et al. 1990, section 2): the trend is the moving
// average over a season, the season the mean over the days of what each time of day adds to it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/algo/lstm_features.h"
#include "kernels/ops.h"
#include "kernels/series.h"
#include "models/forecaster.h"

namespace foreshadow::models {

// Names are kept in a model's card: a model trained on another list is refused.
inline constexpr auto kFeatureNames = std::to_array<std::string_view>({
    "value",
    "age",
    "difference",
    "hour_mean",
    "hour_median",
    "hour_spread",
    "hour_max",
    "hour_min",
    "yesterday_1",
    "yesterday_3",
    "yesterday_6",
    "yesterday_12",
    "season_1",
    "season_6",
    "season_12",
    "trend",
    "remainder",
    "has_yesterday",
    "has_season",
    "since_yesterday",
    "level_share",
    "tail",
    "peak",
    "short_level",
    "short_step",
    "long_step",
    "day_sin",
    "day_cos",
    "week_sin",
    "week_cos",
    "driver_1",
    "driver_3",
    "driver_12",
    "driver_correlation",
    "slope",
    "hour_ago_error",
    "yesterday_error",
    "season_error",
    "hour_ago_1",
    "hour_ago_3",
    "hour_ago_6",
});
inline constexpr int kFeatures = kernels::kLstmFeatures;
static_assert(std::size(kFeatureNames) == kFeatures);

// The median of each step is a mixture of these, plus what the network adds. "season" is trend plus
// season, "hour_season" and "last_season" the last hour's mean and the last value moved as the
// season moves, "drift" the last value and a damped trend (Gardner and McKenzie 1985), "hour_ago"
// the newest sample that lies whole hours before.
inline constexpr auto kCandidateNames =
    std::to_array<std::string_view>({"last_value", "hour_mean", "hour_median", "level", "yesterday",
                                     "season", "hour_season", "last_season", "drift", "hour_ago"});
inline constexpr int kCandidates = kernels::kLstmCandidates;
static_assert(std::size(kCandidateNames) == kCandidates);

// What the network measures its own offset and gaps in, so that a series that rests is forecast as
// resting: the deviation itself, the last hour's, the mean step of late and of the day, and how far
// off it was, on the mean, to guess a sample from the hour, the day and the season before. Given as
// logarithms of their ratio to the deviation.
inline constexpr auto kSpreadNames =
    std::to_array<std::string_view>({"deviation", "hour_spread", "short_step", "long_step",
                                     "hour_ago_error", "yesterday_error", "season_error"});
inline constexpr int kSpreads = kernels::kLstmSpreads;
static_assert(std::size(kSpreadNames) == kSpreads);

inline constexpr int kSamplesMin = 6;  // fewer samples than this tell no deviation

struct FeatureSpec {
  int64_t step_ms = 300'000;  // divides an hour
  int horizon_steps = 12;

  int hour_steps() const { return static_cast<int>(3'600'000 / step_ms); }
  int day_steps() const { return static_cast<int>(86'400'000 / step_ms); }
};

// The past of a batch of series that take their steps together, as plain values: what is copied is
// the same batch again. Rows are padded to whole tiles.
struct FeatureState {
  FeatureSpec spec;
  int64_t series = 0;
  int64_t width = 0;          // of a row
  int64_t phase = 0;          // row of the newest samples in `day`; their time, modulo a day
  std::vector<int32_t> week;  // [width] the newest samples' time, in steps since Monday 00:00 UTC
  std::vector<float> clock;   // [week's steps][4] sine and cosine of the times of day and of week
  std::vector<float> rows;    // [kPastRows][width]
  std::vector<float> day;     // [day_steps][width] newest sample of each time of day, NaN = missing
  std::vector<float> season;  // [day_steps][width] what it adds to the trend, NaN = not yet known
};

// A state without a past. end_ms: [series] times of the step before the first one to come; one
// value stands for all. In training each series may come from another time.
FeatureState NewFeatureState(const FeatureSpec& spec, int64_t series,
                             std::span<const int64_t> end_ms);

// Takes in one step: [series], NaN = missing.
void Advance(FeatureState& state, std::span<const float> samples);

// Where descriptions go; series are lanes, so that rows of [width] floats are written. Null = not
// wanted.
struct FeatureOutput {
  float* features = nullptr;    // [kFeatures][width]
  float* candidates = nullptr;  // [steps][kCandidates][width]
  float* spreads = nullptr;     // [kSpreads][width]
  float* levels = nullptr;      // [width] what scaled values are measured from
  float* scales = nullptr;      // [width] above 0
  int steps = 0;                // of the candidates, up to spec.horizon_steps
};

// Describes the newest step of all series. `drivers` is [series] or empty; a driver's index is in
// the same state.
void Describe(const FeatureState& state, std::span<const Driver> drivers,
              const FeatureOutput& output);

// Whether a series can be forecast: kNoHistory without a sample, kCannot with fewer than
// kSamplesMin or silent for an hour.
ForecastStatus Judge(const FeatureState& state, int64_t series);
// From the series' rows kSamples and kAge.
ForecastStatus Judge(float samples, float age_steps, int64_t step_ms);

}  // namespace foreshadow::models
