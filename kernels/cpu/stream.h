// The streaming update on the CPU, a series a SIMD lane. See kernels/ops.h for the contract.
#pragma once

#include "kernels/ops.h"

namespace foreshadow::kernels::cpu {

size_t StreamStartWorkspaceBytes(const StreamStartArgs& args);
void StreamStart(const StreamStartArgs& args);
void StreamUpdate(const StreamUpdateArgs& args);
void StreamStray(const StreamStrayArgs& args);

}  // namespace foreshadow::kernels::cpu
