// The memory entries of an operation table whose memory is the host's.
#pragma once

#include "kernels/ops.h"

namespace foreshadow::kernels {

void SetHostMemory(Ops& ops);

}  // namespace foreshadow::kernels
