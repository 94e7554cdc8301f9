// Torch's own LSTM, for tests/benchmarks/lstm_step_bench.cc to be measured against; in no program.
#pragma once

#include <cstdint>
#include <memory>

namespace foreshadow::models {

class TorchLstm {
 public:
  // Random weights and inputs, on one thread.
  TorchLstm(int64_t inputs, int64_t hidden, int64_t layers, int64_t series, bool bfloat16);
  ~TorchLstm();

  void Step();                 // one step of all series, the state carried
  void Window(int64_t steps);  // so many steps from a state of zeros

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace foreshadow::models
