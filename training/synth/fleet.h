// Made-up fleets whose truth is known: what public traces do not tell - periods, spikes, shifts,
// and a mutation rate that leads the CPU by a set time. Every id begins with "synthetic-".
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "training/io/trace.h"

namespace foreshadow::training {

struct SynthOptions {
  int accounts = 200;
  int cells = 4;
  double days = 10;
  int64_t step_ms = 300'000;
  int64_t start_ms = 0;              // of the first step
  int64_t lead_ms = 900'000;         // by which the mutation rate leads the CPU; whole steps
  double noise = 0.05;               // of an account's level
  double spikes_per_day = 0.2;       // of an account
  double flash_crowds_per_week = 1;  // of a cell
  double level_shifts = 0.1;         // share of the accounts that have one
  double gaps = 0.01;                // share of the samples missing, in runs
  uint64_t seed = 1;
};

struct SynthEvent {
  std::string kind;   // spike, flash-crowd, level-shift, gap
  std::string where;  // account or cell
  int64_t start_ms = 0;
  int64_t end_ms = 0;  // 0 = lasts
  double size = 0;     // times the usual CPU; 0 for a gap
};

struct SynthAccount {
  std::string id;
  double cpu_cores = 0;        // mean level
  double daily_amplitude = 0;  // share of the level
  double peak_hour = 0;        // 0..24, of the day
  double weekend_factor = 1;
  double trend_per_day = 0;  // share of the level
  double mutation_gain = 0;  // cores per operation/s
};

struct SynthFleet {
  Trace trace;
  std::vector<SynthAccount> accounts;
  std::vector<SynthEvent> events;      // by start
  std::vector<double> cell_cpu_cores;  // a capacity that each cell's demand passes now and then
};

// The same options give the same fleet, bit for bit.
SynthFleet MakeFleet(const SynthOptions& options);

}  // namespace foreshadow::training
