// The model "auto": for each series, the quantiles of all models averaged level by level, those of
// a model far from the one that weighs most held to its 90 % interval, and the gaps about the
// median stretched so that each level holds what it says. It learns from every sample that comes;
// what it has learned is the caller's Mixture, which one thread at a time may use.
//
// Weights: exponentiated gradient on the pinball loss of the mixture itself (Kivinen and Warmuth
// 1997; the gradient of Gaillard, Stoltz and van Erven 2014, section 2.1, lets models that are good
// together win over the one that is best alone), one set each for the levels below, at and above
// the median (Berrisch and Ziel 2021, "CRPS learning", weigh every level and smooth). Stretching:
// quantile tracking (Angelopoulos, Candes, Tibshirani 2023, section 2.1) of log factors.
//
// Both are sums: what all series of the signal have learned together, and the series' own part,
// which fades. A series without a past of its own begins with the mean own part of the series of
// its application, shrunk towards that of all of its signal.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "models/forecaster.h"

namespace foreshadow::models {

struct MixtureSettings {
  float first_start = 3;       // log weight that the first model, the best by rank, begins with
  float own_rate = 0.6f;       // of a series' log weights, per mean error; over sqrt(distance)
  float pool_rate = 1;         // of a signal's likewise, and over the sqrt of the times learned
  float gap_rate = 0.03f;      // of a series' log factors, per sample
  float pool_gap_rate = 0.2f;  // of a signal's
  float keep = 0.995f;         // of a series' own part from sample to sample: half in 140
  float level_share = 0.8f;    // of a level's own gradient; the rest is the mean of all levels
  float pool_series = 20;      // with so many series a pool is half believed
  float error_decay = 0.98f;   // of the error that all is measured in: half in 34
  float log_factor_max = 2;    // a series' own: gaps up to e^2 times as wide
};

// Distances that are judged; the steps between take what lies between.
inline constexpr int kJudged = 3;        // the first step, a quarter of the horizon, the last
inline constexpr int kMixtureParts = 3;  // levels below the median, it, and those above
// Forecasts of a distance that wait at a time; of a farther one every second, third, ... is judged.
inline constexpr int kWaitingMax = 12;

// The judged distances, in steps from 1, ascending; some coincide when the horizon is short.
constexpr std::array<int, kJudged> JudgedSteps(int steps) {
  return {1, steps / 4 > 1 ? steps / 4 : 1, steps};
}

// What is known of one series at one distance, beside its log weights.
struct MixtureSeries {
  float error = 0;  // fading sum of |actual - median|
  float error_weight = 0;
  std::array<float, kQuantiles> log_factors{};  // own part
};

// The forecasts of one distance made at one time: the mixture's rows, and how far each model's were
// below them, in 1/32 of the series' error. 36 + 9 bytes a model for each series.
struct MixtureMade {
  int64_t made_at_ms = 0;
  std::vector<float> mixed;        // [series][kQuantiles]; NaN = none
  std::vector<int8_t> difference;  // [series][model][kQuantiles]; kNoAnswer = that model had none
};

struct Mixture {
  MixtureSettings settings;
  int models = 0;
  int steps = 0;  // horizon; 0 = nothing mixed yet
  int64_t step_ms = 0;
  int64_t ticks = 0;                  // calls of Mix
  std::vector<int32_t> pools;         // [series] kSignalKinds * (1 + application) + signal
  std::vector<float> log_weights;     // [series][kJudged][kMixtureParts][model], own part
  std::vector<MixtureSeries> series;  // [series][kJudged]
  std::vector<float> highest;         // [series] the largest sample so far; 0 = none above 0
  std::array<std::vector<MixtureMade>, kJudged> waiting;  // rings

  // What series share at a distance; a row is kMixtureParts x models log weights, then kQuantiles
  // log factors.
  struct Pooled {
    std::vector<float> of_signal;                 // [kSignalKinds] rows
    std::array<int64_t, kSignalKinds> learned{};  // times, of a signal; 0 = nothing was judged yet
    std::vector<float> newcomer;  // [pool] rows: the own part that a new series begins with
  };
  std::array<Pooled, kJudged> pooled;

  std::vector<uint8_t> leaders;  // [series] the model that weighs most on the first step's median

  int64_t series_count() const { return static_cast<int64_t>(pools.size()); }
};

// Mixes blocks[model] (an empty block = that model did not answer at all), made from the history up
// to its end, and remembers them for Observe. Of the history the times, signals and applications
// are used, and of a series that is new its largest sample: once some two dozen of its forecasts
// were judged, none of its quantiles goes beyond 1.5 times that and what came since. Series may be
// added at the end from call to call; another horizon, interval or number of models starts afresh.
// Until something was judged of a signal its first model that answers is taken alone. A series that
// no model answered is kNoHistory if all said so, else kCannot; one that the first model did not
// answer, kFellBack.
void Mix(Mixture& mixture, const History& history, std::span<const QuantileBlock> blocks,
         QuantileBlock& out);

// The same a part of the series at a time, so that the models' answers to all of them need not be
// held at once: Begin says how many models are mixed over how many steps and makes room in `out`;
// then every series is mixed by one call of MixPart, whose blocks[model] hold `series` of them from
// `first` on (an empty block = that model did not answer these). Calls may run on different
// threads.
struct Mixing {
  Mixture* mixture = nullptr;
  QuantileBlock* out = nullptr;
  std::array<MixtureMade*, kJudged> made{};  // null where this time's forecasts are not judged
};
Mixing Begin(Mixture& mixture, const History& history, int models, int steps, QuantileBlock& out);
void MixPart(const Mixing& mixing, int64_t first, int64_t series,
             std::span<const QuantileBlock> blocks);

// Learns from the samples of one time, [series], NaN = missing. Times ascend.
void Observe(Mixture& mixture, int64_t time_ms, std::span<const float> samples);

// Weights of the models in a series' median at a distance, 1..steps, as Mix would use them if all
// answered.
std::vector<double> Weights(const Mixture& mixture, int64_t series, int step);

}  // namespace foreshadow::models
