// The world of the running server: the history store for a disk, a fleet of cell agents for hands.
#pragma once

#include <chrono>
#include <functional>
#include <random>

#include "service/history/store.h"
#include "service/world/world.h"

namespace foreshadow {

class RealWorld : public World {
 public:
  // `fleet` gives the newest fleet, `moved` hears of accounts that now live elsewhere, `start`
  // begins to carry out an action, `stopping` says whether the server ends. All outlive this.
  RealWorld(HistoryStore& store, uint64_t seed, std::function<std::shared_ptr<const Fleet>()> fleet,
            std::function<void(const std::vector<Account>&)> moved,
            std::function<void(const Action&)> start, std::function<bool()> stopping);

  // Before each tick: its time, and the number of the newest command in its inbox (0 = none).
  void SetTick(int64_t now_ms, uint64_t commands_taken) {
    now_ms_ = now_ms;
    commands_taken_ = commands_taken;
  }

  int64_t NowMs() override { return now_ms_; }
  double ElapsedMs() override;
  uint64_t Random() override { return random_(); }
  absl::Status Write(const Commit& commit) override;
  void Start(const Action& action) override { start_(action); }
  bool Stopping() const override { return stopping_(); }

 private:
  HistoryStore& store_;
  std::mt19937_64 random_;
  std::function<std::shared_ptr<const Fleet>()> fleet_;
  std::function<void(const std::vector<Account>&)> moved_;
  std::function<void(const Action&)> start_;
  std::function<bool()> stopping_;
  int64_t now_ms_ = 0;
  uint64_t commands_taken_ = 0;
};

}  // namespace foreshadow
