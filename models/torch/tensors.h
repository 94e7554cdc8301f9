// What the networks of this folder share: weights drawn from a seed, plain arrays in and out of
// torch's tensors, torch's errors as a status. The one header that sees torch, for the .cc files
// beside it alone (tests/layering).
#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"  // not fmt: torch brings another version of its headers
#include "models/file/safetensors.h"

namespace foreshadow::models {

// Matrices uniform within bound(inputs), from our own generator, so that a seed means the same
// weights whatever torch's does. All else starts at zero.
template <typename Bound>
void DrawWeights(const torch::nn::Module& net, uint64_t seed, Bound bound) {
  std::mt19937_64 random(seed);
  torch::NoGradGuard no_grad;
  for (auto& item : net.named_parameters()) {
    torch::Tensor& weight = item.value();
    if (weight.dim() < 2) {
      weight.zero_();
      continue;
    }
    const float most = bound(static_cast<float>(weight.size(1)));
    std::uniform_real_distribution<float> uniform(-most, most);
    auto* values = weight.data_ptr<float>();
    for (int64_t i = 0; i < weight.numel(); ++i) values[i] = uniform(random);
  }
}

// A view of the caller's array, which torch only reads.
inline torch::Tensor HostView(std::span<const float> values, torch::IntArrayRef sizes) {
  return torch::from_blob(const_cast<float*>(values.data()), sizes, torch::kFloat32);
}
inline torch::Tensor HostView(std::span<const int64_t> values, torch::IntArrayRef sizes) {
  return torch::from_blob(const_cast<int64_t*>(values.data()), sizes, torch::kInt64);
}

using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

inline NamedTensors NamedWeights(const torch::nn::Module& net, const std::string& prefix = "") {
  NamedTensors named;
  for (const auto& item : net.named_parameters()) {
    named.emplace_back(prefix + item.key(), item.value());
  }
  return named;
}

inline Tensor CopyOut(const std::string& name, const torch::Tensor& tensor) {
  const auto flat = tensor.detach().to(torch::kCPU).contiguous();
  const float* data = flat.data_ptr<float>();
  return {name, flat.sizes().vec(), std::vector<float>(data, data + flat.numel())};
}

inline std::vector<Tensor> CopyOut(const NamedTensors& named) {
  std::vector<Tensor> copies;
  for (const auto& [name, tensor] : named) copies.push_back(CopyOut(name, tensor));
  return copies;
}

// Copies the tensors in by name; the list may hold others besides. INVALID_ARGUMENT names one that
// is missing, of another shape or not finite, and then nothing was copied.
inline absl::Status CopyIn(const std::vector<Tensor>& from, const NamedTensors& to) {
  std::vector<const Tensor*> sources;
  for (const auto& [name, tensor] : to) {
    const auto found =
        std::find_if(from.begin(), from.end(), [&name](const Tensor& t) { return t.name == name; });
    if (found == from.end()) {
      return absl::InvalidArgumentError(absl::StrCat("tensor '", name, "' is missing"));
    }
    if (found->shape != tensor.sizes().vec() || std::ssize(found->values) != tensor.numel()) {
      std::string sides;
      for (const int64_t side : tensor.sizes()) absl::StrAppend(&sides, " ", side);
      return absl::InvalidArgumentError(absl::StrCat("tensor '", name, "' has ",
                                                     found->values.size(),
                                                     " values: allowed is the shape", sides));
    }
    for (const float value : found->values) {
      if (!std::isfinite(value)) {
        return absl::InvalidArgumentError(
            absl::StrCat("tensor '", name, "' holds ", value, ": allowed are finite numbers"));
      }
    }
    sources.push_back(&*found);
  }
  torch::NoGradGuard no_grad;
  for (size_t i = 0; i < to.size(); ++i) {
    torch::Tensor target = to[i].second;
    target.copy_(HostView(sources[i]->values, target.sizes()));
  }
  return absl::OkStatus();
}

// Adam's moments of the weights that it has moved so far: .exp_avg, .exp_avg_sq and .step of each.
// State is torch::optim::AdamParamState or AdamWParamState.
template <typename State>
void CopyMomentsOut(torch::optim::Optimizer& optimizer, const NamedTensors& weights,
                    std::vector<Tensor>& out) {
  for (const auto& [name, weight] : weights) {
    const auto found = optimizer.state().find(weight.unsafeGetTensorImpl());
    if (found == optimizer.state().end()) continue;
    const auto& moments = static_cast<const State&>(*found->second);
    out.push_back(CopyOut(name + ".exp_avg", moments.exp_avg()));
    out.push_back(CopyOut(name + ".exp_avg_sq", moments.exp_avg_sq()));
    out.push_back({name + ".step", {1}, {static_cast<float>(moments.step())}});
  }
}

// Room for the moments of all weights, three tensors each, as CopyMomentsOut names them.
inline NamedTensors RoomForMoments(const NamedTensors& weights) {
  NamedTensors room;
  for (const auto& [name, weight] : weights) {
    room.emplace_back(name + ".exp_avg", torch::zeros_like(weight));
    room.emplace_back(name + ".exp_avg_sq", torch::zeros_like(weight));
    room.emplace_back(name + ".step", torch::zeros({1}));
  }
  return room;
}

// Makes moments that were copied into such a room the optimizer's.
template <typename State>
void TakeMoments(const NamedTensors& weights, const NamedTensors& room,
                 torch::optim::Optimizer& optimizer) {
  size_t next = 0;
  for (const auto& [name, weight] : weights) {
    auto moments = std::make_unique<State>();
    moments->exp_avg(room[next++].second);
    moments->exp_avg_sq(room[next++].second);
    moments->step(static_cast<int64_t>(room[next++].second.template item<float>()));
    optimizer.state()[weight.unsafeGetTensorImpl()] = std::move(moments);
  }
}

// What function() returns, a Status or StatusOr, or INTERNAL with torch's error.
template <typename Function>
auto Guarded(const char* what, Function function) -> decltype(function()) {
  try {
    return function();
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrCat("torch: ", what, ": ", error.what()));
  }
}

}  // namespace foreshadow::models
