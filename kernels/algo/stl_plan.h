// The parameters of STL with every default filled in, as R's stl() fills them.
#pragma once

#include <cmath>
#include <limits>
#include <string_view>

#include "kernels/algo/loess.h"
#include "kernels/algo/portable.h"
#include "kernels/ops.h"

namespace foreshadow::kernels {

struct StlPlan {
  int64_t steps = 0;
  int period = 0;
  bool periodic = false;
  int64_t seasonal_window = 0;
  int64_t trend_window = 0;
  int64_t low_pass_window = 0;
  int seasonal_degree = 0;
  int trend_degree = 1;
  int low_pass_degree = 1;
  int64_t seasonal_jump = 1;
  int64_t trend_jump = 1;
  int64_t low_pass_jump = 1;
  int inner = 2;
  int outer = 0;
};

// Empty = valid; else what is wrong.
std::string_view CheckStl(const StlParams& params, int64_t steps);
StlPlan PlanStl(const StlParams& params, int64_t steps);  // of checked parameters

// The three filters. Cycle-subseries have two lengths at most.
inline LoessShape TrendShape(const StlPlan& plan) {
  return {plan.steps, plan.trend_window, plan.trend_degree, plan.trend_jump};
}
inline LoessShape LowPassShape(const StlPlan& plan) {
  return {plan.steps, plan.low_pass_window, plan.low_pass_degree, plan.low_pass_jump};
}
inline int64_t CycleLong(const StlPlan& plan) { return (plan.steps - 1) / plan.period + 1; }
inline int64_t CycleShort(const StlPlan& plan) { return plan.steps / plan.period; }
inline LoessShape SeasonalShape(const StlPlan& plan, int64_t n) {
  return {n, plan.seasonal_window, plan.seasonal_degree, plan.seasonal_jump};
}

// Whether the season is so flat a loess that all its weights are equal, as a periodic one is: each
// phase then has one value, the mean of its samples. Moving averages over whole periods of such a
// season are its mean over the phases, and so is what the low-pass filter makes of it.
inline bool SeasonIsMean(const StlPlan& plan) {
  const LoessShape shape = SeasonalShape(plan, CycleLong(plan));
  return shape.degree == 0 &&
         static_cast<double>(shape.n) <= 0.001 * Bandwidth(shape, {1, 1, shape.n});
}

// What becomes of a series with these extremes; low > high = no sample.
FORESHADOW_PORTABLE inline SeriesStatus JudgeExtremes(float low, float high) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  if (low > high) return SeriesStatus::kNoData;
  if (low == -kInf || high == kInf) return SeriesStatus::kNotFinite;
  // Less than a thousand float steps between lowest and highest: the shape is lost in rounding. And
  // a fit may reach beyond the samples: near the largest float it would overflow.
  constexpr float kLargest = std::numeric_limits<float>::max() / 1'024;
  const float magnitude = std::abs(low) > std::abs(high) ? std::abs(low) : std::abs(high);
  const bool lost =
      high > low && high - low < 1'000 * std::numeric_limits<float>::epsilon() * magnitude;
  return lost || magnitude > kLargest ? SeriesStatus::kPrecision : SeriesStatus::kOk;
}

}  // namespace foreshadow::kernels
