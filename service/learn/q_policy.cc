#include "service/learn/q_policy.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <utility>

#include "models/file/hash.h"

namespace foreshadow {
namespace {

using models::Tensor;

constexpr double kBeyond = 0.1;  // of a feature's range: so far off is still known

std::string Prefix(int networks, int n) { return networks > 1 ? fmt::format("{}.", n) : ""; }

absl::StatusOr<const Tensor*> Find(const std::vector<Tensor>& tensors, const std::string& name,
                                   const std::vector<int64_t>& shape) {
  const auto found =
      std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& t) { return t.name == name; });
  if (found == tensors.end()) {
    return absl::InvalidArgumentError(fmt::format("tensor {} is missing", name));
  }
  if (found->shape != shape) {
    return absl::InvalidArgumentError(
        fmt::format("tensor {} has another shape than the card's "
                    "features, hidden and actions make it",
                    name));
  }
  if (!std::all_of(found->values.begin(), found->values.end(),
                   [](float v) { return std::isfinite(v); })) {
    return absl::InvalidArgumentError(
        fmt::format("tensor {} has a value that is not finite", name));
  }
  return &*found;
}

absl::Status ReadLayer(const std::vector<Tensor>& tensors, const std::string& name, int64_t rows,
                       int64_t columns, Eigen::MatrixXf& weight, Eigen::VectorXf& bias) {
  using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto w = Find(tensors, name + ".weight", {rows, columns});
  if (!w.ok()) return w.status();
  const auto b = Find(tensors, name + ".bias", {rows});
  if (!b.ok()) return b.status();
  weight = Eigen::Map<const RowMajor>((*w)->values.data(), rows, columns);
  bias = Eigen::Map<const Eigen::VectorXf>((*b)->values.data(), rows);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<QPolicy> QPolicy::Create(QCard card, const std::vector<Tensor>& tensors) {
  QPolicy policy;
  const int64_t hidden = card.hidden;
  for (int n = 0; n < card.networks; ++n) {
    const std::string of = Prefix(card.networks, n);
    Network& network = policy.networks_.emplace_back();
    const absl::Status statuses[] = {
        ReadLayer(tensors, of + "first", hidden, kSplitFeatures, network.first, network.first_bias),
        ReadLayer(tensors, of + "second", hidden, hidden, network.second, network.second_bias),
        ReadLayer(tensors, of + "heads", 1 + kSplitActions, hidden, network.heads,
                  network.heads_bias),
    };
    for (const absl::Status& status : statuses) {
      if (!status.ok()) return status;
    }
  }
  const std::string text = QCardToJson(card);
  policy.fingerprint_ = models::HashOf(text.data(), text.size());
  for (const Tensor& tensor : tensors) {
    policy.fingerprint_ = models::HashOf(tensor.values.data(), tensor.values.size() * sizeof(float),
                                         policy.fingerprint_);
  }
  policy.card_ = std::move(card);
  return policy;
}

ActionValues QPolicy::ValuesOf(const Network& network, const SplitFeatures& features) {
  const Eigen::Map<const Eigen::VectorXf> input(features.data(), kSplitFeatures);
  const Eigen::VectorXf first = (network.first * input + network.first_bias).cwiseMax(0.0f);
  const Eigen::VectorXf second = (network.second * first + network.second_bias).cwiseMax(0.0f);
  const Eigen::VectorXf heads = network.heads * second + network.heads_bias;
  const float mean = heads.tail(kSplitActions).mean();
  ActionValues values{};
  for (int a = 0; a < kSplitActions; ++a) values[a] = heads[0] + heads[1 + a] - mean;
  return values;
}

ActionValues QPolicy::Values(const SplitFeatures& features) const {
  ActionValues sums{};
  for (const Network& network : networks_) {
    const ActionValues values = ValuesOf(network, features);
    for (int a = 0; a < kSplitActions; ++a) sums[a] += values[a];
  }
  for (double& value : sums) value /= static_cast<double>(networks_.size());
  return sums;
}

ActionValues QPolicy::GainsOver(SplitAction rule, const SplitFeatures& features) const {
  ActionValues least;
  least.fill(std::numeric_limits<double>::infinity());
  for (const Network& network : networks_) {
    const ActionValues values = ValuesOf(network, features);
    for (int a = 0; a < kSplitActions; ++a) {
      least[a] = std::min(least[a], values[a] - values[static_cast<int>(rule)]);
    }
  }
  return least;
}

bool QPolicy::Knows(const SplitObservation& observation, const SplitFeatures& features) const {
  if (observation.interval_s < card_.interval_s_min ||
      observation.interval_s > card_.interval_s_max) {
    return false;
  }
  for (int f = 0; f < kSplitFeatures; ++f) {
    const double beyond = kBeyond * (card_.feature_max[f] - card_.feature_min[f]);
    if (features[f] < card_.feature_min[f] - beyond) return false;
    if (features[f] > card_.feature_max[f] + beyond) return false;
  }
  return true;
}

SplitAction BestAllowed(const ActionValues& values, const GuardState& state, SplitAction rule,
                        double margin) {
  int best = -1;
  for (int a = 0; a < kSplitActions; ++a) {
    if (state.allowed[a] && (best < 0 || values[a] > values[best])) best = a;
  }
  const int base = static_cast<int>(rule);
  const bool keeps = state.allowed[base] && values[best] <= values[base] + margin;
  return SplitAction(keeps ? base : best);
}

std::vector<Tensor> NetworkOf(const std::vector<Tensor>& tensors, int networks, int n) {
  const std::string prefix = Prefix(networks, n);
  std::vector<Tensor> network;
  for (const Tensor& tensor : tensors) {
    if (!tensor.name.starts_with(prefix)) continue;
    network.push_back(tensor);
    network.back().name = tensor.name.substr(prefix.size());
  }
  return network;
}

void AddNetwork(std::vector<Tensor> network, int networks, int n, std::vector<Tensor>& tensors) {
  for (Tensor& tensor : network) {
    tensor.name = Prefix(networks, n) + tensor.name;
    tensors.push_back(std::move(tensor));
  }
}

absl::StatusOr<QPolicy> LoadQPolicy(const std::string& folder, std::vector<Tensor>* weights) {
  constexpr int64_t kCardBytesMax = 1 << 20;
  const auto text = models::ReadWholeFile(folder + "/card.json", kCardBytesMax);
  if (!text.ok()) return models::InFile(folder + "/card.json", text.status());
  auto card = QCardFromJson(*text);
  if (!card.ok()) return models::InFile(folder + "/card.json", card.status());
  auto file = models::ReadSafetensors(folder + "/weights.safetensors", card->weights_sha256);
  if (!file.ok()) return file.status();  // which names the file
  auto policy = QPolicy::Create(*std::move(card), file->tensors);
  if (!policy.ok()) return models::InFile(folder + "/weights.safetensors", policy.status());
  if (weights != nullptr) *weights = std::move(file->tensors);
  return policy;
}

absl::Status SaveQPolicy(const std::string& folder, const QCard& card,
                         const std::vector<Tensor>& tensors) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return absl::UnavailableError(fmt::format("{}: {}", folder, error.message()));
  models::TensorFile file;
  file.tensors = tensors;
  auto sha256 = models::WriteSafetensors(folder + "/weights.safetensors", file);
  if (!sha256.ok()) return sha256.status();
  QCard kept = card;
  kept.weights_sha256 = *std::move(sha256);
  return models::ReplaceFile(folder + "/card.json", QCardToJson(kept));
}

}  // namespace foreshadow
