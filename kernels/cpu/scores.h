// Scores on the CPU. See kernels/ops.h for the contracts.
#pragma once

#include "kernels/ops.h"

namespace foreshadow::kernels::cpu {

void Pinball(const PinballArgs& args);
void NaiveScale(const NaiveScaleArgs& args);
void Mase(const MaseArgs& args);

}  // namespace foreshadow::kernels::cpu
