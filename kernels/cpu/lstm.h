// The LSTM's features and one step of its network on the CPU, a series a SIMD lane. See
// kernels/ops.h for the contract.
#pragma once

#include "kernels/ops.h"

namespace foreshadow::kernels::cpu {

void LstmAdvance(const LstmAdvanceArgs& args);
void LstmDescribe(const LstmDescribeArgs& args);
size_t LstmStepWorkspaceBytes(const LstmModel& model, int steps);
void LstmStep(const LstmStepArgs& args);

}  // namespace foreshadow::kernels::cpu
