// Rolling quantiles, least squares and columns on the CPU. See kernels/ops.h for the contracts.
#pragma once

#include "kernels/ops.h"

namespace foreshadow::kernels::cpu {

size_t RollingQuantilesWorkspaceBytes(const RollingQuantileArgs& args);
void RollingQuantiles(const RollingQuantileArgs& args);

size_t AutoregressionWorkspaceBytes(const AutoregressionArgs& args);
void Autoregression(const AutoregressionArgs& args);

void Gather(const GatherArgs& args);
void Deseason(const DeseasonArgs& args);

}  // namespace foreshadow::kernels::cpu
