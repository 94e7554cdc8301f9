// Rolling-origin backtest: at each origin every model sees the samples up to it, nothing later, and
// its quantiles are scored against what came. All models are scored on the same points: those that
// have a sample and that every model answered.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/forecaster.h"
#include "training/train/series_set.h"

namespace foreshadow::training {

using ForecasterList = std::vector<std::shared_ptr<const models::Forecaster>>;

struct BacktestOptions {
  int64_t first_step = 0;  // the first step to be forecast; everything before it is history
  int stride_steps = 6;    // from one origin to the next
  int horizon_steps = 12;
  int window_steps = 2'016;     // of history that the models see
  bool mix = false;             // also score "auto", the mixture of the models given
  int mix_warm_up_steps = 288;  // before first_step, from which the mixture learns unscored
  // Models that carry a state go on from origin to origin as on a server, instead of seeing each
  // window anew.
  bool carried = false;
  // The points to score: of the origins from first_step on every so many-th, and of the series
  // those that are not 0 here (empty = all). Models see all series, the mixture all origins.
  int score_every = 1;
  std::vector<uint8_t> scored = {};  // [series]
};

// What the models said at an origin that is scored.
struct OriginForecasts {
  int64_t first_step = 0;                         // the first step forecast
  std::span<const models::QuantileBlock> blocks;  // [model], as BacktestResult::models
};
using ForecastSink = std::function<absl::Status(const OriginForecasts&)>;

// Sums over the points of one series at one distance.
struct Tally {
  double absolute_error = 0;  // of the median
  double smape = 0;           // 2 |error| / (|actual| + |forecast|), 0 where both are 0
  double pinball = 0;         // mean over the levels
  double actual = 0;          // absolute
  int64_t inside_80 = 0;      // actual within the levels 0.1 and 0.9
  int64_t points = 0;

  void operator+=(const Tally& other);
};

struct BacktestResult {
  std::vector<std::string> models;          // ModelNames
  std::vector<models::SignalKind> signals;  // [series]
  // Mean |y(t) - y(t - day)| before first_step, the scale of MASE (Hyndman and Koehler 2006); that
  // of one step where the history is shorter than two days; 0 = the series did not vary.
  std::vector<double> scales;  // [series]
  int horizon_steps = 0;
  std::vector<Tally> tallies;       // [model][series][step]
  std::vector<int64_t> unanswered;  // [model] scored series and origins without an answer
  int64_t scored_series = 0;
  int64_t origins = 0;

  const Tally& at(int64_t model, int64_t series, int step) const {
    return tallies[(model * std::ssize(scales) + series) * horizon_steps + step];
  }
};

// Those given, then "auto" if asked for.
std::vector<std::string> ModelNames(const ForecasterList& forecasters,
                                    const BacktestOptions& options);

// INVALID_ARGUMENT naming the field for options that do not fit the series or a model; a model's
// error ends it, and so does the sink's. `progress` is told the origins done and in all.
absl::StatusOr<BacktestResult> Backtest(const SeriesSet& set, const ForecasterList& forecasters,
                                        const BacktestOptions& options,
                                        const std::function<void(int64_t, int64_t)>& progress,
                                        const ForecastSink& sink = {});

// One line of the accuracy table.
struct Score {
  std::string model;
  std::string signal;  // or "all"
  int first_step = 0;  // distances from 1, both included
  int last_step = 0;
  int64_t series = 0;  // with points
  int64_t points = 0;
  double mase = 0;            // mean over the series that varied before the test
  double scaled_pinball = 0;  // mean over the same series of pinball loss / scale
  double smape = 0;           // mean over points
  double crps = 0;            // 2 sum of pinball / sum of |actual|: weighted quantile loss
  double coverage_80 = 0;
};

// Scores of each model for each signal that occurs, and "all" (series weigh alike; its crps is the
// mean of the signals'), over the distances [first_step, last_step].
std::vector<Score> Summarize(const BacktestResult& result, int first_step, int last_step);

const char* SignalName(models::SignalKind signal);

}  // namespace foreshadow::training
