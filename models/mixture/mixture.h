// The model "auto": for each series, the quantiles of all models averaged level by level, weighed
// by how well each model did of late on that series and its kind, and then shifted so that each
// level holds what it says. It learns from every sample that comes; what it has learned is the
// caller's Mixture, which one thread at a time may use.
//
// Weights: exponentially weighted experts (Cesa-Bianchi and Lugosi 2006, chapter 2) on a fading
// mean of the pinball loss. Shifts: quantile tracking (Angelopoulos, Candes, Tibshirani 2023,
// "Conformal PID control for time series prediction", section 2.1).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <span>
#include <vector>

#include "models/forecaster.h"

namespace foreshadow::models {

struct MixtureSettings {
  float loss_decay = 0.98f;   // of a loss's weight from sample to sample: half in 34
  float sharpness = 6;        // a model that is a tenth worse weighs e^-0.6 of the best
  float pooled_samples = 12;  // what the losses on all series of the signal are worth
  float shift_rate = 0.03f;   // of a level, per sample, in mean absolute errors
  float shift_max = 5;        // mean absolute errors
};

// Distances that are judged; the steps between take what lies between.
inline constexpr int kJudged = 3;  // the first step, a quarter of the horizon, the last

// Fading sums over the judged samples of one series at one distance.
struct MixtureSeries {
  std::vector<double> losses;  // [model] sum of pinball loss
  std::vector<double> judged;  // [model] its weight
  double error = 0;            // sum of |actual - mixed median|
  double error_weight = 0;
  std::array<float, kQuantiles> shifts{};  // in mean absolute errors
};

struct Mixture {
  MixtureSettings settings;
  int models = 0;
  int steps = 0;  // horizon; 0 = nothing mixed yet
  int64_t step_ms = 0;
  std::vector<SignalKind> signals;    // [series]
  std::vector<MixtureSeries> series;  // [distance][series], see at()

  // Rows of the judged distances of the forecasts that wait for their samples, newest last.
  struct Made {
    int64_t made_at_ms = 0;
    int64_t series = 0;
    std::vector<float> rows;  // [distance][series][model, then mixed][kQuantiles]; NaN = none
  };
  std::deque<Made> made;

  std::vector<uint8_t> leaders;  // [series] the model that weighs most on the first step

  int64_t series_count() const { return static_cast<int64_t>(signals.size()); }
};

// Mean over the levels of the pinball loss of quantiles (Koenker and Bassett 1978).
double MeanPinball(double actual, std::span<const float> quantiles);

// Mixes blocks[model] (an empty block = that model did not answer at all), made from the samples up
// to made_at_ms, and remembers them for Observe. Series may be added at the end from call to call;
// another horizon, interval or number of models starts afresh. A series that no model answered is
// kNoHistory if all said so, else kCannot; one that the first model did not answer, kFellBack.
void Mix(Mixture& mixture, int64_t made_at_ms, int64_t step_ms, std::span<const SignalKind> signals,
         std::span<const QuantileBlock> blocks, QuantileBlock& out);

// Learns from the samples of one time, [series], NaN = missing. Times ascend.
void Observe(Mixture& mixture, int64_t time_ms, std::span<const float> samples);

// Weights of the models for a series at a distance, 1..steps, as Mix would use them if all
// answered.
std::vector<double> Weights(const Mixture& mixture, int64_t series, int step);

}  // namespace foreshadow::models
