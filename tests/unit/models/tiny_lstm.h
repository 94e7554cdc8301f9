// An LSTM that is small enough to be made, saved and loaded in milliseconds; untrained.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "models/lstm/lstm.h"

namespace foreshadow::testing {

// Writes it as a model folder. `off` is added to what its last layer gives: 0 is a fair forecaster,
// as its untrained median lies among last value, last hour's mean and the like; 3 is a bad one.
inline void SaveTinyLstm(const std::string& folder, uint64_t seed, float off,
                         int64_t step_ms = 300'000) {
  models::LstmCard card;
  card.hidden = 5;
  card.dense = 4;
  card.embedding = 2;
  card.window_steps = 6;
  card.spec.step_ms = step_ms;
  card.spec.horizon_steps = static_cast<int>(3'600'000 / step_ms);
  auto network = models::LstmNetwork::Create(card.shape(), seed, /*threads=*/1);
  ASSERT_TRUE(network.ok()) << network.status();
  std::vector<models::Tensor> weights = (*network)->Weights();
  for (models::Tensor& tensor : weights) {
    if (tensor.name != "head.bias") continue;
    for (float& value : tensor.values) value += off;
  }
  const absl::Status saved = models::SaveLstm(folder, card, weights);
  ASSERT_TRUE(saved.ok()) << saved;
}

}  // namespace foreshadow::testing
