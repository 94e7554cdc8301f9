// What a day comes to, in the measures of Beloglazov and Buyya (2012), section 6.2. States hold
// from when they are told until the next; a second one at the same time replaces the first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace foreshadow::training::cloudsim {

struct Result {
  double energy_kwh = 0;
  int64_t migrations = 0;
  double otf = 0;       // share of active host time with less given than wanted (SLATAH)
  double pdm = 0;       // share of demand not given to machines while they move
  double unserved = 0;  // share of demand not given ("overall SLA violation")
  int64_t shutdowns = 0;

  double slav() const { return otf * pdm; }
  double esv() const { return energy_kwh * slav(); }
};

class Tally {
 public:
  Tally(size_t hosts, size_t vms) : hosts_(hosts), vms_(vms) {}
  void Vm(int vm, double seconds, double given_mips, double wanted_mips, bool moving);
  void Host(int host, double seconds, double given_mips, double wanted_mips);
  void Energy(double joules) { joules_ += joules; }
  void Migrations(size_t count) { migrations_ += static_cast<int64_t>(count); }
  Result Sum() const;

 private:
  struct State {
    double since = -1;  // seconds; -1 = none yet
    double given_mips = 0;
    double wanted_mips = 0;
    bool moving = false;
    bool was_active = true;  // before: hosts are on at first
  };
  std::vector<State> hosts_;
  std::vector<State> vms_;
  double joules_ = 0;
  int64_t migrations_ = 0;
  double active_seconds_ = 0;
  double short_seconds_ = 0;
  double wanted_ = 0;  // MIPS x seconds, here and below
  double given_ = 0;
  double missed_moving_ = 0;
  int64_t shutdowns_ = 0;
};

}  // namespace foreshadow::training::cloudsim
