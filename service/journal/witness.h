// Stands between a tick and its world and keeps what was decided, in the same words when a server
// records and when a replay compares. Of the tick's thread.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "service/journal/records.h"
#include "service/world/world.h"

namespace foreshadow::journal {

class Witness : public World {
 public:
  // For one tick. `fleet` has every account that the tick may decide about.
  Witness(World& world, std::shared_ptr<const Fleet> fleet)
      : world_(world), fleet_(std::move(fleet)) {}

  int64_t NowMs() override { return world_.NowMs(); }
  double ElapsedMs() override { return world_.ElapsedMs(); }
  uint64_t Random() override { return world_.Random(); }
  absl::Status Write(const Commit& commit) override;
  void Start(const Action& action) override;
  bool Stopping() const override { return world_.Stopping(); }

  // After the tick, with what it returned.
  Decided Take(const absl::StatusOr<std::shared_ptr<const TickReport>>& report);

 private:
  World& world_;
  std::shared_ptr<const Fleet> fleet_;
  Decided decided_;
};

}  // namespace foreshadow::journal
