// What came of it: the demand of each step against what the cells had, and what shadows cost. The
// figures are those of docs/simulator.md. One thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "service/tick/types.h"
#include "training/simulate/demand.h"
#include "training/simulate/panel.h"
#include "training/simulate/world.h"

namespace foreshadow::training {

// Forecasts of one chance against what came. [bin] of tenths
struct Reliability {
  double squares = 0;
  std::array<double, 10> said{};
  std::array<double, 10> came{};
  std::array<int64_t, 10> count{};

  void Add(double probability, bool happened);
  void Add(const Reliability& other);
  int64_t total() const;
  double brier() const;
  double ece() const;  // expected calibration error
  double base_rate() const;
};

// An overload of a cell had something been left undone.
struct Episode {
  int32_t cell = 0;
  int64_t onset_step = 0;
  int64_t end_step = 0;
  bool covered = false;      // a shadow was ready before it
  bool prevented = false;    // as traffic went, the cell was not overloaded while it lasts
  double lead_min = 0;       // from a ready shadow to its onset
  bool foreseeable = false;  // someone on the panel gave it an even chance 15 to 60 min ahead
};

struct Metrics {
  std::array<double, kResources> demand{};  // core-hours; the same of the others' units
  std::array<double, kResources> unserved{};
  double overloaded_core_hours = 0;  // of the capacity of overloaded cells
  double shadow_core_hours = 0;
  double cell_hours = 0;
  double overload_minutes = 0;
  double nearly_minutes = 0;
  double account_hours = 0;
  double account_overload_minutes = 0;
  double tail_unserved_share = 0;  // of the worst 1 % of accounts
  double episode_p99_min = 0;
  int64_t moves = 0;
  int64_t ping_pong = 0;
  int64_t created = 0;
  int64_t judged =
      0;  // shadows that carried no traffic that was needed, of those judged, are false
  int64_t false_shadows = 0;
  Reliability within_15;
  Reliability within_60;
  double slowdown_mean = 0;  // of requests, against an idle cell
  double slowdown_p99 = 0;
  double time_over_full = 0;    // SLATAH of Beloglazov and Buyya: share of active time at 100 %
  double copy_degradation = 0;  // PDM: share of demand lost to copies
  double energy_kwh = 0;        // of the cells
  int64_t broken = 0;           // invariants, must be 0
  // Had no traffic been moved from where accounts live, and had nobody left for good in the last
  // hour; one who has is readier than any shadow.
  std::vector<Episode> episodes;
  // Had nothing ever been done: the world's, whatever the policy.
  std::vector<Episode> episodes_of_none;

  double cost(const Prices& prices = kPrices) const;
  double UnservedShare() const;  // worst resource
};

class Ledger {
 public:
  Ledger(const Demand& demand, const WorldOptions& options, int64_t first_step);

  // Settles a step with the splits that were in force in it and where accounts lived, before the
  // tick that sees it.
  void Settle(int64_t step, const std::vector<Shadow>& shadows, const std::vector<int32_t>& homes,
              const SimWorld& world);
  // What the tick of that step said and now has.
  void Note(int64_t step, const TickReport& report);
  // When all steps are settled.
  Metrics Finish();

 private:
  // A shadow's counterfactual: what its source cell carried when it was decided, frozen.
  struct Fork {
    int32_t source = 0;
    int64_t from_step = 0;
    int64_t to_step = 0;                             // when it went
    std::vector<std::pair<int32_t, double>> shares;  // account, share of its CPU
  };
  struct Left {
    int32_t cell = -1;
    int64_t step = 0;
  };
  struct Traffic {
    double split = 0;
    int64_t moved_step = -1;
    bool counted = false;  // as ping-pong
  };
  // What cells would have carried had something been left undone, and who could have known.
  struct Undone {
    std::vector<double> load;  // CPU. [step][cell]
    Panel panel;
    std::vector<std::vector<int64_t>> residents = {};  // [cell] accounts, in the newest step
  };
  bool scored(int64_t step) const { return step >= first_step_; }
  bool Over(const std::vector<double>& load, int64_t step, int32_t cell) const;
  void FollowTraffic(int64_t step, const std::vector<Shadow>& shadows,
                     const std::vector<int32_t>& homes);
  // The cell that it left for good within the hour before `step`; -1 = none.
  int32_t LeftLately(int64_t step, int64_t account) const;
  double LoadOf(int64_t step, const std::vector<int64_t>& accounts) const;
  // The load of that step, what the panel sees of it, and what comes.
  void Follow(int64_t step, Undone& undone);
  bool Foreseeable(const Undone& undone, int64_t onset, int32_t cell) const;
  void HoldAgainstTheFuture(int64_t step, const TickReport& report);
  std::vector<Episode> EpisodesOf(const Undone& undone) const;
  bool ForkOverloads(const Fork& fork) const;

  const Demand& demand_;
  const WorldOptions& options_;
  int64_t first_step_;
  size_t cells_;
  double step_hours_;
  Metrics metrics_;
  Undone lately_;                       // with those who left in the last hour
  Undone ever_;                         // with all who were there at first
  std::vector<uint8_t> overloaded_;     // as traffic went, in scored steps. [step][cell]
  std::vector<int32_t> homes_;          // [account] in the newest step
  std::vector<Left> left_;              // [account] the newest home that it left for good
  std::vector<double> account_demand_;  // core-hours
  std::vector<double> account_unserved_;
  std::vector<Traffic> traffic_;                                 // [account]
  std::unordered_map<std::string, Fork> forks_;                  // of shadows that exist
  std::vector<int64_t> run_steps_;                               // [cell] of overload until now
  std::vector<double> run_minutes_;                              // of each overload that ended
  std::vector<std::vector<std::pair<int64_t, int64_t>>> ready_;  // [cell] steps with a ready shadow
  std::vector<int64_t> ready_since_;                             // [cell] -1 = none
  std::vector<std::pair<double, double>> slowdowns_;             // and their demand
  double copied_core_hours_ = 0;
  int64_t over_full_steps_ = 0;
  int64_t active_steps_ = 0;
};

// Mean response time of M/M/c, in service times, by Sakasegawa's approximation (1977): 1 +
// u^(sqrt(2 (c + 1)) - 1) / (c (1 - u)); where demand exceeds capacity the queue grows over the
// step and a request waits half of what has gathered by its end.
double Slowdown(double demand, double capacity, double step_ms);

// What a cell draws, by kServerWatts, straight lines between them.
double Watts(double demand, double capacity);

}  // namespace foreshadow::training
