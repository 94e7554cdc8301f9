// The parameters of STL with every default filled in, as R's stl() fills them.
#pragma once

#include <string_view>

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

}  // namespace foreshadow::kernels
