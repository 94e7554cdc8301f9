// Part of stage 8: a candidate model forecasts beside the one that serves, on accounts spread
// evenly over the fleet, and both are scored on the same samples when these come. Nothing of it is
// published. Called by the tick's thread.
#pragma once

#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "models/forecaster.h"
#include "service/evaluate/evaluation.h"
#include "service/tick/tick.h"

namespace foreshadow {

// What bounds the cost of a candidate: two forecasts of their four resources a tick and of what
// drives them, 1,250 series each, and 100 KB of them kept a tick, for an hour.
inline constexpr int64_t kEvaluatedAccountsMax = 250;
// A verdict rests on that many batches of an hour or more: a whole day, as losses have daily
// patterns, and enough of them for their variance.
inline constexpr size_t kVerdictBatchesMin = 24;
// A candidate that leaves more than that share unanswered is no replacement, however good it is.
inline constexpr double kUnansweredShareMax = 0.01;

// Forecasts that wait for their samples: the first step, a quarter of the hour, the last.
struct EvaluationMemory {
  struct Made {
    int64_t made_at_ms = 0;
    std::vector<int64_t> series;
    std::vector<float> rows;  // [distance][series][candidate, against][kQuantiles]; NaN = none
  };
  std::deque<Made> made;  // newest first
};

// Scores what waits, then has both forecast anew. `history` is what the serving models are told of
// all accounts' series (service/forecast InputOf), `models` as they serve, best first,
// `naive_scale` as analysis knows it. Another candidate, or another model to compare with, starts
// afresh. A candidate that cannot is named in `alerts`.
void Evaluate(const models::History& history, std::span<const float> naive_scale,
              const ModelList& models, const models::Forecaster& candidate,
              EvaluationMemory& memory, Evaluation& evaluation, std::vector<std::string>& alerts);

enum class Verdict : uint8_t {
  kTooEarly,
  kBetter,  // the whole interval of the difference is below 0
  kEven,
  kWorse,  // it is above 0, or too much was left unanswered
};
const char* Name(Verdict verdict);
Verdict VerdictOf(const Evaluation& evaluation);

struct EvaluationFigures {
  double mase = 0;
  double pinball = 0;  // scaled like MASE
  double crps = 0;     // weighted quantile loss, mean of the signals
  double coverage_80 = 0;
};
EvaluationFigures FiguresOf(const Evaluation& evaluation, const EvaluatedModel& model);

// For people: the verdict and what it rests on.
std::string Words(const Evaluation& evaluation);

// The file beside a version (models/versions): figures, interval, verdict, words.
std::string EvaluationReport(const Evaluation& evaluation);

// Whether such a report lets the candidate replace the model of that label: FAILED_PRECONDITION
// says why not. `report` may be empty: it was never evaluated.
absl::Status MayPromote(const std::string& report, const std::string& candidate,
                        const std::string& serving);

}  // namespace foreshadow
