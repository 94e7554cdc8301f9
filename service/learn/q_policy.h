// A learned policy of the split: what each action is worth by small networks - two hidden layers,
// then value and advantages apart (Wang et al. 2016, "Dueling network architectures") - run without
// torch. In a folder as card.json and weights.safetensors. Immutable once loaded, any thread.
#pragma once

#include <Eigen/Core>
#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/file/safetensors.h"
#include "service/learn/guard.h"
#include "service/learn/observation.h"

namespace foreshadow {

using ActionValues = std::array<double, kSplitActions>;

// What the weights are of, and what they may be used for.
struct QCard {
  int networks = 1;  // trained apart; of several, tensors are called "0.first.weight" ...
  int hidden = 64;
  std::string version;         // of the policy, named in every decision it makes
  double interval_s_min = 10;  // between decisions, that it has seen
  double interval_s_max = 10;
  // Of each feature, that it has seen: outside them the plain rule decides.
  SplitFeatures feature_min{};
  SplitFeatures feature_max{};
  // By how much an action has to be worth more than the rule's, which is taken else: what the
  // networks are not sure of does not move traffic (Laroche et al. 2019, "Safe policy improvement
  // with baseline bootstrapping").
  double margin = 0;
  std::string weights_sha256;  // of weights.safetensors; "" = not known: an older card
  uint64_t seed = 0;
  int64_t episodes = 0;
  int64_t steps = 0;
  std::string command;                   // that made it
  std::map<std::string, double> scores;  // name -> value, for the record
};

class QPolicy {
 public:
  // INVALID_ARGUMENT names a tensor that is missing or of another shape, or a value that is not
  // finite.
  static absl::StatusOr<QPolicy> Create(QCard card, const std::vector<models::Tensor>& tensors);

  const QCard& card() const { return card_; }
  // Of the card and the weights: another policy under the same version is told by it.
  uint64_t fingerprint() const { return fingerprint_; }
  // Means of the networks.
  ActionValues Values(const SplitFeatures& features) const;
  // By how much each is worth more than the rule's action, by the network that says least: where
  // they have seen little they disagree (Lakshminarayanan et al. 2017, "Deep ensembles").
  ActionValues GainsOver(SplitAction rule, const SplitFeatures& features) const;
  // Within what it has seen, a tenth of the range more on both sides.
  bool Knows(const SplitObservation& observation, const SplitFeatures& features) const;

 private:
  struct Network {
    Eigen::MatrixXf first, second, heads;  // heads: value, then advantages
    Eigen::VectorXf first_bias, second_bias, heads_bias;
  };
  static ActionValues ValuesOf(const Network& network, const SplitFeatures& features);

  QCard card_;
  uint64_t fingerprint_ = 0;
  std::vector<Network> networks_;
};

// What the rule takes, unless the best of the allowed is worth more than that by `margin` (safe
// improvement on a policy that is known, Laroche et al. 2019). `values`: as GainsOver has them.
SplitAction BestAllowed(const ActionValues& values, const GuardState& state, SplitAction rule,
                        double margin);

// Tensors of network `n` of several, under the names that one alone has; and the other way round.
std::vector<models::Tensor> NetworkOf(const std::vector<models::Tensor>& tensors, int networks,
                                      int n);
void AddNetwork(std::vector<models::Tensor> network, int networks, int n,
                std::vector<models::Tensor>& tensors);

std::string QCardToJson(const QCard& card);
// DATA_LOSS when it is no JSON object; INVALID_ARGUMENT naming a field that is missing, out of
// range, or of other features or actions than this program's.
absl::StatusOr<QCard> QCardFromJson(const std::string& text);

// Errors name the file; DATA_LOSS where the weights are not those that the card is of. `weights`
// takes what was read, for those who go on from there.
absl::StatusOr<QPolicy> LoadQPolicy(const std::string& folder,
                                    std::vector<models::Tensor>* weights = nullptr);
// The card in the folder holds the sum of these weights, whatever `card` says.
absl::Status SaveQPolicy(const std::string& folder, const QCard& card,
                         const std::vector<models::Tensor>& tensors);

}  // namespace foreshadow
