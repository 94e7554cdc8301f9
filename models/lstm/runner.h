// A trained LSTM ready to run: its weights in the order in which the step reads them. Plain data,
// any thread; torch is needed for training only.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/algo/lstm_plan.h"
#include "models/file/hash.h"
#include "models/file/safetensors.h"
#include "models/lstm/card.h"

namespace foreshadow::models {

struct LstmRunner {
  LstmCard card;
  kernels::LstmPlan plan;
  uint64_t fingerprint = 0;  // of all that a state depends on: one of another model is told by it

  // Context of a series: its signal, and row of its application's embedding (0 = unknown).
  int32_t Context(int64_t signal, int64_t application) const {
    return static_cast<int32_t>(signal * (std::ssize(card.applications) + 1) + application);
  }
};

// INVALID_ARGUMENT names a tensor that is missing, superfluous, of another shape, or holds what is
// not a finite number.
absl::StatusOr<LstmRunner> MakeLstmRunner(const LstmCard& card, const std::vector<Tensor>& weights);

}  // namespace foreshadow::models
