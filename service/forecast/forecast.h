// Stage 4: quantiles of every series' next steps. All models that are there forecast everything;
// for each series the one with the least recent loss is taken, and where it has no answer the next.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "service/history/window.h"
#include "service/tick/tick.h"
#include "service/tick/types.h"

namespace foreshadow {

inline constexpr int kScoredSteps = 3;  // 5-15 min at 300 s: the steps that rank the models

// How each model did on each series of late, and the forecasts not yet judged.
struct LossMemory {
  // Mean pinball loss over the levels and the first steps, in the series' unit, exponentially
  // weighted; NaN = not judged yet. [model][series]
  std::vector<std::vector<float>> loss;
  // First steps of the forecasts of the last ticks, newest first: [age][model].
  struct Made {
    int64_t made_at_ms = 0;
    std::vector<models::QuantileBlock> blocks;  // [model], kScoredSteps steps
    std::vector<uint8_t> chosen;                // [series]
  };
  std::deque<Made> made;
};

// Forecasts all series, remembers what is to be judged later, and never fails: a model that cannot
// is passed over and named in `alerts`.
ForecastTable Forecast(const WindowView& window, const std::vector<int32_t>& period_steps,
                       const ModelList& models, LossMemory& memory,
                       std::vector<std::string>& alerts);

// Forecasts any series, as callers bring them along: the best model that has an answer for each.
ForecastTable ForecastSeries(const models::History& history, int steps, const ModelList& models,
                             std::vector<std::string>& alerts);

// Mean and variance of the distribution that the quantiles stand for, linear between
// them and flat beyond the outer ones.
struct Moments {
  double mean = 0;
  double variance = 0;
};
Moments MomentsOf(std::span<const float> quantiles);

}  // namespace foreshadow
