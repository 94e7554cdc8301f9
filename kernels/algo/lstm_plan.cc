#include "kernels/algo/lstm_plan.h"

#include <algorithm>

#include "kernels/algo/lstm.h"

namespace foreshadow::kernels {
namespace {

// A block of columns of a matrix to be packed.
struct Columns {
  std::span<const float> values;  // [rows][count]
  int64_t count;
};

// Row r of the matrix is row `row_of(r)` of the blocks, times `factor_of(r)`; row_of < 0: none.
template <typename RowOf, typename FactorOf>
void Pack(const LstmMatrix& to, std::initializer_list<Columns> blocks,
          std::initializer_list<std::span<const float>> biases, RowOf row_of, FactorOf factor_of,
          std::vector<float>& weights) {
  float* out = weights.data() + to.at;
  for (int64_t group = 0; group < to.groups; ++group, out += to.group_floats()) {
    for (int64_t r = 0; r < kLstmGroupRows; ++r) {
      const int64_t row = row_of(group * kLstmGroupRows + r);
      if (row < 0) continue;
      const float factor = factor_of(r);
      float* column = out + r;
      for (const auto& bias : biases) *column += factor * bias[row];
      for (const Columns& block : blocks) {
        for (int64_t c = 0; c < block.count; ++c) {
          column += kLstmGroupRows;
          *column = factor * block.values[row * block.count + c];
        }
      }
    }
  }
}

void PackRows(const LstmMatrix& to, int64_t rows, const Columns& block, std::span<const float> bias,
              std::vector<float>& weights) {
  FORESHADOW_CHECK(std::ssize(block.values) == rows * block.count && std::ssize(bias) == rows);
  Pack(
      to, {block}, {bias}, [rows](int64_t row) { return row < rows ? row : -1; },
      [](int64_t) { return 1.0f; }, weights);
}

}  // namespace

LstmPlan PlanLstm(const LstmModel& model, const LstmWeights& weights) {
  CheckLstmModel(model);
  LstmPlan plan{model, std::vector<float>(static_cast<size_t>(LstmWeightFloats(model)))};
  FORESHADOW_CHECK(std::ssize(weights.embedding) == int64_t{model.contexts} * model.embedding);
  std::ranges::copy(weights.embedding, plan.weights.begin());
  FORESHADOW_CHECK(std::ssize(weights.layers) == model.layers);
  const int64_t hidden = model.hidden;
  for (int l = 0; l < model.layers; ++l) {
    const LstmWeights::Layer& layer = weights.layers[l];
    const int64_t inputs = l == 0 ? LstmInputs(model) : hidden;
    FORESHADOW_CHECK(std::ssize(layer.input) == 4 * hidden * inputs);
    FORESHADOW_CHECK(std::ssize(layer.hidden) == 4 * hidden * hidden);
    FORESHADOW_CHECK(std::ssize(layer.input_bias) == 4 * hidden);
    FORESHADOW_CHECK(std::ssize(layer.hidden_bias) == 4 * hidden);
    Pack(
        LstmLayerAt(model, l), {{layer.input, inputs}, {layer.hidden, hidden}},
        {layer.input_bias, layer.hidden_bias},
        [hidden](int64_t row) {
          const int64_t unit = row / kLstmGroupRows;
          return unit < hidden ? row % kLstmGroupRows * hidden + unit : -1;
        },
        [](int64_t gate) { return gate == 2 ? 1.0f : 0.5f; }, plan.weights);
  }
  PackRows(LstmDenseAt(model), model.dense, {weights.dense, hidden + LstmInputs(model)},
           weights.dense_bias, plan.weights);
  PackRows(LstmHeadAt(model), model.horizon_steps * LstmHeadRow(model), {weights.head, model.dense},
           weights.head_bias, plan.weights);
  return plan;
}

}  // namespace foreshadow::kernels
