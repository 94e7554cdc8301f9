// The LSTM of all series in the memory of a kernels' backend, say a GPU: what stream.h carries from
// step to step stays there, and of a step only its samples go in and the answers come out. One
// thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "kernels/ops.h"
#include "models/lstm/runner.h"
#include "models/lstm/stream.h"

namespace foreshadow::models {

class LstmDevice {
 public:
  // So many series are forecast at once, whole tiles.
  explicit LstmDevice(const kernels::Ops& ops, int64_t chunk_series = 1 << 18);
  ~LstmDevice();
  LstmDevice(const LstmDevice&) = delete;
  LstmDevice& operator=(const LstmDevice&) = delete;

  // As FollowLstm does; `threads` write the answers down, 0 = one per core. A driver that is new
  // needs no warming here. RESOURCE_EXHAUSTED: the device has no room for it; INTERNAL: what the
  // device says. Then it is as new.
  absl::Status Follow(const LstmRunner& runner, const History& history, int steps, int threads,
                      QuantileBlock& out);

 private:
  struct Memory;  // on the device
  absl::Status Begin(const LstmRunner& runner, const History& history, int steps);
  void Advance(const History& history, int64_t step);
  void StepNetwork(const LstmRunner& runner, int64_t first, int64_t count, int steps);
  std::vector<int64_t> WithPasts(const History& history, int64_t new_steps) const;
  void TakeInPasts(const LstmRunner& runner, const History& history,
                   std::span<const int32_t> contexts, std::span<const int64_t> late);
  absl::Status Forecast(const LstmRunner& runner, int threads, QuantileBlock& out);

  const kernels::Ops& ops_;
  const int64_t chunk_series_;
  std::unique_ptr<Memory> memory_;
  LstmSeen seen_;
  std::vector<uint8_t> sampled_;  // [series] a sample of it has been taken in
};

}  // namespace foreshadow::models
