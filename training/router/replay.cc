#include "training/router/replay.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "service/learn/reward.h"

namespace foreshadow::training::router {
namespace {

constexpr double kPriorityPower = 0.6;  // alpha of the paper
constexpr double kWeightPower = 0.4;    // beta
constexpr float kPriorityLeast = 1e-3f;

void CopyRow(const std::vector<float>& from, int64_t row, int width, std::vector<float>& to) {
  to.insert(to.end(), from.begin() + row * width, from.begin() + (row + 1) * width);
}

}  // namespace

Replay::Replay(const ReplayOptions& options) : options_(options) {
  const auto rows = static_cast<size_t>(options.capacity);
  features_.resize(rows * kSplitFeatures);
  features_after_.resize(rows * kSplitFeatures);
  allowed_.resize(rows * kSplitActions);
  allowed_after_.resize(rows * kSplitActions);
  actions_.resize(rows);
  rewards_.resize(rows);
  discounts_.resize(rows);
  states_.resize(rows, -1);
  tree_.resize(2 * rows);
}

void Replay::Add(const LoggedEpisode& episode) {
  const auto last = std::ssize(episode.steps) - 1;
  const double discount = std::pow(options_.discount, episode.interval_s / kCostSeconds);
  for (int64_t t = 0; t < last; ++t) {
    const int64_t end = std::min<int64_t>(t + options_.steps, last);
    double reward = 0;
    double factor = 1;
    for (int64_t k = t; k < end; ++k, factor *= discount) {
      reward += factor * episode.steps[k].reward;
    }
    const LoggedStep& from = episode.steps[t];
    const LoggedStep& to = episode.steps[end];
    const Transition done = {from.features, from.allowed, from.action, reward,
                             factor,        to.features,  to.allowed};
    Add({&done, 1});
  }
}

void Replay::Add(std::span<const Transition> transitions) {
  for (const Transition& transition : transitions) AddOne(transition);
  ++states_count_;
}

void Replay::AddOne(const Transition& t) {
  const int64_t row = next_;
  states_[row] = states_count_;
  std::copy(t.features.begin(), t.features.end(), &features_[row * kSplitFeatures]);
  std::copy(t.features_after.begin(), t.features_after.end(),
            &features_after_[row * kSplitFeatures]);
  std::copy(t.allowed.begin(), t.allowed.end(), &allowed_[row * kSplitActions]);
  std::copy(t.allowed_after.begin(), t.allowed_after.end(), &allowed_after_[row * kSplitActions]);
  actions_[row] = t.action;
  rewards_[row] = static_cast<float>(options_.reward_scale * t.reward);
  discounts_[row] = static_cast<float>(t.discount);
  if (options_.prioritized) SetPriority(row, priority_max_);
  next_ = (next_ + 1) % options_.capacity;
  size_ = std::min(size_ + 1, options_.capacity);
}

void Replay::SetPriority(int64_t row, float priority) {
  int64_t node = row + options_.capacity;
  const double change = priority - tree_[node];
  for (; node >= 1; node /= 2) tree_[node] += change;
}

int64_t Replay::DrawOne(std::mt19937_64& random) const {
  if (!options_.prioritized) return static_cast<int64_t>(random() % static_cast<uint64_t>(size_));
  double mass = std::uniform_real_distribution<double>(0, tree_[1])(random);
  int64_t node = 1;
  while (node < options_.capacity) {
    node *= 2;
    if (mass > tree_[node] && tree_[node + 1] > 0) mass -= tree_[node++];
  }
  return std::min(node - options_.capacity, size_ - 1);
}

void Replay::TakeState(int64_t row, int64_t number) {
  const auto beside = [&](int64_t by) {
    return (row + by + options_.capacity) % options_.capacity;
  };
  const int64_t state = states_[row];
  while (states_[beside(-1)] == state) row = beside(-1);
  for (;; row = beside(1)) {
    drawn_.at.push_back(row);
    drawn_.states.push_back(number);
    drawn_.actions.push_back(static_cast<int64_t>(actions_[row]));
    CopyRow(features_, row, kSplitFeatures, drawn_.features);
    CopyRow(features_after_, row, kSplitFeatures, drawn_.features_after);
    CopyRow(allowed_, row, kSplitActions, drawn_.allowed);
    CopyRow(allowed_after_, row, kSplitActions, drawn_.allowed_after);
    drawn_.rewards.push_back(rewards_[row]);
    drawn_.discounts.push_back(discounts_[row]);
    float weight = 1;
    if (options_.prioritized) {
      const double chance = std::max(tree_[row + options_.capacity] / tree_[1], 1e-12);
      weight = static_cast<float>(std::pow(chance * static_cast<double>(size_), -kWeightPower));
    }
    drawn_.weights.push_back(weight);
    if (states_[beside(1)] != state) return;
  }
}

models::QBatch Replay::Draw(int64_t rows, std::mt19937_64& random) {
  drawn_ = {};
  for (int64_t number = 0; std::ssize(drawn_.at) < rows; ++number) {
    TakeState(DrawOne(random), number);
  }
  const float weight_max = std::ranges::max(drawn_.weights);
  for (float& weight : drawn_.weights) weight /= weight_max;
  return {.rows = std::ssize(drawn_.at),
          .features = drawn_.features,
          .actions = drawn_.actions,
          .rewards = drawn_.rewards,
          .discounts = drawn_.discounts,
          .features_after = drawn_.features_after,
          .allowed = drawn_.allowed,
          .allowed_after = drawn_.allowed_after,
          .weights = drawn_.weights,
          .states = drawn_.states};
}

void Replay::Learned(std::span<const float> errors) {
  if (!options_.prioritized) return;
  for (size_t i = 0; i < errors.size(); ++i) {
    const auto priority = static_cast<float>(std::pow(errors[i] + kPriorityLeast, kPriorityPower));
    priority_max_ = std::max(priority_max_, priority);
    SetPriority(drawn_.at[i], priority);
  }
}

std::vector<models::Tensor> Replay::Save() const {
  const auto tensor = [this](const std::string& name, const std::vector<float>& values, int width) {
    return models::Tensor{"replay." + name,
                          {size_, width},
                          std::vector<float>(values.begin(), values.begin() + size_ * width)};
  };
  std::vector<float> priorities;
  for (int64_t row = 0; row < size_; ++row) {
    priorities.push_back(static_cast<float>(tree_[row + options_.capacity]));
  }
  return {tensor("features", features_, kSplitFeatures),
          tensor("features_after", features_after_, kSplitFeatures),
          tensor("allowed", allowed_, kSplitActions),
          tensor("allowed_after", allowed_after_, kSplitActions),
          tensor("actions", actions_, 1),
          tensor("rewards", rewards_, 1),
          tensor("discounts", discounts_, 1),
          tensor("priorities", priorities, 1),
          tensor("states", std::vector<float>(states_.begin(), states_.end()), 1),
          {"replay.place",
           {3},
           {static_cast<float>(next_), priority_max_, static_cast<float>(states_count_)}}};
}

absl::Status Replay::Load(const std::vector<models::Tensor>& tensors) {
  const auto find = [&](const std::string& name) -> const models::Tensor* {
    for (const models::Tensor& t : tensors) {
      if (t.name == "replay." + name) return &t;
    }
    return nullptr;
  };
  const models::Tensor* place = find("place");
  const models::Tensor* rewards = find("rewards");
  if (place == nullptr || rewards == nullptr || place->values.size() != 3 ||
      std::ssize(rewards->values) > options_.capacity) {
    return absl::InvalidArgumentError("the checkpoint's replay is missing or too large");
  }
  size_ = std::ssize(rewards->values);
  next_ = static_cast<int64_t>(place->values[0]) % options_.capacity;
  std::vector<float> priorities(static_cast<size_t>(options_.capacity));
  std::vector<float> states(static_cast<size_t>(options_.capacity), -1);
  const std::pair<const char*, std::pair<std::vector<float>*, int>> parts[] = {
      {"features", {&features_, kSplitFeatures}},
      {"features_after", {&features_after_, kSplitFeatures}},
      {"allowed", {&allowed_, kSplitActions}},
      {"allowed_after", {&allowed_after_, kSplitActions}},
      {"actions", {&actions_, 1}},
      {"rewards", {&rewards_, 1}},
      {"discounts", {&discounts_, 1}},
      {"priorities", {&priorities, 1}},
      {"states", {&states, 1}}};
  for (const auto& [name, to] : parts) {
    const models::Tensor* tensor = find(name);
    if (tensor == nullptr || std::ssize(tensor->values) != size_ * to.second) {
      return absl::InvalidArgumentError(
          fmt::format("the checkpoint's replay.{} is missing or of another size", name));
    }
    std::copy(tensor->values.begin(), tensor->values.end(), to.first->begin());
  }
  for (int64_t row = 0; row < size_; ++row) SetPriority(row, priorities[row]);
  states_.assign(states.begin(), states.end());
  priority_max_ = place->values[1];
  states_count_ = static_cast<int64_t>(place->values[2]);
  return absl::OkStatus();
}

}  // namespace foreshadow::training::router
