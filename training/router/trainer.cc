#include "training/router/trainer.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <utility>

#include "service/learn/reward.h"
#include "training/router/episode.h"
#include "training/router/learned.h"

namespace foreshadow::training::router {
namespace {

using nlohmann::ordered_json;

constexpr double kRulesOnly = 1e6;  // a margin that no action is worth

std::string CheckpointPath(const std::string& out) { return out + "/checkpoint.safetensors"; }
std::string LogPath(const std::string& out) { return out + "/training.csv"; }

// Where training stands between two epochs.
struct Standing {
  int epoch = 0;  // done
  int64_t episodes = 0;
  int64_t steps = 0;
  double best_cost = std::numeric_limits<double>::infinity();
  int best_epoch = 0;
  SplitFeatures feature_min{};
  SplitFeatures feature_max{};
  std::vector<models::Tensor> average;
  std::vector<models::Tensor> best;
  std::mt19937_64 random;
  std::string log;  // of the epochs done
};

absl::Status Check(const RouterTrainOptions& o) {
  struct Rule {
    const char* name;
    double value, least, most;
  };
  const Rule rules[] = {{"epochs", double(o.epochs), 1, 1e5},
                        {"episodes", double(o.episodes), 1, 1e6},
                        {"steps", double(o.steps), 1, 1e7},
                        {"hidden", double(o.hidden), 1, 1'024},
                        {"batch", double(o.batch), 1, 65'536},
                        {"learning-rate", o.learning_rate, 1e-7, 1},
                        {"n-step", double(o.replay.steps), 1, 100},
                        {"discount", o.replay.discount, 0, 0.9999},
                        {"replay", double(o.replay.capacity), 1'000, 1e7}};
  for (const Rule& rule : rules) {
    if (rule.value >= rule.least && rule.value <= rule.most) continue;
    return absl::InvalidArgumentError(
        fmt::format("{} is {}: allowed is {} to {}", rule.name, rule.value, rule.least, rule.most));
  }
  for (const double interval_s : o.intervals_s) {
    if (interval_s >= 1 && interval_s <= 60) continue;
    return absl::InvalidArgumentError(
        fmt::format("interval is {} s: allowed is 1 to 60", interval_s));
  }
  if (o.intervals_s.empty()) return absl::InvalidArgumentError("no interval is given");
  return absl::OkStatus();
}

// All options that shape the weights, in words: a checkpoint of others is refused.
std::string Identity(const RouterTrainOptions& o) {
  const double shapes[] = {o.learning_rate,       o.follow,          o.explore_most,
                           o.explore_least,       o.try_chance,      o.rules_until,
                           o.replay.reward_scale, o.replay.discount, o.average_episodes};
  return fmt::format("{} {} {} {} {} {} {} {} {} {} {} {} {} {} {}", o.epochs, o.episodes, o.steps,
                     o.hidden, o.batch, o.replay.capacity, o.replay.steps, o.replay.prioritized,
                     o.validation_seeds, o.seed, o.dueling, o.double_q, o.balance,
                     fmt::join(o.intervals_s, ","), fmt::join(shapes, " "));
}

std::vector<std::string_view> TrainedFamilies() {
  std::vector<std::string_view> families;
  for (const std::string_view family : ScenarioFamilies()) {
    const auto& held = HeldOutFamilies();
    if (std::find(held.begin(), held.end(), family) == held.end()) families.push_back(family);
  }
  return families;
}

Scenario ScenarioAt(std::string_view family, uint64_t seed, double interval_s) {
  Scenario scenario = MakeScenario(family, seed);
  scenario.interval_s = interval_s;
  return scenario;
}

QCard CardOf(const RouterTrainOptions& o, const Standing& standing) {
  QCard card;
  card.hidden = o.hidden;
  card.version = fmt::format("q-{}-{}", o.seed, standing.best_epoch);
  card.interval_s_min = *std::min_element(o.intervals_s.begin(), o.intervals_s.end());
  card.interval_s_max = *std::max_element(o.intervals_s.begin(), o.intervals_s.end());
  card.feature_min = standing.feature_min;
  card.feature_max = standing.feature_max;
  card.seed = o.seed;
  card.episodes = standing.episodes;
  card.steps = standing.steps;
  card.command = o.command;
  return card;
}

// Of a policy that knows everything: while it learns, no state is foreign to it.
absl::StatusOr<QPolicy> PolicyOf(const RouterTrainOptions& o,
                                 const std::vector<models::Tensor>& weights, double margin = 0,
                                 int networks = 1) {
  QCard card;
  card.networks = networks;
  card.hidden = o.hidden;
  card.margin = margin;
  card.interval_s_min = 0;
  card.interval_s_max = 1e9;
  card.feature_min.fill(-1e9f);
  card.feature_max.fill(1e9f);
  return QPolicy::Create(std::move(card), weights);
}

AgentSettings AgentOf(const RouterTrainOptions& o) {
  AgentSettings settings;
  settings.omitted[static_cast<int>(SplitAction::kBalance)] = !o.balance;
  return settings;
}

void Average(const RouterTrainOptions& o, const std::vector<models::Tensor>& weights,
             std::vector<models::Tensor>& average) {
  const auto share = static_cast<float>(1 / std::max(o.average_episodes, 1.0));
  for (size_t t = 0; t < average.size(); ++t) {
    for (size_t i = 0; i < average[t].values.size(); ++i) {
      average[t].values[i] += share * (weights[t].values[i] - average[t].values[i]);
    }
  }
}

double Validate(const RouterTrainOptions& o, const QPolicy& policy) {
  double cost = 0;
  int episodes = 0;
  for (const std::string_view family : TrainedFamilies()) {
    for (const double interval_s : o.intervals_s) {
      for (int k = 0; k < o.validation_seeds; ++k, ++episodes) {
        Learned learned(&policy, AgentOf(o), 1);
        cost += RunEpisode(ScenarioAt(family, kValidationSeed + k, interval_s), learned).cost;
      }
    }
  }
  return cost / episodes;
}

// The margin that is best on the episodes kept apart; `cost` is that of none, and then of the best.
absl::StatusOr<double> BestMargin(const RouterTrainOptions& o,
                                  const std::vector<models::Tensor>& weights, int networks,
                                  double& cost) {
  double best = 0;
  for (const double margin : {0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8}) {
    const auto policy = PolicyOf(o, weights, margin, networks);
    if (!policy.ok()) return policy.status();
    const double with = Validate(o, *policy);
    if (with >= cost) continue;
    cost = with;
    best = margin;
  }
  return best;
}

void Widen(const LoggedEpisode& episode, Standing& standing) {
  for (const LoggedStep& step : episode.steps) {
    for (int f = 0; f < kSplitFeatures; ++f) {
      standing.feature_min[f] = std::min(standing.feature_min[f], step.features[f]);
      standing.feature_max[f] = std::max(standing.feature_max[f], step.features[f]);
    }
  }
}

absl::Status SaveCheckpoint(const RouterTrainOptions& o, const models::QNetwork& network,
                            const Replay& replay, const Standing& standing) {
  models::TensorFile file;
  file.tensors = network.Weights();
  for (const auto& list : {network.TrainingState(), replay.Save()}) {
    file.tensors.insert(file.tensors.end(), list.begin(), list.end());
  }
  const auto keep = [&](const std::string& prefix, std::vector<models::Tensor> tensors) {
    for (models::Tensor& tensor : tensors) {
      tensor.name = prefix + tensor.name;
      file.tensors.push_back(std::move(tensor));
    }
  };
  keep("best.", standing.best);
  keep("average.", standing.average);
  std::ostringstream random;
  random << standing.random;
  const ordered_json json = {
      {"identity", Identity(o)},
      {"epoch", standing.epoch},
      {"episodes", standing.episodes},
      {"steps", standing.steps},
      {"best_cost", std::isfinite(standing.best_cost) ? standing.best_cost : -1},
      {"best_epoch", standing.best_epoch},
      {"feature_min", standing.feature_min},
      {"feature_max", standing.feature_max},
      {"random", random.str()},
      {"log", standing.log}};
  file.metadata["standing"] = json.dump();
  return models::WriteSafetensors(CheckpointPath(o.out), file).status();
}

// Leaves everything at the start when there is no checkpoint.
absl::Status LoadCheckpoint(const RouterTrainOptions& o, models::QNetwork& network, Replay& replay,
                            Standing& standing) {
  const auto file = models::ReadSafetensors(CheckpointPath(o.out));
  if (absl::IsNotFound(file.status())) return absl::OkStatus();
  if (!file.ok()) return file.status();
  const auto found = file->metadata.find("standing");
  const auto json = ordered_json::parse(found == file->metadata.end() ? "" : found->second, nullptr,
                                        /*allow_exceptions=*/false);
  if (!json.is_object() || json.value("identity", "") != Identity(o)) {
    return absl::FailedPreconditionError(
        fmt::format("{} is of another run: give the same options, another --out, or --fresh",
                    CheckpointPath(o.out)));
  }
  absl::Status status = network.SetWeights(file->tensors);
  if (status.ok()) status = network.SetTrainingState(file->tensors);
  if (status.ok()) status = replay.Load(file->tensors);
  if (!status.ok()) return status;
  standing.epoch = json.value("epoch", 0);
  standing.episodes = json.value("episodes", int64_t{0});
  standing.steps = json.value("steps", int64_t{0});
  standing.best_epoch = json.value("best_epoch", 0);
  if (json.value("best_cost", -1.0) >= 0) standing.best_cost = json.value("best_cost", 0.0);
  standing.feature_min = json.at("feature_min").get<SplitFeatures>();
  standing.feature_max = json.at("feature_max").get<SplitFeatures>();
  standing.log = json.value("log", "");
  std::istringstream random(json.value("random", ""));
  random >> standing.random;
  const auto take = [&](const std::string& prefix, std::vector<models::Tensor>& tensors) {
    tensors.clear();
    for (const models::Tensor& tensor : file->tensors) {
      if (!tensor.name.starts_with(prefix)) continue;
      tensors.push_back(tensor);
      tensors.back().name = tensor.name.substr(prefix.size());
    }
  };
  take("best.", standing.best);
  take("average.", standing.average);
  return absl::OkStatus();
}

struct EpochSums {
  double loss = 0;
  double cost = 0;
};

absl::StatusOr<EpochSums> RunEpoch(const RouterTrainOptions& o, double explore, double margin,
                                   double rate, models::QNetwork& network, Replay& replay,
                                   Standing& standing) {
  EpochSums sums;
  static const std::vector<std::string_view> families = TrainedFamilies();
  std::vector<float> errors(static_cast<size_t>(o.batch));
  int64_t stepped = 0;
  for (int e = 0; e < o.episodes; ++e) {
    const auto policy = PolicyOf(o, standing.average, margin);
    if (!policy.ok()) return policy.status();
    const auto family = families[standing.random() % families.size()];
    const double interval_s = o.intervals_s[standing.random() % o.intervals_s.size()];
    const Trials trials = {o.try_chance, o.replay.steps,
                           std::pow(o.replay.discount, interval_s / kCostSeconds)};
    std::vector<std::vector<Transition>> tried;
    const uint64_t seed = kTrainingSeed + standing.random() % 1'000'000'000;
    const LoggedEpisode episode =
        PlayEpisode(ScenarioAt(family, seed, interval_s), &*policy, AgentOf(o), explore, seed,
                    trials, o.try_chance > 0 ? &tried : nullptr);
    for (const LoggedStep& step : episode.steps) sums.cost -= step.reward;
    Widen(episode, standing);
    if (o.try_chance > 0) {
      for (const std::vector<Transition>& state : tried) replay.Add(state);
    } else {
      replay.Add(episode);
    }
    ++standing.episodes;
    if (replay.size() < 10 * o.batch) continue;
    for (const int64_t due = int64_t{o.steps} * (e + 1) / o.episodes; stepped < due; ++stepped) {
      const auto loss =
          network.TrainStep(replay.Draw(o.batch, standing.random), rate, o.follow, errors);
      if (!loss.ok()) return loss.status();
      replay.Learned(errors);
      sums.loss += *loss;
      ++standing.steps;
    }
    Average(o, network.Weights(), standing.average);
  }
  sums.loss /= std::max<int64_t>(stepped, 1);
  sums.cost /= o.episodes;
  return sums;
}

}  // namespace

const std::vector<std::string_view>& HeldOutFamilies() {
  static const auto* families =
      new std::vector<std::string_view>{"waves", "slows-later", "lying-agent"};
  return *families;
}

absl::StatusOr<QCard> TrainRouter(const RouterTrainOptions& o,
                                  const std::function<void(const RouterProgress&)>& progress) {
  absl::Status status = Check(o);
  if (!status.ok()) return status;
  std::error_code error;
  std::filesystem::create_directories(o.out, error);
  if (error) return absl::UnavailableError(fmt::format("{}: {}", o.out, error.message()));
  auto network = models::QNetwork::Create(
      {kSplitFeatures, o.hidden, kSplitActions, o.dueling, o.double_q}, o.seed);
  if (!network.ok()) return network.status();
  Replay replay(o.replay);
  Standing standing;
  standing.random.seed(o.seed);
  standing.average = (*network)->Weights();
  standing.feature_min.fill(std::numeric_limits<float>::max());
  standing.feature_max.fill(std::numeric_limits<float>::lowest());
  standing.log = "epoch,episodes,steps,explore,loss,train_cost,validation_cost,best_cost\n";
  if (!o.fresh) {
    status = LoadCheckpoint(o, **network, replay, standing);
    if (!status.ok()) return status;
  }
  const bool resumed = standing.epoch > 0;
  while (standing.epoch < o.epochs) {
    const double done = static_cast<double>(standing.epoch) / o.epochs;
    const double explore =
        std::max(o.explore_least, o.explore_most - 2 * done * (o.explore_most - o.explore_least));
    const double margin = done < o.rules_until ? kRulesOnly : 0;
    const double rate = o.learning_rate * (0.1 + 0.9 * 0.5 * (1 + std::cos(M_PI * done)));
    const auto sums = RunEpoch(o, explore, margin, rate, **network, replay, standing);
    if (!sums.ok()) return sums.status();
    ++standing.epoch;
    const auto policy = PolicyOf(o, standing.average);
    if (!policy.ok()) return policy.status();
    const bool counts = standing.epoch >= o.validation_from * o.epochs;
    const double cost = counts ? Validate(o, *policy) : 0;
    if (counts && cost < standing.best_cost) {
      standing.best_cost = cost;
      standing.best_epoch = standing.epoch;
      standing.best = standing.average;
    }
    standing.log += fmt::format("{},{},{},{:.4f},{:.6f},{:.4f},{:.4f},{:.4f}\n", standing.epoch,
                                standing.episodes, standing.steps, explore, sums->loss, sums->cost,
                                cost, counts ? standing.best_cost : 0);
    status = models::ReplaceFile(LogPath(o.out), standing.log);
    if (status.ok()) status = SaveCheckpoint(o, **network, replay, standing);
    if (!status.ok()) return status;
    progress({standing.epoch, o.epochs, explore, sums->loss, sums->cost, cost,
              counts ? standing.best_cost : 0, resumed});
  }
  QCard card = CardOf(o, standing);
  const auto margin = BestMargin(o, standing.best, 1, standing.best_cost);
  if (!margin.ok()) return margin.status();
  card.margin = *margin;
  card.scores["validation_cost"] = standing.best_cost;
  status = SaveQPolicy(o.out, card, standing.best);
  if (!status.ok()) return status;
  return card;
}

absl::StatusOr<QCard> JoinRouters(const std::vector<std::string>& folders,
                                  const RouterTrainOptions& options) {
  if (folders.size() < 2) return absl::InvalidArgumentError("one policy alone needs no joining");
  RouterTrainOptions o = options;
  std::vector<models::Tensor> weights;
  QCard card;
  for (size_t n = 0; n < folders.size(); ++n) {
    std::vector<models::Tensor> its;
    const auto policy = LoadQPolicy(folders[n], &its);
    if (!policy.ok()) return policy.status();
    const QCard& of = policy->card();
    if (n == 0) card = of;
    if (of.networks != 1 || of.hidden != card.hidden) {
      return absl::InvalidArgumentError(fmt::format(
          "{}: {} networks of width {}: allowed is one, as wide as the first policy's, {}",
          folders[n], of.networks, of.hidden, card.hidden));
    }
    AddNetwork(std::move(its), static_cast<int>(folders.size()), static_cast<int>(n), weights);
    if (n == 0) continue;
    card.version += "+" + of.version;
    card.episodes += of.episodes;
    card.steps += of.steps;
    card.interval_s_min = std::max(card.interval_s_min, of.interval_s_min);
    card.interval_s_max = std::min(card.interval_s_max, of.interval_s_max);
    for (int f = 0; f < kSplitFeatures; ++f) {
      card.feature_min[f] = std::max(card.feature_min[f], of.feature_min[f]);
      card.feature_max[f] = std::min(card.feature_max[f], of.feature_max[f]);
    }
  }
  for (const double interval_s : o.intervals_s) {
    if (interval_s >= card.interval_s_min && interval_s <= card.interval_s_max) continue;
    return absl::InvalidArgumentError(fmt::format(
        "interval is {} s: allowed is what all of these policies learned at, at least {} and at "
        "most {}",
        interval_s, card.interval_s_min, card.interval_s_max));
  }
  card.networks = static_cast<int>(folders.size());
  card.command = o.command;
  o.hidden = card.hidden;
  const auto plain = PolicyOf(o, weights, 0, card.networks);
  if (!plain.ok()) return plain.status();
  double cost = Validate(o, *plain);
  const auto margin = BestMargin(o, weights, card.networks, cost);
  if (!margin.ok()) return margin.status();
  card.margin = *margin;
  card.scores = {{"validation_cost", cost}};
  const absl::Status status = SaveQPolicy(o.out, card, weights);
  if (!status.ok()) return status;
  return card;
}

}  // namespace foreshadow::training::router
