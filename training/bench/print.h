// The results of `foreshadow bench` as a table for people or JSON for programs.
#pragma once

#include <string>
#include <vector>

#include "training/bench/growth.h"
#include "training/bench/measure.h"
#include "training/bench/peers.h"

namespace foreshadow::training {

struct Machine {
  std::string cpu;       // as the kernel names it
  int cores = 0;         // that this process may use
  std::string kernels;   // the backend and its instruction set
  std::string compiler;  // that built this program
  double load = 0;       // processes that wanted a core in the last minute, before the run
};
Machine DescribeMachine(const kernels::Ops& ops);

struct CaseResult {
  const Case* which = nullptr;
  std::string skipped;  // why it did not run; empty = it did
  Timing timing;
  std::vector<std::pair<std::string, PeerReport>> peers;
};

struct BenchResults {
  Machine machine;
  Shape shape;
  MeasureOptions options;
  bool on_host = true;  // else on a GPU, where CPU time means nothing
  std::vector<CaseResult> cases;
  std::vector<Growth> growth;
};

std::string BenchTable(const BenchResults& results);
std::string BenchJson(const BenchResults& results);

}  // namespace foreshadow::training
