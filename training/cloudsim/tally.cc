#include "training/cloudsim/tally.h"

namespace foreshadow::training::cloudsim {

void Tally::Vm(int vm, double seconds, double given_mips, double wanted_mips, bool moving) {
  State& state = vms_[vm];
  if (state.since >= 0 && seconds > state.since) {
    const double lasted = seconds - state.since;
    wanted_ += state.wanted_mips * lasted;
    given_ += state.given_mips * lasted;
    if (state.moving && state.given_mips < state.wanted_mips) {
      missed_moving_ += (state.wanted_mips - state.given_mips) * lasted;
    }
  }
  state = {seconds, given_mips, wanted_mips, moving};
}

void Tally::Host(int host, double seconds, double given_mips, double wanted_mips) {
  State& state = hosts_[host];
  bool was_active = state.was_active;
  if (state.since >= 0 && seconds > state.since) {
    const double lasted = seconds - state.since;
    const bool active = state.given_mips > 0;
    if (active) active_seconds_ += lasted;
    if (active && state.given_mips < state.wanted_mips) short_seconds_ += lasted;
    if (was_active && !active) ++shutdowns_;
    was_active = active;
  }
  state = {seconds, given_mips, wanted_mips, false, was_active};
}

Result Tally::Sum() const {
  Result sum;
  sum.energy_kwh = joules_ / 3.6e6;
  sum.migrations = migrations_;
  sum.otf = active_seconds_ > 0 ? short_seconds_ / active_seconds_ : 0;
  sum.pdm = wanted_ > 0 ? missed_moving_ / wanted_ : 0;
  sum.unserved = wanted_ > 0 ? (wanted_ - given_) / wanted_ : 0;
  sum.shutdowns = shutdowns_;
  for (const State& host : hosts_) {
    sum.shutdowns += host.since >= 0 && host.was_active && host.given_mips <= 0;
  }
  return sum;
}

}  // namespace foreshadow::training::cloudsim
