// A policy of the split that always values one action most: all its weights are zero but a bias.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "service/learn/q_policy.h"

namespace foreshadow::testing {

inline QCard FixedCard(const std::string& version) {
  QCard card;
  card.hidden = 2;
  card.version = version;
  card.interval_s_min = 1;
  card.interval_s_max = 60;
  card.feature_min.fill(-10);
  card.feature_max.fill(10);
  return card;
}

inline std::vector<models::Tensor> FixedWeights(SplitAction action) {
  const auto tensor = [](const char* name, const std::vector<int64_t>& shape) {
    int64_t count = 1;
    for (const int64_t side : shape) count *= side;
    return models::Tensor{name, shape, std::vector<float>(static_cast<size_t>(count))};
  };
  std::vector<models::Tensor> weights = {tensor("first.weight", {2, kSplitFeatures}),
                                         tensor("first.bias", {2}),
                                         tensor("second.weight", {2, 2}),
                                         tensor("second.bias", {2}),
                                         tensor("heads.weight", {1 + kSplitActions, 2}),
                                         tensor("heads.bias", {1 + kSplitActions})};
  weights.back().values[1 + static_cast<size_t>(action)] = 1;
  return weights;
}

inline std::shared_ptr<const QPolicy> PolicyThatWants(SplitAction action) {
  return std::make_shared<const QPolicy>(
      *QPolicy::Create(FixedCard("test-7"), FixedWeights(action)));
}

}  // namespace foreshadow::testing
