// Makes the model of a streaming update from the parameters of the decomposition that it follows.
// Derivation and figures: docs/kernels-stream.md.
#pragma once

#include <string_view>
#include <vector>

#include "kernels/ops.h"

namespace foreshadow::kernels {

struct StreamPlan {
  StreamModel model;
  std::vector<float> tables;  // for the backend's memory; read by kernels/algo/stream.h
};

// Empty = such a stream can be; else what is wrong, in words.
std::string_view CheckStream(const StlParams& params, int64_t window);

// Takes the plan of checked parameters: milliseconds for a day of five minutes, and longer with the
// square of the period. The horizon, at most a period, is where the bound ends; 0 = a period.
StreamPlan PlanStream(const StlParams& params, int64_t window, int64_t horizon = 0);

}  // namespace foreshadow::kernels
