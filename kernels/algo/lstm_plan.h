// Brings the weights of an LSTM network into the order in which its step reads them. Once a model,
// on the host; any thread.
#pragma once

#include <span>
#include <vector>

#include "kernels/ops.h"

namespace foreshadow::kernels {

// As torch keeps them, [rows][columns]; the rows of a layer are gates i, f, g, o of all units.
struct LstmWeights {
  struct Layer {
    std::span<const float> input;   // [4 hidden][features and embedding, or hidden]
    std::span<const float> hidden;  // [4 hidden][hidden]
    std::span<const float> input_bias;
    std::span<const float> hidden_bias;
  };
  std::span<const float> embedding;  // [contexts][embedding]
  std::vector<Layer> layers;
  std::span<const float> dense;  // [dense][hidden, features, embedding]
  std::span<const float> dense_bias;
  std::span<const float> head;  // [horizon_steps][candidates, spreads, offset, gaps][dense]
  std::span<const float> head_bias;
};

struct LstmPlan {
  LstmModel model;
  std::vector<float> weights;  // for LstmStepArgs::weights
};

// CHECKs that every size is that of the model.
LstmPlan PlanLstm(const LstmModel& model, const LstmWeights& weights);

}  // namespace foreshadow::kernels
