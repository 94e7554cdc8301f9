// Trains what actions are worth: a double DQN (van Hasselt et al. 2016) with a dueling head (Wang
// et al. 2016), two hidden layers, Huber loss, Adam, a target network that follows slowly. Only the
// training; service/learn/q_policy.h runs the weights. Plain arrays in and out, so that no header
// of torch is seen outside this folder. One thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "models/file/safetensors.h"

namespace foreshadow::models {

struct QShape {
  int features = 0;
  int hidden = 64;
  int actions = 0;
  // Off for ablations only. Weights are such that service/learn/q_policy.h runs them all the same.
  bool dueling = true;
  bool double_q = true;
};

// Rows of a batch are transitions. A reward is the discounted sum over the steps taken; `discount`
// is what the value of the state after them counts for.
struct QBatch {
  int64_t rows = 0;
  std::span<const float> features;        // [rows][features]
  std::span<const int64_t> actions;       // [rows]
  std::span<const float> rewards;         // [rows]
  std::span<const float> discounts;       // [rows]
  std::span<const float> features_after;  // [rows][features]
  std::span<const float> allowed;         // [rows][actions], 1 = the guard allowed it
  std::span<const float> allowed_after;   // the same after them; at least one each
  std::span<const float> weights;         // [rows] of the loss
  // [rows], from 0: rows of one number are of one state, each another action under the same chance.
  // What they differ by is then the action's doing, and is learned beside the values, which chance
  // moves more. Empty = each row is a state of its own.
  std::span<const int64_t> states;
  // How much an action not in the data is held down (Kumar et al. 2020, "Conservative Q-learning",
  // equation 4); 0 where the policy can try what it thinks of.
  float conservative = 0;
};

// Torch's errors come back as INTERNAL.
class QNetwork {
 public:
  static absl::StatusOr<std::unique_ptr<QNetwork>> Create(const QShape& shape, uint64_t seed);
  ~QNetwork();

  // One step, gradient norm cut to 10; the target network then goes `follow` of the way. Returns
  // the loss, and into `errors` [rows] (may be empty) how far each row was off.
  absl::StatusOr<float> TrainStep(const QBatch& batch, double learning_rate, double follow,
                                  std::span<float> errors);

  // first, second, heads: .weight and .bias.
  std::vector<Tensor> Weights() const;
  // Makes both networks these. INVALID_ARGUMENT names a tensor that is missing or of another shape.
  absl::Status SetWeights(const std::vector<Tensor>& weights);

  // Target network and Adam's moments, to resume exactly where it was; the same errors.
  std::vector<Tensor> TrainingState() const;
  absl::Status SetTrainingState(const std::vector<Tensor>& state);

 private:
  struct Impl;
  explicit QNetwork(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace foreshadow::models
