#include "kernels/algo/stl_plan.h"

#include <algorithm>
#include <cmath>

namespace foreshadow::kernels {
namespace {

int64_t NextOdd(double x) {
  const auto rounded = static_cast<int64_t>(std::nearbyint(x));
  return rounded % 2 == 0 ? rounded + 1 : rounded;
}

int64_t TenthOf(int64_t window) { return (window + 9) / 10; }

bool BadWindow(int window) { return window != kDefault && (window < 3 || window % 2 == 0); }
bool BadDegree(int degree) { return degree != kDefault && degree != 0 && degree != 1; }
bool BadJump(int jump) { return jump != kDefault && jump < 1; }

}  // namespace

std::string_view CheckStl(const StlParams& p, int64_t steps) {
  if (p.period < 2) return "period must be at least 2";
  // Counts of steps are floats at times; and a GPU's tile is indexed by 32 bits.
  if (steps > int64_t{1} << 24) return "the series must have at most 16777216 steps";
  if (steps < 2 * int64_t{p.period}) return "the series must be at least two periods long";
  if (p.seasonal_window != kPeriodic && (p.seasonal_window < 3 || p.seasonal_window % 2 == 0)) {
    return "seasonal must be periodic or an odd window of at least 3";
  }
  if (BadWindow(p.trend_window)) return "trend must be an odd window of at least 3";
  if (BadWindow(p.low_pass_window)) return "low-pass must be an odd window of at least 3";
  if (p.seasonal_degree != 0 && p.seasonal_degree != 1) return "seasonal-degree must be 0 or 1";
  if (BadDegree(p.trend_degree)) return "trend-degree must be 0 or 1";
  if (BadDegree(p.low_pass_degree)) return "low-pass-degree must be 0 or 1";
  if (BadJump(p.seasonal_jump)) return "seasonal-jump must be at least 1";
  if (BadJump(p.trend_jump)) return "trend-jump must be at least 1";
  if (BadJump(p.low_pass_jump)) return "low-pass-jump must be at least 1";
  if (p.inner != kDefault && p.inner < 1) return "inner must be at least 1";
  if (p.outer != kDefault && p.outer < 0) return "outer must be at least 0";
  return "";
}

StlPlan PlanStl(const StlParams& p, int64_t steps) {
  const auto or_else = [](int given, int64_t otherwise) {
    return given == kDefault ? otherwise : int64_t{given};
  };
  StlPlan plan;
  plan.steps = steps;
  plan.period = p.period;
  plan.periodic = p.seasonal_window == kPeriodic;
  plan.seasonal_window = plan.periodic ? 10 * steps + 1 : p.seasonal_window;
  plan.seasonal_degree = plan.periodic ? 0 : p.seasonal_degree;
  const double window = static_cast<double>(plan.seasonal_window);
  plan.trend_window =
      or_else(p.trend_window, NextOdd(std::ceil(1.5 * p.period / (1.0 - 1.5 / window))));
  plan.low_pass_window = or_else(p.low_pass_window, NextOdd(p.period));
  plan.trend_degree = static_cast<int>(or_else(p.trend_degree, 1));
  plan.low_pass_degree = static_cast<int>(or_else(p.low_pass_degree, plan.trend_degree));
  plan.seasonal_jump = or_else(p.seasonal_jump, TenthOf(plan.seasonal_window));
  plan.trend_jump = or_else(p.trend_jump, TenthOf(plan.trend_window));
  plan.low_pass_jump = or_else(p.low_pass_jump, TenthOf(plan.low_pass_window));
  plan.inner = static_cast<int>(or_else(p.inner, p.robust ? 1 : 2));
  plan.outer = static_cast<int>(or_else(p.outer, p.robust ? 15 : 0));
  return plan;
}

}  // namespace foreshadow::kernels
