#include "kernels/algo/lstm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "kernels/algo/lstm_plan.h"
#include "tests/unit/kernels/backends.h"

namespace foreshadow::kernels {
namespace {

using testing::Array;
using testing::Batch;
using testing::BatchOn;

// Weights in torch's layout.
struct Network {
  LstmModel model;
  std::vector<float> embedding;
  struct Layer {
    std::vector<float> input, hidden, input_bias, hidden_bias;
  };
  std::vector<Layer> layers;
  std::vector<float> dense, dense_bias, head, head_bias;

  LstmPlan Plan() const {
    LstmWeights weights{embedding, {}, dense, dense_bias, head, head_bias};
    for (const Layer& l : layers) {
      weights.layers.push_back({l.input, l.hidden, l.input_bias, l.hidden_bias});
    }
    return PlanLstm(model, weights);
  }
};

// As torch draws them: within 1 / sqrt(columns).
Network Draw(const LstmModel& m, uint32_t seed) {
  std::mt19937 random(seed);
  const auto draw = [&random](int64_t rows, int64_t columns) {
    const float bound = 1 / std::sqrt(static_cast<float>(columns));
    std::uniform_real_distribution<float> uniform(-bound, bound);
    std::vector<float> values(static_cast<size_t>(rows * columns));
    for (float& value : values) value = uniform(random);
    return values;
  };
  const int64_t seen = m.features + m.embedding;
  Network n{m, draw(m.contexts, m.embedding), {}, {}, {}, {}, {}};
  for (int l = 0; l < m.layers; ++l) {
    const int64_t rows = 4 * m.hidden;
    n.layers.push_back(
        {draw(rows, l == 0 ? seen : m.hidden), draw(rows, m.hidden), draw(rows, 1), draw(rows, 1)});
  }
  n.dense = draw(m.dense, m.hidden + seen);
  n.dense_bias = draw(m.dense, 1);
  const int64_t outputs = m.horizon_steps * (m.candidates + m.spreads + m.quantiles);
  n.head = draw(outputs, m.dense);
  n.head_bias = draw(outputs, 1);
  return n;
}

// --- The same in double, from the formulas of the network --------------------------------------

using Doubles = std::vector<double>;

double At(const std::vector<float>& matrix, int64_t row, int64_t columns, const Doubles& x) {
  double sum = 0;
  for (int64_t c = 0; c < columns; ++c) sum += double{matrix[row * columns + c]} * x[c];
  return sum;
}
double Sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

Doubles Softmax(Doubles x) {
  const double top = *std::ranges::max_element(x);
  double sum = 0;
  for (double& value : x) sum += value = std::exp(value - top);
  for (double& value : x) value /= sum;
  return x;
}

struct Series {
  Doubles hidden, cell;  // [layers * hidden]

  explicit Series(const LstmModel& m) : hidden(m.layers * m.hidden), cell(m.layers * m.hidden) {}

  // Returns [steps][quantiles].
  Doubles Step(const Network& n, const Doubles& features, int context, int steps,
               const Doubles& candidates, const Doubles& spreads) {
    const LstmModel& m = n.model;
    Doubles seen = features;
    for (int e = 0; e < m.embedding; ++e) seen.push_back(n.embedding[context * m.embedding + e]);
    Doubles input = seen;
    for (int l = 0; l < m.layers; ++l) {
      const Network::Layer& layer = n.layers[l];
      const Doubles before(hidden.begin() + l * m.hidden, hidden.begin() + (l + 1) * m.hidden);
      const auto gate = [&](int which, int unit) {
        const int64_t row = which * m.hidden + unit;
        return At(layer.input, row, std::ssize(input), input) +
               At(layer.hidden, row, m.hidden, before) + layer.input_bias[row] +
               layer.hidden_bias[row];
      };
      Doubles now(m.hidden);
      for (int u = 0; u < m.hidden; ++u) {
        double& c = cell[l * m.hidden + u];
        c = Sigmoid(gate(1, u)) * c + Sigmoid(gate(0, u)) * std::tanh(gate(2, u));
        now[u] = Sigmoid(gate(3, u)) * std::tanh(c);
        hidden[l * m.hidden + u] = now[u];
      }
      input = now;
    }
    Doubles both = input;
    both.insert(both.end(), seen.begin(), seen.end());
    Doubles dense(m.dense);
    for (int r = 0; r < m.dense; ++r) {
      dense[r] = std::max(0.0, At(n.dense, r, std::ssize(both), both) + n.dense_bias[r]);
    }
    Doubles out;
    int64_t row = 0;
    for (int step = 0; step < steps; ++step) {
      const auto take = [&](int count) {
        Doubles raw;
        for (int i = 0; i < count; ++i, ++row) {
          raw.push_back(At(n.head, row, m.dense, dense) + n.head_bias[row]);
        }
        return raw;
      };
      const Doubles of_candidates = Softmax(take(m.candidates));
      const Doubles of_spreads = Softmax(take(m.spreads));
      const double offset = take(1)[0];
      const Doubles gaps = take(m.quantiles - 1);
      double log_unit = 0, median = 0;
      for (int i = 0; i < m.spreads; ++i) log_unit += of_spreads[i] * spreads[i];
      for (int i = 0; i < m.candidates; ++i) {
        median += of_candidates[i] * candidates[step * m.candidates + i];
      }
      const double unit = std::exp(log_unit);
      median += unit * offset;
      Doubles quantiles(m.quantiles, median);
      for (int q = m.median - 1, g = 0; q >= 0; --q, ++g) {
        quantiles[q] = quantiles[q + 1] - unit * std::log1p(std::exp(gaps[g]));
      }
      for (int q = m.median + 1, g = m.median; q < m.quantiles; ++q, ++g) {
        quantiles[q] = quantiles[q - 1] + unit * std::log1p(std::exp(gaps[g]));
      }
      out.insert(out.end(), quantiles.begin(), quantiles.end());
    }
    return out;
  }
};

// ------------------------------------------------------------------------------------------------

Doubles Column(Batch& batch, int64_t s) {
  Doubles column;
  for (int64_t i = 0; i < batch.steps; ++i) column.push_back(batch.at(i, s));
  return column;
}

class Lstm : public testing::OnBackend {
 protected:
  // Steps the kernel and the reference side by side, in rows wider than the batch; the largest
  // difference of quantiles, and the state's with it.
  double WorstOf(const LstmModel& model, int64_t series, int steps, int ticks) {
    const Network network = Draw(model, 7);
    const LstmPlan plan = network.Plan();
    const Array<float> weights(ops(), plan.weights);
    std::mt19937 random(8);
    std::normal_distribution<float> normal(0, 2);
    std::vector<int32_t> contexts(static_cast<size_t>(series));
    for (int64_t s = 0; s < series; ++s) contexts[s] = static_cast<int32_t>(s % model.contexts);
    const Array<int32_t> contexts_on(ops(), contexts);
    const int64_t state = int64_t{model.layers} * model.hidden;
    const BatchOn hidden(ops(), Batch(state, series + 3, 0));
    const BatchOn cell(ops(), Batch(state, series + 3, 0));
    const Array<std::byte> workspace(ops(), ops().lstm_step_workspace_bytes(model, steps) + 1);
    std::vector<Series> expected(static_cast<size_t>(series), Series(model));
    double worst = 0;
    for (int tick = 0; tick < ticks; ++tick) {
      Batch features(model.features, series + 3);
      Batch candidates(std::max(1, steps * model.candidates), series + 3);
      Batch spreads(model.spreads, series + 3);
      for (Batch* batch : {&features, &candidates, &spreads}) {
        for (float& value : batch->values) value = normal(random);
      }
      const BatchOn features_on(ops(), features);
      const BatchOn candidates_on(ops(), candidates);
      const BatchOn spreads_on(ops(), spreads);
      const BatchOn quantiles(ops(), Batch(std::max(1, steps * model.quantiles), series + 3, 0));
      const auto narrow = [series](StepMajor<float> view) {
        view.series = series;
        return view;
      };
      ops().lstm_step({model, weights.span(), narrow(features_on.view()), contexts_on.span(),
                       narrow(hidden.view()), narrow(cell.view()), steps,
                       narrow(candidates_on.view()), narrow(spreads_on.view()),
                       narrow(quantiles.view()), workspace.span()});
      Batch got = quantiles.Read();
      Batch got_hidden = hidden.Read();
      Batch got_cell = cell.Read();
      for (int64_t s = 0; s < series; ++s) {
        Series& reference = expected[s];
        const Doubles want = reference.Step(network, Column(features, s), contexts[s], steps,
                                            Column(candidates, s), Column(spreads, s));
        for (size_t i = 0; i < want.size(); ++i) {
          // Of the step's largest quantile: they are sums that grow from the median.
          const auto first = want.begin() + i / model.quantiles * model.quantiles;
          const auto [low, high] = std::minmax_element(first, first + model.quantiles);
          const double scale = 1 + std::max(-*low, *high);
          worst = std::max(worst, std::fabs(got.at(static_cast<int64_t>(i), s) - want[i]) / scale);
        }
        for (int64_t u = 0; u < state; ++u) {
          worst = std::max(worst, std::fabs(got_hidden.at(u, s) - reference.hidden[u]));
          worst = std::max(worst, std::fabs(got_cell.at(u, s) - reference.cell[u]));
        }
      }
      // Beyond the batch nothing is touched.
      for (int64_t s = series; s < series + 3; ++s) {
        EXPECT_EQ(got.at(0, s), 0);
        EXPECT_EQ(got_hidden.at(state - 1, s), 0);
        EXPECT_EQ(got_cell.at(state - 1, s), 0);
      }
    }
    return worst;
  }
};

FORESHADOW_ON_BACKENDS(Lstm);

constexpr LstmModel kServed{.features = 33,
                            .contexts = 10,
                            .embedding = 8,
                            .hidden = 64,
                            .layers = 2,
                            .dense = 64,
                            .horizon_steps = 48,
                            .candidates = 7,
                            .spreads = 4,
                            .quantiles = 9,
                            .median = 3};

TEST_P(Lstm, StepsLikeTheFormulasInDouble) { EXPECT_LT(WorstOf(kServed, 50, 12, 4), 1e-5); }

TEST_P(Lstm, EveryStepOfTheHorizon) { EXPECT_LT(WorstOf(kServed, 3, 48, 1), 1e-5); }

TEST_P(Lstm, NoForecastWanted) { EXPECT_LT(WorstOf(kServed, 5, 0, 3), 1e-5); }

// Sizes that fill no group, no pair of groups and no vector.
TEST_P(Lstm, AnyShapeAndAnyCount) {
  constexpr LstmModel kOdd{.features = 3,
                           .contexts = 3,
                           .embedding = 1,
                           .hidden = 5,
                           .layers = 3,
                           .dense = 7,
                           .horizon_steps = 15,
                           .candidates = 2,
                           .spreads = 1,
                           .quantiles = 4,
                           .median = 0};
  for (const int64_t series : {1, 2, 15, 33, 49, 131}) {
    for (const int steps : {1, 13, 15}) EXPECT_LT(WorstOf(kOdd, series, steps, 3), 1e-5);
  }
}

TEST(LstmFunctions, TanhIsWithinItsBound) {
  double worst = 0;
  for (double x = -12; x <= 12; x += 1e-4) {
    const LstmRatio ratio = LstmTanh(static_cast<float>(x));
    const double exact = std::tanh(double{static_cast<float>(x)});
    worst = std::max(worst, std::fabs(double{ratio.over} / ratio.under - exact));
  }
  EXPECT_LT(worst, 5.5e-7);
}

}  // namespace
}  // namespace foreshadow::kernels
