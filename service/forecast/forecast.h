// Stage 4: quantiles of every series' next steps. All models that are there forecast every series
// that has samples; what is published is their mixture (models/mixture), weighed for each series by
// how each did of late and stretched so that its levels hold what they say.
#pragma once

#include <any>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "models/mixture/mixture.h"
#include "service/analyze/analyze.h"
#include "service/history/window.h"
#include "service/tick/tick.h"
#include "service/tick/types.h"

namespace foreshadow {

// Series that go through all models and the mixture together, so that the models' answers are held
// for these only and are still in the cache when they are mixed: 76 accounts, two blocks of the
// LSTM.
inline constexpr int64_t kPartSeries = 380;

inline constexpr int kScoredSteps = 3;  // 5-15 min at 300 s: the steps that are scored

// What is known of how the models do, and the forecasts not yet scored.
struct ForecastMemory {
  models::Mixture mixture;
  // [part of kPartSeries][model] what each carries from tick to tick. Those that carry with an
  // earlier one leave theirs empty.
  std::vector<std::vector<std::any>> carried;
  // Where models run that can do so for all series at once; null = on the CPU all of them.
  const kernels::Ops* device = nullptr;
  struct OnDevice {
    std::any carried;
    bool answers = false;  // else the CPU is to
  };
  std::vector<OnDevice> on_device;             // [model]
  std::vector<std::string> application_names;  // only appended: the mixture knows them by index
  int64_t observed_ms = 0;  // the mixture has learned from the samples up to this step
  struct Made {
    int64_t made_at_ms = 0;
    models::QuantileBlock first;  // kScoredSteps steps of what was published
  };
  std::deque<Made> made;  // newest first
  // Room that is used again: of a table that nobody reads any more, and for the models' answers to
  // a part, [worker][model].
  std::vector<float, models::LeftOpen<float>> room;
  std::vector<std::vector<models::QuantileBlock>> part_room;
};

// What models are told of the series: one input for those that serve and for a candidate.
struct ForecastInput {
  std::vector<SignalKind> signals;      // [series]
  std::vector<int32_t> applications;    // [series]
  std::vector<models::Driver> drivers;  // [series]
  models::History history;              // points into these and what InputOf was given: no copies
};

// Each account's application by its index among `application_names`, which grow by those not yet
// among them, and the periods and leads that analysis has found. All arguments must outlive it.
ForecastInput InputOf(const WindowView& window, const Fleet& fleet, const PatternMemory& patterns,
                      std::vector<std::string>& application_names);

// Learns from the samples that came since the last call, forecasts all series, remembers what is to
// be judged later, and never fails: a model that cannot is passed over and named in `alerts`. The
// models are told what InputOf says.
ForecastTable Forecast(const WindowView& window, const Fleet& fleet, const PatternMemory& patterns,
                       const ModelList& models, ForecastMemory& memory,
                       std::vector<std::string>& alerts, const models::Stop& stop = nullptr);

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
