// Which backend does a server's analysis.
#pragma once

#include "absl/status/statusor.h"
#include "kernels/ops.h"
#include "service/config/config.h"

namespace foreshadow {

// The GPU's, or nullptr: the CPU does it all. FAILED_PRECONDITION where the configuration asks for
// a GPU that is not there. A server that keeps a journal analyses on the CPU, which replays it.
absl::StatusOr<const kernels::Ops*> DeviceOf(const Config& config);

}  // namespace foreshadow
