#include "models/torch/lstm_network.h"

#include <dlfcn.h>
#include <torch/torch.h>

#include <cmath>
#include <filesystem>
#include <utility>

#include "kernels/check.h"
#include "models/torch/tensors.h"

namespace foreshadow::models {
namespace {

constexpr double kGradientNormMax = 1.0;
constexpr double kWeightDecay = 1e-4;
constexpr float kTargetMax = 200;     // deviations: keeps one freak from ruling the mean loss
constexpr float kOffsetMax = 4;       // deviations: farther off its level, a series weighs less
constexpr double kTaughtShare = 0.9;  // of the loss, where there is a teacher
constexpr double kWidthMin = 1e-6;    // deviations, between two of its quantiles

// [layers][sequences][hidden]
struct State {
  torch::Tensor hidden;
  torch::Tensor cell;
};

struct Net : torch::nn::Module {
  explicit Net(const LstmShape& s)
      : shape(s),
        embedding(register_module("embedding", torch::nn::Embedding(s.signal_kinds, s.embedding))),
        application(
            register_module("application", torch::nn::Embedding(s.applications + 1, s.embedding))),
        lstm(register_module(
            "lstm",
            torch::nn::LSTM(torch::nn::LSTMOptions(Inputs(s), s.hidden).num_layers(s.layers)))),
        dense(register_module("dense", torch::nn::Linear(s.hidden + Inputs(s), s.dense))),
        head(register_module("head", torch::nn::Linear(s.dense, HeadRows(s)))) {}

  static int64_t Inputs(const LstmShape& s) { return s.features + 2 * s.embedding; }
  static int64_t HeadRow(const LstmShape& s) { return s.candidates + s.spreads + s.quantiles; }
  static int64_t HeadRows(const LstmShape& s) {
    return static_cast<int64_t>(s.horizon_steps) * HeadRow(s);
  }

  // [scored][sequences][horizon][quantiles]
  torch::Tensor forward(const torch::Tensor& features, const torch::Tensor& signals,
                        const torch::Tensor& applications, const torch::Tensor& candidates,
                        const torch::Tensor& spreads, int64_t stride, State& state) {
    const int64_t steps = features.size(0);
    const int64_t sequences = features.size(1);
    const int64_t scored = candidates.size(0);
    const auto kind = torch::cat({embedding(signals), application(applications)}, 1);
    const auto input = torch::cat(
        {features, kind.unsqueeze(0).expand({steps, sequences, 2 * shape.embedding})}, 2);
    const int64_t first = steps - 1 - (scored - 1) * stride;
    const auto [output, last] =
        lstm(input, torch::make_optional(std::tuple(state.hidden, state.cell)));
    state = {std::get<0>(last), std::get<1>(last)};
    const auto seen = torch::cat(
        {output.slice(0, first, steps, stride), input.slice(0, first, steps, stride)}, 2);
    const auto raw = head(torch::relu(dense(seen)))
                         .view({scored, sequences, shape.horizon_steps, HeadRow(shape)});
    const auto parts =
        raw.split_with_sizes({shape.candidates, shape.spreads, 1, shape.quantiles - 1}, 3);
    const auto unit =
        (torch::softmax(parts[1], 3) * spreads.unsqueeze(2)).sum(3, /*keepdim=*/true).exp();
    const auto median =
        (torch::softmax(parts[0], 3) * candidates).sum(3, /*keepdim=*/true) + unit * parts[2];
    const auto gaps = unit * torch::softplus(parts[3]);
    const int64_t below = shape.median;
    const int64_t above = shape.quantiles - shape.median - 1;
    const auto down = gaps.narrow(3, 0, below).cumsum(3).flip(3);
    const auto up = gaps.narrow(3, below, above).cumsum(3);
    return torch::cat({median - down, median, median + up}, 3);
  }

  LstmShape shape;
  torch::nn::Embedding embedding;
  torch::nn::Embedding application;
  torch::nn::LSTM lstm;
  torch::nn::Linear dense;
  torch::nn::Linear head;
};

// Like torch's own, but biases start at zero and the gaps of the head narrow.
void Draw(Net& net, uint64_t seed) {
  DrawWeights(net, seed, [](float inputs) { return 1.0f / std::sqrt(inputs); });
  torch::NoGradGuard no_grad;
  // Forget gates open at first, so that the state lasts (Jozefowicz et al. 2015, section 2.2).
  for (auto& item : net.lstm->named_parameters()) {
    if (item.key().rfind("bias_ih", 0) == 0) {
      item.value().narrow(0, net.shape.hidden, net.shape.hidden).fill_(1);
    }
  }
  const int64_t gaps = net.shape.quantiles - 1;
  auto bias = net.head->bias.view({net.shape.horizon_steps, Net::HeadRow(net.shape)});
  bias.narrow(1, Net::HeadRow(net.shape) - gaps, gaps).fill_(-1);
}

// What is to be expected of values that a teacher's quantiles, the last side of the tensors, tell:
// between two of them each value is as likely as any other, beyond the outermost as likely as near
// to them inside.
struct Expected {
  torch::Tensor below;  // P(value < x), of each of some x
  torch::Tensor part;   // the mean of value * (value < x)
  torch::Tensor mean;   // of the value
};

Expected Expect(const torch::Tensor& x, const torch::Tensor& teacher,
                std::span<const float> levels) {
  Expected e{torch::zeros_like(x), torch::zeros_like(x),
             torch::zeros_like(teacher.narrow(3, 0, 1))};
  const auto add = [&](const torch::Tensor& from, const torch::Tensor& width, float share) {
    const auto part = ((x - from) / width.clamp_min(kWidthMin)).clamp(0, 1);
    e.below.add_(part, share);
    e.part.add_(part * (from + 0.5 * part * width), share);
    e.mean.add_(from + 0.5 * width, share);
  };
  const auto last = static_cast<int64_t>(levels.size()) - 1;
  const auto at = [&](int64_t i) { return teacher.narrow(3, i, 1); };
  for (int64_t i = 0; i < last; ++i) add(at(i), at(i + 1) - at(i), levels[i + 1] - levels[i]);
  const auto low = (at(1) - at(0)) * (levels[0] / (levels[1] - levels[0]));
  add(at(0) - low, low, levels[0]);
  const auto high =
      (at(last) - at(last - 1)) * ((1 - levels[last]) / (levels[last] - levels[last - 1]));
  add(at(last), high, 1 - levels[last]);
  return e;
}

// The mean pinball loss of the quantiles over such values: least where the teacher is.
torch::Tensor ExpectedPinball(const torch::Tensor& quantiles, const torch::Tensor& teacher,
                              std::span<const float> levels, const torch::Tensor& level) {
  // The derivative is P(value < quantile) - level: nothing else of it needs to be followed.
  const Expected e = Expect(quantiles.detach(), teacher, levels);
  return (e.below - level) * quantiles + (level * e.mean - e.part);
}

// No tensor but these.
absl::Status CopyInAll(const std::vector<Tensor>& from, const NamedTensors& to) {
  if (from.size() > to.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("there are ", from.size(), " tensors: allowed are ", to.size()));
  }
  return CopyIn(from, to);
}

}  // namespace

struct LstmNetwork::Impl {
  Impl(const LstmShape& shape, Device on)
      : net(std::make_shared<Net>(shape)),
        device(on == Device::kGpu ? torch::kCUDA : torch::kCPU) {}

  torch::Tensor View(std::span<const float> values, torch::IntArrayRef sizes) const {
    return HostView(values, sizes).to(device);
  }
  // The lanes of a view's last side that are sequences.
  torch::Tensor Lanes(const LstmBatch& batch, std::span<const float> values,
                      torch::IntArrayRef sizes) const {
    return View(values, sizes).narrow(-1, 0, batch.sequences);
  }

  State Zero(int64_t sequences) const {
    const auto zero = torch::zeros({net->shape.layers, sequences, net->shape.hidden}, device);
    return {zero, zero};
  }

  // A server's streams never end, so every other sequence begins in the state that another one
  // ended in: what a state remembers of a foreign past must fade.
  State Begin(int64_t sequences) const {
    if (!ended.hidden.defined() || ended.hidden.size(1) != sequences) return Zero(sequences);
    const auto even = torch::arange(sequences, device).remainder(2).eq(0).view({1, -1, 1});
    return {ended.hidden.roll(1, 1) * even, ended.cell.roll(1, 1) * even};
  }

  torch::Tensor Run(const LstmBatch& batch, State& state) const {
    const LstmShape& s = net->shape;
    const auto index = [&](std::span<const int64_t> values) {
      return HostView(values, {batch.sequences}).to(device);
    };
    return net->forward(
        Lanes(batch, batch.features, {batch.steps, s.features, batch.width}).permute({0, 2, 1}),
        index(batch.signals), index(batch.applications), Candidates(batch).permute({0, 3, 1, 2}),
        Lanes(batch, batch.spreads, {batch.scored, s.spreads, batch.width}).permute({0, 2, 1}),
        batch.stride, state);
  }

  // [scored][horizon][candidates][sequences]
  torch::Tensor Candidates(const LstmBatch& batch) const {
    const LstmShape& s = net->shape;
    return Lanes(batch, batch.candidates,
                 {batch.scored, s.horizon_steps, s.candidates, batch.width});
  }

  // `state` is where the sequences begin, and after it where they ended.
  torch::Tensor Loss(const LstmBatch& batch, const LstmTargets& targets, State& state) const {
    const auto quantiles = Run(batch, state);
    const int horizon = net->shape.horizon_steps;
    const auto actual = Lanes(batch, targets.values, {batch.scored, horizon, batch.width})
                            .permute({0, 2, 1})
                            .unsqueeze(3);
    const auto there = torch::isfinite(actual);
    const auto level = View(targets.levels, {net->shape.quantiles});
    const auto off = actual.nan_to_num(0, 0, 0).clamp(-kTargetMax, kTargetMax) - quantiles;
    auto pinball = torch::maximum(level * off, (level - 1) * off);
    if (!targets.taught.empty()) {
      const auto teacher = View(targets.taught, quantiles.sizes()).clamp(-kTargetMax, kTargetMax);
      pinball = (1 - kTaughtShare) * pinball +
                kTaughtShare * ExpectedPinball(quantiles, teacher, targets.levels, level);
    }
    const auto weight = there * View(targets.weights, {horizon, 1});
    const auto tame =
        kOffsetMax /
        Candidates(batch).abs().amax(2).permute({0, 2, 1}).unsqueeze(3).clamp_min(kOffsetMax);
    return (pinball * tame * weight).sum() / (weight.sum() * net->shape.quantiles);
  }

  // The mean of the gradients and of the loss over the group's ranks.
  absl::StatusOr<float> Share(float loss, ProcessGroup& group) const {
    std::vector<torch::Tensor> parts;
    for (const torch::Tensor& weight : net->parameters()) parts.push_back(weight.grad().flatten());
    auto shared = torch::cat(parts).to(torch::kCPU);
    shared = torch::cat({shared, torch::full({1}, loss)}).contiguous();
    const absl::Status status =
        group.Sum({shared.data_ptr<float>(), static_cast<size_t>(shared.numel())});
    if (!status.ok()) return status;
    shared.div_(group.size());
    int64_t at = 0;
    for (torch::Tensor& weight : net->parameters()) {
      weight.mutable_grad().copy_(shared.narrow(0, at, weight.numel()).view(weight.sizes()));
      at += weight.numel();
    }
    return shared[at].item<float>();
  }

  std::shared_ptr<Net> net;
  torch::Device device;
  State ended;  // of the batch trained on last; none at an epoch's start
  std::unique_ptr<torch::optim::AdamW> optimizer;  // made by the first step of training

  torch::optim::AdamW& Optimizer() {
    if (optimizer == nullptr) {
      optimizer = std::make_unique<torch::optim::AdamW>(
          net->parameters(), torch::optim::AdamWOptions(1e-3).weight_decay(kWeightDecay));
    }
    return *optimizer;
  }
};

LstmNetwork::LstmNetwork(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LstmNetwork::~LstmNetwork() = default;

absl::StatusOr<std::unique_ptr<LstmNetwork>> LstmNetwork::Create(const LstmShape& shape,
                                                                 uint64_t seed, int threads,
                                                                 Device device) {
  using Result = absl::StatusOr<std::unique_ptr<LstmNetwork>>;
  FORESHADOW_CHECK(shape.features > 0 && shape.candidates > 0 && shape.signal_kinds > 0);
  FORESHADOW_CHECK(shape.median > 0 && shape.median < shape.quantiles - 1);
  return Guarded("create", [&]() -> Result {
    at::set_num_threads(threads);
    at::globalContext().setDeterministicAlgorithms(true, /*warn_only=*/false);
    at::globalContext().setAllowTF32CuBLAS(true);
    at::globalContext().setAllowTF32CuDNN(true);
    auto impl = std::make_unique<Impl>(shape, device);
    Draw(*impl->net, seed);
    impl->net->to(impl->device);
    impl->net->eval();
    return std::unique_ptr<LstmNetwork>(new LstmNetwork(std::move(impl)));
  });
}

bool LstmNetwork::HasGpu() {
  // Torch's CUDA half is not linked: CPU nodes lack the libraries that it needs. Once loaded it
  // stays.
  static const bool loaded = std::filesystem::exists("/dev/nvidiactl") &&
                             dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) != nullptr;
  return loaded && torch::cuda::is_available();
}

const LstmShape& LstmNetwork::shape() const { return impl_->net->shape; }

absl::Status LstmNetwork::Forecast(const LstmBatch& batch, std::span<float> quantiles) const {
  return Guarded("forecast", [&]() -> absl::Status {
    c10::InferenceMode inference;
    State state = impl_->Zero(batch.sequences);
    const auto result = impl_->Run(batch, state).to(torch::kCPU).contiguous();
    FORESHADOW_CHECK(result.numel() == std::ssize(quantiles));
    std::copy_n(result.data_ptr<float>(), quantiles.size(), quantiles.data());
    return absl::OkStatus();
  });
}

absl::StatusOr<float> LstmNetwork::Loss(const LstmBatch& batch, const LstmTargets& targets) const {
  return Guarded("loss", [&]() -> absl::StatusOr<float> {
    c10::InferenceMode inference;
    State state = impl_->Zero(batch.sequences);
    return impl_->Loss(batch, targets, state).item<float>();
  });
}

absl::StatusOr<float> LstmNetwork::TrainStep(const LstmBatch& batch, const LstmTargets& targets,
                                             double learning_rate, ProcessGroup* group) {
  return Guarded("train", [&]() -> absl::StatusOr<float> {
    torch::optim::AdamW& optimizer = impl_->Optimizer();
    for (auto& weights : optimizer.param_groups()) weights.options().set_lr(learning_rate);
    optimizer.zero_grad();
    State state = impl_->Begin(batch.sequences);
    const auto loss = impl_->Loss(batch, targets, state);
    impl_->ended = {state.hidden.detach(), state.cell.detach()};
    loss.backward();
    absl::StatusOr<float> value = loss.item<float>();
    if (group != nullptr) value = impl_->Share(*value, *group);
    if (!value.ok() || !std::isfinite(*value)) return value;
    torch::nn::utils::clip_grad_norm_(impl_->net->parameters(), kGradientNormMax);
    optimizer.step();
    return value;
  });
}

void LstmNetwork::BeginEpoch() { impl_->ended = {}; }

std::vector<Tensor> LstmNetwork::Weights() const { return CopyOut(NamedWeights(*impl_->net)); }

absl::Status LstmNetwork::SetWeights(const std::vector<Tensor>& weights) {
  return Guarded("set weights",
                 [&]() -> absl::Status { return CopyInAll(weights, NamedWeights(*impl_->net)); });
}

std::vector<Tensor> LstmNetwork::OptimizerState() const {
  std::vector<Tensor> state;
  CopyMomentsOut<torch::optim::AdamWParamState>(impl_->Optimizer(), NamedWeights(*impl_->net),
                                                state);
  return state;
}

absl::Status LstmNetwork::SetOptimizerState(const std::vector<Tensor>& state) {
  return Guarded("set optimizer state", [&]() -> absl::Status {
    const NamedTensors weights = NamedWeights(*impl_->net);
    const NamedTensors room = RoomForMoments(weights);
    const absl::Status status = CopyInAll(state, room);
    if (status.ok()) {
      TakeMoments<torch::optim::AdamWParamState>(weights, room, impl_->Optimizer());
    }
    return status;
  });
}

}  // namespace foreshadow::models
