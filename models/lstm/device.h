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
  // needs no warming here. At intervals that divide the model's own, as OverMeans does: `steps` are
  // the model's, of means, and the state follows the ends of its intervals. RESOURCE_EXHAUSTED: the
  // device has no room for it; INTERNAL: what the device says. Then it is as new.
  absl::Status Follow(const LstmRunner& runner, const History& history, int steps, int threads);
  const QuantileBlock& answers() const { return answers_; }  // of the newest call

 private:
  struct Memory;  // on the device
  absl::Status Begin(const LstmRunner& runner, const History& history, int steps);
  void Advance(std::span<const float> samples);
  void StepNetwork(const LstmRunner& runner, int64_t first, int64_t count, int steps);
  std::vector<int64_t> WithPasts(const History& ended, const History& before, int64_t new_steps,
                                 std::span<const float> newest) const;
  void TakeInPasts(const LstmRunner& runner, const History& before, int64_t network_steps,
                   std::span<const int64_t> late);
  absl::Status Forecast(const LstmRunner& runner, int threads);
  absl::Status Look(const LstmRunner& runner, std::span<const float> newest, int threads);

  const kernels::Ops& ops_;
  const int64_t chunk_series_;
  std::unique_ptr<Memory> memory_;
  LstmSeen seen_;
  std::vector<uint8_t> sampled_;  // [series] a sample of it has been taken in
  QuantileBlock answers_;
};

}  // namespace foreshadow::models
