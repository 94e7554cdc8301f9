#include "models/lstm/runner.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace foreshadow::models {
namespace {

using Shape = std::vector<int64_t>;

// Looks tensors up by name and shape, and remembers what is wrong first.
class Weights {
 public:
  explicit Weights(const std::vector<Tensor>& tensors) : tensors_(tensors) {}

  std::span<const float> Take(const std::string& name, const Shape& shape) {
    ++taken_;
    const auto found = std::ranges::find(tensors_, name, &Tensor::name);
    if (found == tensors_.end()) {
      Fail(fmt::format("tensor '{}' is missing", name));
      return {};
    }
    if (found->shape != shape || std::ssize(found->values) != CountValues(shape)) {
      Fail(fmt::format("tensor '{}' has the shape {}: allowed is {}", name,
                       fmt::join(found->shape, " x "), fmt::join(shape, " x ")));
    }
    for (const float value : found->values) {
      if (!std::isfinite(value)) {
        Fail(fmt::format("tensor '{}' holds {}: allowed are finite numbers", name, value));
        break;
      }
    }
    return found->values;
  }

  absl::Status Check() {
    if (std::ssize(tensors_) != taken_) {
      Fail(fmt::format("there are {} tensors: allowed are {}", tensors_.size(), taken_));
    }
    return status_;
  }

 private:
  void Fail(const std::string& message) {
    if (status_.ok()) status_ = absl::InvalidArgumentError(message);
  }

  const std::vector<Tensor>& tensors_;
  int64_t taken_ = 0;
  absl::Status status_;
};

kernels::LstmModel ModelOf(const LstmShape& s) {
  return {.features = s.features,
          .contexts = s.signal_kinds * (s.applications + 1),
          .embedding = 2 * s.embedding,
          .hidden = s.hidden,
          .layers = s.layers,
          .dense = s.dense,
          .horizon_steps = s.horizon_steps,
          .candidates = s.candidates,
          .spreads = s.spreads,
          .quantiles = s.quantiles,
          .median = s.median};
}

// Signal beside application, one row a context.
std::vector<float> Contexts(const LstmShape& s, std::span<const float> signals,
                            std::span<const float> applications) {
  std::vector<float> table;
  for (int signal = 0; signal < s.signal_kinds; ++signal) {
    for (int application = 0; application <= s.applications; ++application) {
      const auto put = [&](std::span<const float> rows, int row) {
        const auto values = rows.subspan(static_cast<size_t>(row) * s.embedding, s.embedding);
        table.insert(table.end(), values.begin(), values.end());
      };
      put(signals, signal);
      put(applications, application);
    }
  }
  return table;
}

uint64_t FingerprintOf(const LstmCard& card, const kernels::LstmPlan& plan) {
  const std::array<int64_t, 4> sizes = {card.spec.step_ms, card.window_steps, plan.model.features,
                                        plan.model.hidden};
  uint64_t hash = HashOf(sizes.data(), sizeof(sizes));
  for (const auto& name : card.applications) hash = HashOf(name.c_str(), name.size() + 1, hash);
  return HashOf(plan.weights.data(), plan.weights.size() * sizeof(float), hash);
}

}  // namespace

absl::StatusOr<LstmRunner> MakeLstmRunner(const LstmCard& card,
                                          const std::vector<Tensor>& tensors) {
  const LstmShape s = card.shape();
  const kernels::LstmModel model = ModelOf(s);
  const int64_t inputs = model.features + model.embedding;
  const int64_t gates = int64_t{4} * s.hidden;
  const int64_t outputs = int64_t{s.horizon_steps} * (s.candidates + s.spreads + s.quantiles);
  Weights named(tensors);
  const auto signals = named.Take("embedding.weight", {s.signal_kinds, s.embedding});
  const auto applications = named.Take("application.weight", {s.applications + 1, s.embedding});
  kernels::LstmWeights weights;
  for (int l = 0; l < s.layers; ++l) {
    const std::string suffix = fmt::format("_l{}", l);
    weights.layers.push_back(
        {named.Take("lstm.weight_ih" + suffix, {gates, l == 0 ? inputs : s.hidden}),
         named.Take("lstm.weight_hh" + suffix, {gates, s.hidden}),
         named.Take("lstm.bias_ih" + suffix, {gates}),
         named.Take("lstm.bias_hh" + suffix, {gates})});
  }
  weights.dense = named.Take("dense.weight", {s.dense, s.hidden + inputs});
  weights.dense_bias = named.Take("dense.bias", {s.dense});
  weights.head = named.Take("head.weight", {outputs, s.dense});
  weights.head_bias = named.Take("head.bias", {outputs});
  if (absl::Status status = named.Check(); !status.ok()) return status;
  const std::vector<float> contexts = Contexts(s, signals, applications);
  weights.embedding = contexts;
  LstmRunner runner{card, kernels::PlanLstm(model, weights)};
  runner.fingerprint = FingerprintOf(card, runner.plan);
  return runner;
}

}  // namespace foreshadow::models
