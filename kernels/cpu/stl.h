// STL on the CPU: sixteen series side by side, one a SIMD lane. See kernels/ops.h for the contract.
#pragma once

#include "kernels/ops.h"

namespace foreshadow::kernels::cpu {

size_t StlWorkspaceBytes(const StlParams& params, int64_t steps, int64_t series);
void Stl(const StlArgs& args);

size_t MstlWorkspaceBytes(const MstlArgs& args);
void Mstl(const MstlArgs& args);

}  // namespace foreshadow::kernels::cpu
