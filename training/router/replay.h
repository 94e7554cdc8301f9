// The transitions that a policy learns from: a ring, drawn from evenly or by how far the network
// was off (Schaul et al. 2016, "Prioritized experience replay", proportional variant). One thread.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <vector>

#include "models/torch/q_network.h"
#include "training/router/learned.h"

namespace foreshadow::training::router {

struct ReplayOptions {
  int64_t capacity = 120'000;
  int steps = 5;              // that a transition spans
  double discount = 0.97;     // of ten seconds
  double reward_scale = 0.2;  // what the network sees of a reward of 1
  bool prioritized = false;
};

class Replay {
 public:
  explicit Replay(const ReplayOptions& options);

  void Add(const LoggedEpisode& episode);
  // Of one state, each of another action; drawn together.
  void Add(std::span<const Transition> transitions);
  int64_t size() const { return size_; }

  // At least so many rows, states as a whole; valid until the next Draw.
  models::QBatch Draw(int64_t rows, std::mt19937_64& random);
  // Of the rows drawn last; of use when prioritized.
  void Learned(std::span<const float> errors);

  std::vector<models::Tensor> Save() const;
  absl::Status Load(const std::vector<models::Tensor>& tensors);

 private:
  int64_t DrawOne(std::mt19937_64& random) const;
  void TakeState(int64_t row, int64_t number);
  void AddOne(const Transition& transition);
  void SetPriority(int64_t row, float priority);

  ReplayOptions options_;
  int64_t size_ = 0;
  int64_t next_ = 0;
  std::vector<float> features_, features_after_, allowed_, allowed_after_;  // [row][..]
  std::vector<float> actions_, rewards_, discounts_;                        // [row]
  std::vector<int64_t> states_;  // [row] number of the state; equal ones lie side by side
  int64_t states_count_ = 0;
  std::vector<double> tree_;  // sums of priorities: leaves at [capacity, 2 capacity)
  float priority_max_ = 1;

  struct Rows {
    std::vector<int64_t> at, actions, states;
    std::vector<float> features, features_after, allowed, allowed_after, rewards, discounts,
        weights;
  } drawn_;
};

}  // namespace foreshadow::training::router
