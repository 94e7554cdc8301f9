// The LSTM itself: weights, forward pass, and one step of training. Plain arrays in and out, so
// that no header of torch is seen outside this folder.
//
// Per step: features and an embedding of the signal kind go into the LSTM; its state and the
// features into a dense layer; from there, for each coming step, the weights of a mixture of the
// candidates (softmax) plus an offset give the median, and positive gaps (softplus) added up and
// down from it the other quantiles, which are so in order by construction. Offset and gaps are in
// units of a geometric mean of the spreads, whose weights (softmax) the network gives as well.
// Sequences of a batch are forked at each scored step, after Wen et al. (2017), "A multi-horizon
// quantile recurrent forecaster", section 3.3.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/file/safetensors.h"
#include "models/torch/process_group.h"

namespace foreshadow::models {

struct LstmShape {
  int features = 0;
  int candidates = 0;
  int spreads = 0;
  int signal_kinds = 0;
  int applications = 0;  // that have a name; 0 of the batch stands for all others
  int embedding = 4;     // width of what stands for a signal, and for an application
  int hidden = 64;
  int layers = 1;
  int dense = 64;
  int horizon_steps = 12;
  int quantiles = 0;
  int median = 0;  // index of the level 0.5
};

// Sequences are lanes: rows of `width`, of which the first `sequences` count.
struct LstmBatch {
  int64_t steps = 0;
  int64_t sequences = 0;
  int64_t width = 0;
  int64_t scored = 0;                     // steps that give an output: the last one and each
  int64_t stride = 1;                     // so many steps before
  std::span<const float> features;        // [steps][features][width]
  std::span<const int64_t> signals;       // [sequences], 0..signal_kinds-1
  std::span<const int64_t> applications;  // [sequences], 0..applications, 0 = unknown
  std::span<const float> candidates;      // [scored][horizon][candidates][width], scaled
  std::span<const float> spreads;         // [scored][spreads][width], logarithms
};

struct LstmTargets {
  std::span<const float> values;   // [scored][horizon][width], scaled; NaN = missing
  std::span<const float> levels;   // [quantiles]
  std::span<const float> weights;  // [horizon] of the loss
  // [scored][sequences][horizon][quantiles] what a teacher forecasts; empty = there is none. Then
  // nine tenths of the loss are its mean over values drawn from that - between two quantiles each
  // as likely as any other - after Hinton, Vinyals and Dean (2015), "Distilling the knowledge in a
  // neural network", section 2: a forecast tells more than the one value that came, and less of
  // what nobody can know.
  std::span<const float> taught = {};
};

enum class Device : uint8_t { kCpu, kGpu };

// Uses of one network must not overlap, but for Forecast and Loss, which may run on any number of
// threads at once. Torch's errors come back as INTERNAL.
class LstmNetwork {
 public:
  // Weights drawn from the seed; the process's torch threads are set to `threads`. On the GPU it
  // computes in TF32.
  static absl::StatusOr<std::unique_ptr<LstmNetwork>> Create(const LstmShape& shape, uint64_t seed,
                                                             int threads,
                                                             Device device = Device::kCpu);
  static bool HasGpu();
  ~LstmNetwork();

  const LstmShape& shape() const;

  // Scaled quantiles [scored][sequences][horizon][quantiles].
  absl::Status Forecast(const LstmBatch& batch, std::span<float> quantiles) const;

  // Weighted mean pinball loss over all targets that are there, NaN when there are none. Where a
  // candidate is farther than 4 deviations off, the scale is stale, and the loss weighs 4 / that
  // distance.
  absl::StatusOr<float> Loss(const LstmBatch& batch, const LstmTargets& targets) const;

  // Training starts from no state: call it wherever a checkpoint may be.
  void BeginEpoch();

  // One AdamW step, gradient norm cut to 1; the loss before it. With a group, gradients and loss
  // are the means over its ranks, so that networks that began alike stay alike. Half of the
  // sequences begin in states that those of the batch before ended in.
  absl::StatusOr<float> TrainStep(const LstmBatch& batch, const LstmTargets& targets,
                                  double learning_rate, ProcessGroup* group = nullptr);

  std::vector<Tensor> Weights() const;
  // INVALID_ARGUMENT names a tensor that is missing, superfluous or of another shape.
  absl::Status SetWeights(const std::vector<Tensor>& weights);

  // Moments of AdamW, to resume training exactly where it was; the same errors.
  std::vector<Tensor> OptimizerState() const;
  absl::Status SetOptimizerState(const std::vector<Tensor>& state);

 private:
  struct Impl;
  explicit LstmNetwork(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace foreshadow::models
