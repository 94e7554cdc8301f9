// What is known of a candidate beside the model that serves: sums over the samples that both
// forecast. Plain data; it lives in the decisions, so that a restart does not lose it.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "models/forecaster.h"
#include "service/evaluate/batch_means.h"

namespace foreshadow {

// Of one of the two.
struct EvaluatedModel {
  double scaled_error_sum = 0;    // over the mean error of "as before", for MASE
  double scaled_pinball_sum = 0;  // likewise
  uint64_t inside_80 = 0;
  std::array<double, models::kSignalKinds> pinball_sum{};  // in the signal's unit, for CRPS
};

struct Evaluation {
  std::string candidate;  // label; "" = there is none
  std::string against;    // label of the model that it is compared with
  std::string serving;    // label of the best model at that time: mostly the same
  int64_t since_ms = 0;   // first tick at which both were scored; 0 = none yet
  int64_t until_ms = 0;   // last
  int64_t ticks = 0;
  uint64_t scored = 0;      // forecasts that both made, once their sample had come
  uint64_t unanswered = 0;  // that only the other one made
  std::array<double, models::kSignalKinds> actual_sum{};
  EvaluatedModel of_candidate;
  EvaluatedModel of_against;
  BatchMeans difference;  // of the scaled pinball loss, candidate less the other, mean of a tick
};

}  // namespace foreshadow
