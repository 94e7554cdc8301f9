// What accounts ask for, step by step, as the simulated world knows it and as telemetry tells it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "service/tick/types.h"
#include "training/io/trace.h"

namespace foreshadow::training {

struct Telemetry {
  double noise = 0;         // deviation of a measured value, as a share of it
  double missing = 0;       // share of the samples that never come
  int64_t delay_steps = 0;  // samples come that late
  uint64_t seed = 1;
};

struct Demand {
  int64_t start_ms = 0;
  int64_t step_ms = 0;
  int64_t steps = 0;
  int64_t delay_steps = 0;
  std::vector<TraceAccount> accounts;
  std::vector<float> truth;  // [step][account * kSignals + signal]; 0 where it does not run
  std::vector<float> seen;   // likewise; NaN = no sample

  int64_t count() const { return static_cast<int64_t>(accounts.size()); }
  int64_t series() const { return count() * kSignals; }
  float at(int64_t step, int64_t account, int signal) const {
    return truth[static_cast<size_t>(step * series() + account * kSignals + signal)];
  }
  // Newest sample of a series that has come by the tick of this step, at most an hour old, else 0.
  float Seen(int64_t step, int64_t account, int signal) const;
  // What a shadow of the account holds.
  double MemoryBytes(int64_t step, int64_t account) const;
  double MeanCpu(int64_t first_step) const;  // of all accounts together, from that step on
};

// A gap of up to an hour keeps the value before it; in longer ones the account does not run.
Demand MakeDemand(const Trace& trace, const Telemetry& telemetry);

// Cuts each account's time into blocks and puts them into an order of its own: levels stay, what is
// foreseeable beyond a block goes.
void ShuffleBlocks(Trace& trace, int64_t block_steps, uint64_t seed);

// Replaces everything after a step by noise: what was decided up to then may not change.
void ScrambleAfter(Trace& trace, int64_t step, uint64_t seed);

// Made-up demand that nothing foretells: levels with noise that jump for good (steps), or cells
// whose accounts all triple for half an hour (crowds).
enum class Regime : uint8_t { kSteps, kCrowds };
Trace MakeRegime(Regime regime, int accounts, int64_t steps, uint64_t seed);

}  // namespace foreshadow::training
