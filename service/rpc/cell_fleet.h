// Carries out actions in the cells over gRPC, and asks them what they have. A few threads work off
// one queue; a cell that does not answer costs its own deadline, never a tick.
#pragma once

#include <memory>

#include "service/config/config.h"
#include "service/serving/engine.h"

namespace foreshadow::rpc {

// `engine` is told the outcomes and must outlive the result. An error names the setting of
// [security] that is wrong.
absl::StatusOr<std::unique_ptr<Hands>> MakeCellFleet(const std::vector<CellConfig>& cells,
                                                     Engine& engine);

}  // namespace foreshadow::rpc
