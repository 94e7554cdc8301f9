// The simulated world: cells that create, resume, pause and destroy shadows in their own time, and
// now and then fail. Deterministic: what happens to an action follows from the seed and its number.
#pragma once

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "service/world/world.h"
#include "training/simulate/constants.h"
#include "training/simulate/demand.h"

namespace foreshadow::training {

struct WorldOptions {
  std::vector<Cell> cells;
  std::vector<int32_t> cell_of;  // [account]
  int64_t create_ms = kCreateMs;
  int64_t resume_ms = kResumeMs;
  double failure_chance = 0;  // of a create or a resume
  double outages_per_cell_day = 0;
  int64_t outage_ms = 15 * 60'000;
  uint64_t seed = 1;
};

// What is in a cell beside the primaries.
struct SimInstance {
  int32_t account = 0;
  int32_t source = 0;
  int32_t target = 0;   // where its memory is held; the source once it is the primary: its
                        // predecessor's, there, is then the second
  bool exists = false;  // created; before, its state is being copied
  bool running = false;
  int64_t copy_begin_ms = 0;
  int64_t copy_end_ms = 0;
};

class SimWorld : public World {
 public:
  SimWorld(const WorldOptions& options, const Demand& demand);

  // Before the tick of a step. Time in the world runs a step ahead of the tick's: the step that
  // starts at NowMs() is over.
  void SetStep(int64_t step);
  int64_t real_ms() const { return now_ms_ + demand_.step_ms; }
  // What has come in by now: samples, outcomes, what the cells say.
  Inbox TakeInbox();

  bool CellIsDown(int32_t cell, int64_t step) const;
  // By instance id.
  const std::map<std::string, SimInstance>& instances() const { return instances_; }

  int64_t NowMs() override { return now_ms_; }
  double ElapsedMs() override { return 0; }
  uint64_t Random() override { return random_(); }
  absl::Status Write(const Commit&) override { return absl::OkStatus(); }
  void Start(const Action& action) override;

  // An instance that is there from the start.
  void Put(const std::string& id, const SimInstance& instance) { instances_[id] = instance; }

 private:
  struct Due {
    int64_t at_ms = 0;
    ActionKind kind = ActionKind::kCreate;
    bool run = false;  // kCreate
    std::string instance_id;
    Outcome outcome;
  };

  const WorldOptions& options_;
  const Demand& demand_;
  std::mt19937_64 random_;
  int64_t step_ = 0;
  int64_t now_ms_ = 0;
  std::unordered_map<std::string, int32_t> account_index_;
  std::unordered_map<std::string, int32_t> cell_index_;
  std::map<std::string, SimInstance> instances_;
  std::vector<Due> due_;
  std::vector<std::vector<int64_t>> outages_;  // [cell] first steps
};

}  // namespace foreshadow::training
