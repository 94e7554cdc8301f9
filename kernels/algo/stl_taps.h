// What STL says of the last step, as a weighted sum of the samples. Without robustness weights and
// gaps every stage of STL (Cleveland et al. 1990, section 2.2) is linear, so trend and season of
// one step are fixed functionals of the window. They are had by taking the unit functional of the
// last step back through the stages, each transposed: about the cost of decomposing one series.
#pragma once

#include <vector>

#include "kernels/algo/stl_plan.h"

namespace foreshadow::kernels {

// trend(last) = sum over lag of trend[lag] observed[last - lag]; likewise seasonal. [steps] each.
struct StlTaps {
  std::vector<double> trend;
  std::vector<double> seasonal;
};

StlTaps LastStepTaps(const StlPlan& plan);  // of a plan with outer = 0

}  // namespace foreshadow::kernels
