// Carries out actions in the cells over gRPC, and asks them what they have. A few threads work off
// one queue; a cell that does not answer costs its own deadline, never a tick.
#pragma once

#include <memory>

#include "service/config/config.h"
#include "service/router/steering.h"
#include "service/serving/engine.h"

namespace foreshadow::rpc {

class CellHands : public Hands {
 public:
  // From now on `steering`, which outlives this, is told what the agents say of their instances, as
  // they say it.
  virtual void Tell(router::Steering& steering) = 0;
  // Runs a paused instance, whatever the plan says: the traffic of an ill primary waits for it.
  virtual void ResumeNow(int32_t cell, const std::string& instance_id) = 0;
};

// `engine` is told the outcomes and must outlive the result. An error names the setting of
// [security] that is wrong.
absl::StatusOr<std::unique_ptr<CellHands>> MakeCellFleet(const std::vector<CellConfig>& cells,
                                                         Engine& engine);

}  // namespace foreshadow::rpc
