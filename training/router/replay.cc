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
    const int64_t row = next_;
    std::copy(from.features.begin(), from.features.end(), &features_[row * kSplitFeatures]);
    std::copy(to.features.begin(), to.features.end(), &features_after_[row * kSplitFeatures]);
    std::copy(from.allowed.begin(), from.allowed.end(), &allowed_[row * kSplitActions]);
    std::copy(to.allowed.begin(), to.allowed.end(), &allowed_after_[row * kSplitActions]);
    actions_[row] = from.action;
    rewards_[row] = static_cast<float>(options_.reward_scale * reward);
    discounts_[row] = static_cast<float>(factor);
    if (options_.prioritized) SetPriority(row, priority_max_);
    next_ = (next_ + 1) % options_.capacity;
    size_ = std::min(size_ + 1, options_.capacity);
  }
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

models::QBatch Replay::Draw(int64_t rows, std::mt19937_64& random) {
  drawn_ = {};
  float weight_max = 0;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t row = DrawOne(random);
    drawn_.at.push_back(row);
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
    weight_max = std::max(weight_max, weight);
    drawn_.weights.push_back(weight);
  }
  for (float& weight : drawn_.weights) weight /= weight_max;
  return {.rows = rows,
          .features = drawn_.features,
          .actions = drawn_.actions,
          .rewards = drawn_.rewards,
          .discounts = drawn_.discounts,
          .features_after = drawn_.features_after,
          .allowed = drawn_.allowed,
          .allowed_after = drawn_.allowed_after,
          .weights = drawn_.weights};
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
          {"replay.place", {2}, {static_cast<float>(next_), priority_max_}}};
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
  if (place == nullptr || rewards == nullptr || place->values.size() != 2 ||
      std::ssize(rewards->values) > options_.capacity) {
    return absl::InvalidArgumentError("the checkpoint's replay is missing or too large");
  }
  size_ = std::ssize(rewards->values);
  next_ = static_cast<int64_t>(place->values[0]) % options_.capacity;
  std::vector<float> priorities(static_cast<size_t>(options_.capacity));
  const std::pair<const char*, std::pair<std::vector<float>*, int>> parts[] = {
      {"features", {&features_, kSplitFeatures}},
      {"features_after", {&features_after_, kSplitFeatures}},
      {"allowed", {&allowed_, kSplitActions}},
      {"allowed_after", {&allowed_after_, kSplitActions}},
      {"actions", {&actions_, 1}},
      {"rewards", {&rewards_, 1}},
      {"discounts", {&discounts_, 1}},
      {"priorities", {&priorities, 1}}};
  for (const auto& [name, to] : parts) {
    const models::Tensor* tensor = find(name);
    if (tensor == nullptr || std::ssize(tensor->values) != size_ * to.second) {
      return absl::InvalidArgumentError(
          fmt::format("the checkpoint's replay.{} is missing or of another size", name));
    }
    std::copy(tensor->values.begin(), tensor->values.end(), to.first->begin());
  }
  for (int64_t row = 0; row < size_; ++row) SetPriority(row, priorities[row]);
  priority_max_ = place->values[1];
  return absl::OkStatus();
}

}  // namespace foreshadow::training::router
