// Rolling quantiles and least squares on the CPU. See kernels/ops.h for the contracts.
#pragma once

#include "kernels/ops.h"

namespace foreshadow::kernels::cpu {

size_t RollingQuantilesWorkspaceBytes(const RollingQuantileArgs& args);
void RollingQuantiles(const RollingQuantileArgs& args);

size_t AutoregressionWorkspaceBytes(const AutoregressionArgs& args);
void Autoregression(const AutoregressionArgs& args);

}  // namespace foreshadow::kernels::cpu
