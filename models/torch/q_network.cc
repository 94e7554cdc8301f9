#include "models/torch/q_network.h"

#include <torch/torch.h>

#include <cmath>
#include <random>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"  // not fmt: torch brings another version of its headers
#include "kernels/check.h"

namespace foreshadow::models {
namespace {

constexpr double kGradientNormMax = 10;
constexpr float kForbidden = -1e9;

struct Net : torch::nn::Module {
  explicit Net(const QShape& s)
      : first(register_module("first", torch::nn::Linear(s.features, s.hidden))),
        second(register_module("second", torch::nn::Linear(s.hidden, s.hidden))),
        heads(register_module("heads", torch::nn::Linear(s.hidden, 1 + s.actions))) {}

  torch::Tensor forward(const torch::Tensor& features) {
    const auto out = heads(torch::relu(second(torch::relu(first(features)))));
    const auto value = out.narrow(1, 0, 1);
    const auto advantages = out.narrow(1, 1, out.size(1) - 1);
    return value + advantages - advantages.mean(1, /*keepdim=*/true);
  }

  torch::nn::Linear first;
  torch::nn::Linear second;
  torch::nn::Linear heads;
};

// From our own generator, so that a seed means the same weights whatever torch's does.
void DrawWeights(Net& net, uint64_t seed) {
  std::mt19937_64 random(seed);
  torch::NoGradGuard no_grad;
  for (auto& item : net.named_parameters()) {
    torch::Tensor& weight = item.value();
    if (weight.dim() < 2) {
      weight.zero_();
      continue;
    }
    const float bound = std::sqrt(3.0f / static_cast<float>(weight.size(1)));
    std::uniform_real_distribution<float> uniform(-bound, bound);
    auto* values = weight.data_ptr<float>();
    for (int64_t i = 0; i < weight.numel(); ++i) values[i] = uniform(random);
  }
}

torch::Tensor View(std::span<const float> values, torch::IntArrayRef sizes) {
  return torch::from_blob(const_cast<float*>(values.data()), sizes, torch::kFloat32);
}

Tensor CopyOut(const std::string& name, const torch::Tensor& tensor) {
  const auto flat = tensor.detach().contiguous();
  const float* data = flat.data_ptr<float>();
  return {name, flat.sizes().vec(), std::vector<float>(data, data + flat.numel())};
}

using Named = std::vector<std::pair<std::string, torch::Tensor>>;

Named NamedWeights(const Net& net, const std::string& prefix) {
  Named named;
  for (const auto& item : net.named_parameters())
    named.emplace_back(prefix + item.key(), item.value());
  return named;
}

absl::Status CopyIn(const std::vector<Tensor>& from, const Named& to) {
  torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : to) {
    const auto found =
        std::find_if(from.begin(), from.end(), [&](const Tensor& t) { return t.name == name; });
    if (found == from.end()) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", name, " is missing"));
    }
    if (found->shape != tensor.sizes().vec()) {
      return absl::InvalidArgumentError(absl::StrCat("tensor ", name, " has another shape"));
    }
    torch::Tensor target = tensor;
    target.copy_(View(found->values, tensor.sizes()));
  }
  return absl::OkStatus();
}

template <typename Function>
auto Guarded(const char* what, Function function) -> decltype(function()) {
  try {
    return function();
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("torch: ", what, ": ", error.what()));
  }
}

}  // namespace

struct QNetwork::Impl {
  explicit Impl(const QShape& s)
      : shape(s), net(std::make_shared<Net>(s)), target(std::make_shared<Net>(s)) {}

  torch::optim::Adam& Optimizer() {
    if (optimizer == nullptr) {
      optimizer =
          std::make_unique<torch::optim::Adam>(net->parameters(), torch::optim::AdamOptions(1e-3));
    }
    return *optimizer;
  }

  void Follow(double share) {
    torch::NoGradGuard no_grad;
    auto to = target->parameters();
    const auto from = net->parameters();
    for (size_t i = 0; i < to.size(); ++i) to[i].lerp_(from[i], share);
  }

  QShape shape;
  std::shared_ptr<Net> net;
  std::shared_ptr<Net> target;
  std::unique_ptr<torch::optim::Adam> optimizer;  // made by the first step of training
};

QNetwork::QNetwork(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
QNetwork::~QNetwork() = default;

absl::StatusOr<std::unique_ptr<QNetwork>> QNetwork::Create(const QShape& shape, uint64_t seed) {
  using Result = absl::StatusOr<std::unique_ptr<QNetwork>>;
  FORESHADOW_CHECK(shape.features > 0 && shape.hidden > 0 && shape.actions > 0);
  return Guarded("create", [&]() -> Result {
    at::set_num_threads(1);
    auto impl = std::make_unique<Impl>(shape);
    DrawWeights(*impl->net, seed);
    impl->Follow(1);
    return std::unique_ptr<QNetwork>(new QNetwork(std::move(impl)));
  });
}

absl::StatusOr<float> QNetwork::TrainStep(const QBatch& batch, double learning_rate, double follow,
                                          std::span<float> errors) {
  return Guarded("train", [&]() -> absl::StatusOr<float> {
    const QShape& s = impl_->shape;
    const auto features = View(batch.features, {batch.rows, s.features});
    const auto after = View(batch.features_after, {batch.rows, s.features});
    const auto allowed_after = View(batch.allowed_after, {batch.rows, s.actions});
    const auto actions = torch::from_blob(const_cast<int64_t*>(batch.actions.data()),
                                          {batch.rows, 1}, torch::kInt64);
    torch::Tensor goal;
    {
      torch::NoGradGuard no_grad;
      const auto choice = impl_->net->forward(after)
                              .masked_fill(allowed_after == 0, kForbidden)
                              .argmax(1, /*keepdim=*/true);
      const auto value = impl_->target->forward(after).gather(1, choice).squeeze(1);
      goal = View(batch.rewards, {batch.rows}) + View(batch.discounts, {batch.rows}) * value;
    }
    const auto all = impl_->net->forward(features);
    const auto taken = all.gather(1, actions).squeeze(1);
    auto loss = (torch::smooth_l1_loss(taken, goal, at::Reduction::None) *
                 View(batch.weights, {batch.rows}))
                    .mean();
    if (batch.conservative > 0) {
      const auto open =
          all.masked_fill(View(batch.allowed, {batch.rows, s.actions}) == 0, kForbidden);
      loss = loss + batch.conservative * (open.logsumexp(1) - taken).mean();
    }
    torch::optim::Adam& optimizer = impl_->Optimizer();
    static_cast<torch::optim::AdamOptions&>(optimizer.param_groups()[0].options())
        .lr(learning_rate);
    optimizer.zero_grad();
    loss.backward();
    torch::nn::utils::clip_grad_norm_(impl_->net->parameters(), kGradientNormMax);
    optimizer.step();
    impl_->Follow(follow);
    if (!errors.empty()) {
      const auto off = (taken - goal).abs().detach().contiguous();
      std::copy_n(off.data_ptr<float>(), errors.size(), errors.data());
    }
    return loss.item<float>();
  });
}

std::vector<Tensor> QNetwork::Weights() const {
  std::vector<Tensor> tensors;
  for (const auto& [name, weight] : NamedWeights(*impl_->net, "")) {
    tensors.push_back(CopyOut(name, weight));
  }
  return tensors;
}

absl::Status QNetwork::SetWeights(const std::vector<Tensor>& weights) {
  return Guarded("set weights", [&]() -> absl::Status {
    const absl::Status status = CopyIn(weights, NamedWeights(*impl_->net, ""));
    if (status.ok()) impl_->Follow(1);
    return status;
  });
}

std::vector<Tensor> QNetwork::TrainingState() const {
  std::vector<Tensor> tensors;
  for (const auto& [name, weight] : NamedWeights(*impl_->target, "target.")) {
    tensors.push_back(CopyOut(name, weight));
  }
  auto& states = impl_->Optimizer().state();
  for (const auto& [name, weight] : NamedWeights(*impl_->net, "")) {
    const auto found = states.find(weight.unsafeGetTensorImpl());
    if (found == states.end()) continue;
    const auto& moments = static_cast<const torch::optim::AdamParamState&>(*found->second);
    tensors.push_back(CopyOut(name + ".exp_avg", moments.exp_avg()));
    tensors.push_back(CopyOut(name + ".exp_avg_sq", moments.exp_avg_sq()));
    tensors.push_back({name + ".step", {1}, {static_cast<float>(moments.step())}});
  }
  return tensors;
}

absl::Status QNetwork::SetTrainingState(const std::vector<Tensor>& state) {
  return Guarded("resume", [&]() -> absl::Status {
    absl::Status status = CopyIn(state, NamedWeights(*impl_->target, "target."));
    if (!status.ok()) return status;
    for (const auto& [name, weight] : NamedWeights(*impl_->net, "")) {
      const Named moments = {{name + ".exp_avg", torch::zeros_like(weight)},
                             {name + ".exp_avg_sq", torch::zeros_like(weight)},
                             {name + ".step", torch::zeros({1})}};
      if (status = CopyIn(state, moments); !status.ok()) return status;
      auto adam = std::make_unique<torch::optim::AdamParamState>();
      adam->exp_avg(moments[0].second);
      adam->exp_avg_sq(moments[1].second);
      adam->step(static_cast<int64_t>(moments[2].second.item<float>()));
      impl_->Optimizer().state()[weight.unsafeGetTensorImpl()] = std::move(adam);
    }
    return absl::OkStatus();
  });
}

}  // namespace foreshadow::models
