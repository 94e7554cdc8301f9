#include "models/torch/q_network.h"

#include <torch/torch.h>

#include <cmath>
#include <string>
#include <utility>

#include "kernels/check.h"
#include "models/torch/tensors.h"

namespace foreshadow::models {
namespace {

constexpr double kGradientNormMax = 10;
constexpr float kForbidden = -1e9;
constexpr double kDifferenceWeight = 10;  // of what actions of one state differ by

struct Net : torch::nn::Module {
  explicit Net(const QShape& s)
      : first(register_module("first", torch::nn::Linear(s.features, s.hidden))),
        second(register_module("second", torch::nn::Linear(s.hidden, s.hidden))),
        heads(register_module("heads", torch::nn::Linear(s.hidden, 1 + s.actions))),
        dueling(s.dueling) {}

  torch::Tensor forward(const torch::Tensor& features) {
    const auto out = heads(torch::relu(second(torch::relu(first(features)))));
    const auto value = out.narrow(1, 0, 1);
    const auto advantages = out.narrow(1, 1, out.size(1) - 1);
    if (!dueling) return advantages;
    return value + advantages - advantages.mean(1, /*keepdim=*/true);
  }

  torch::nn::Linear first;
  torch::nn::Linear second;
  torch::nn::Linear heads;
  const bool dueling;
};

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
    if (!shape.dueling) {  // the value of whoever runs it as a dueling network is then no change
      for (auto& p : net->heads->parameters()) p[0].copy_(p.narrow(0, 1, shape.actions).mean(0));
    }
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
    DrawWeights(*impl->net, seed, [](float inputs) { return std::sqrt(3.0f / inputs); });
    impl->Follow(1);
    return std::unique_ptr<QNetwork>(new QNetwork(std::move(impl)));
  });
}

absl::StatusOr<float> QNetwork::TrainStep(const QBatch& batch, double learning_rate, double follow,
                                          std::span<float> errors) {
  return Guarded("train", [&]() -> absl::StatusOr<float> {
    const QShape& s = impl_->shape;
    const auto features = HostView(batch.features, {batch.rows, s.features});
    const auto after = HostView(batch.features_after, {batch.rows, s.features});
    const auto allowed_after = HostView(batch.allowed_after, {batch.rows, s.actions});
    const auto actions = HostView(batch.actions, {batch.rows, 1});
    torch::Tensor goal;
    {
      torch::NoGradGuard no_grad;
      const auto& judge = s.double_q ? impl_->net : impl_->target;
      const auto choice = judge->forward(after)
                              .masked_fill(allowed_after == 0, kForbidden)
                              .argmax(1, /*keepdim=*/true);
      const auto value = impl_->target->forward(after).gather(1, choice).squeeze(1);
      goal =
          HostView(batch.rewards, {batch.rows}) + HostView(batch.discounts, {batch.rows}) * value;
    }
    const auto all = impl_->net->forward(features);
    const auto taken = all.gather(1, actions).squeeze(1);
    auto loss = (torch::smooth_l1_loss(taken, goal, at::Reduction::None) *
                 HostView(batch.weights, {batch.rows}))
                    .mean();
    if (!batch.states.empty()) {
      const auto states = HostView(batch.states, {batch.rows});
      const auto off = taken - goal;
      const auto sums = torch::zeros(batch.rows).index_add(0, states, off);
      const auto counts = torch::zeros(batch.rows).index_add(0, states, torch::ones(batch.rows));
      const auto apart = off - (sums / counts.clamp_min(1)).index_select(0, states);
      loss = loss + kDifferenceWeight * torch::smooth_l1_loss(apart, torch::zeros_like(apart));
    }
    if (batch.conservative > 0) {
      const auto open =
          all.masked_fill(HostView(batch.allowed, {batch.rows, s.actions}) == 0, kForbidden);
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

std::vector<Tensor> QNetwork::Weights() const { return CopyOut(NamedWeights(*impl_->net)); }

absl::Status QNetwork::SetWeights(const std::vector<Tensor>& weights) {
  return Guarded("set weights", [&]() -> absl::Status {
    const absl::Status status = CopyIn(weights, NamedWeights(*impl_->net));
    if (status.ok()) impl_->Follow(1);
    return status;
  });
}

std::vector<Tensor> QNetwork::TrainingState() const {
  std::vector<Tensor> tensors = CopyOut(NamedWeights(*impl_->target, "target."));
  CopyMomentsOut<torch::optim::AdamParamState>(impl_->Optimizer(), NamedWeights(*impl_->net),
                                               tensors);
  return tensors;
}

absl::Status QNetwork::SetTrainingState(const std::vector<Tensor>& state) {
  return Guarded("resume", [&]() -> absl::Status {
    const NamedTensors weights = NamedWeights(*impl_->net);
    const NamedTensors room = RoomForMoments(weights);
    NamedTensors all = NamedWeights(*impl_->target, "target.");
    all.insert(all.end(), room.begin(), room.end());
    const absl::Status status = CopyIn(state, all);
    if (status.ok()) {
      TakeMoments<torch::optim::AdamParamState>(weights, room, impl_->Optimizer());
    }
    return status;
  });
}

}  // namespace foreshadow::models
