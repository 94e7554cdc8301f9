#include "training/router/off_policy.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <utility>

#include "models/torch/q_network.h"
#include "service/learn/reward.h"
#include "training/router/replay.h"

namespace foreshadow::training::router {
namespace {

constexpr size_t kEpisodesMin = 20;
constexpr int64_t kBatch = 128;
constexpr double kGapIntervals = 1.5;  // between two records: more is a decision that is missing
constexpr int kResamples = 2'000;
constexpr double kGainLeast = 0.02;  // of what was earned: below it the fit's own error would do

int Choice(const QPolicy& policy, const LoggedStep& step) {
  GuardState state;
  for (int a = 0; a < kSplitActions; ++a) state.allowed[a] = step.allowed[a] != 0;
  const auto rule = SplitAction(step.rule);
  return static_cast<int>(
      BestAllowed(policy.GainsOver(rule, step.features), state, rule, policy.card().margin));
}

// The same episode, its choices afterwards narrowed to the policy's: a network that takes the best
// of what is allowed then learns what the policy is worth.
LoggedEpisode Narrowed(const LoggedEpisode& episode, const QPolicy& policy) {
  LoggedEpisode narrowed = episode;
  for (LoggedStep& step : narrowed.steps) {
    const int choice = Choice(policy, step);
    step.allowed.fill(0);
    step.allowed[static_cast<size_t>(choice)] = 1;
  }
  return narrowed;
}

absl::StatusOr<QPolicy> FitValue(std::span<const LoggedEpisode> episodes, const QPolicy& policy,
                                 const OffPolicyOptions& o) {
  int64_t rows = 0;
  for (const LoggedEpisode& e : episodes) rows += std::ssize(e.steps);
  Replay replay({.capacity = std::max<int64_t>(rows, 1), .steps = 1, .discount = o.discount});
  for (const LoggedEpisode& e : episodes) replay.Add(Narrowed(e, policy));
  QCard card;
  card.hidden = 32;
  auto network = models::QNetwork::Create({kSplitFeatures, card.hidden, kSplitActions}, o.seed);
  if (!network.ok()) return network.status();
  std::mt19937_64 random(o.seed);
  for (int i = 0; i < o.steps; ++i) {
    const auto loss = (*network)->TrainStep(replay.Draw(kBatch, random), 1e-3, 0.02, {});
    if (!loss.ok()) return loss.status();
  }
  return QPolicy::Create(card, (*network)->Weights());
}

struct Start {
  double doubly_robust = 0;
  double earned = 0;
  std::vector<double> ratios;   // products up to each step, for weighted importance sampling
  std::vector<double> rewards;  // discounted
};

Start JudgeFrom(const LoggedEpisode& episode, size_t from, const QPolicy& policy,
                const QPolicy& value, double scale, const OffPolicyOptions& o) {
  const double discount = std::pow(o.discount, episode.interval_s / kCostSeconds);
  Start start;
  const auto worth = [&](const LoggedStep& step, int action) {
    return value.Values(step.features)[static_cast<size_t>(action)] / scale;
  };
  start.doubly_robust = worth(episode.steps[from], Choice(policy, episode.steps[from]));
  double factor = 1;
  double ratio = 1;
  for (size_t t = from; t + 1 < episode.steps.size(); ++t, factor *= discount) {
    const LoggedStep& step = episode.steps[t];
    const LoggedStep& after = episode.steps[t + 1];
    const int choice = Choice(policy, step);
    ratio = std::min(choice == step.action ? ratio / step.propensity : 0.0, o.weight_max);
    const double off =
        step.reward + discount * worth(after, Choice(policy, after)) - worth(step, step.action);
    start.doubly_robust += factor * ratio * off;
    start.earned += factor * step.reward;
    start.ratios.push_back(ratio);
    start.rewards.push_back(factor * step.reward);
  }
  // Where the log ends both go on alike: what is compared is what happened before.
  start.earned += factor * worth(episode.steps.back(), Choice(policy, episode.steps.back()));
  return start;
}

Estimate BootstrapMean(const std::vector<double>& values, uint64_t seed) {
  const auto mean = [&](const auto& pick) {
    double sum = 0;
    for (size_t i = 0; i < values.size(); ++i) sum += values[pick(i)];
    return sum / static_cast<double>(values.size());
  };
  std::mt19937_64 random(seed);
  std::vector<double> means;
  for (int r = 0; r < kResamples; ++r) {
    means.push_back(mean([&](size_t) { return random() % values.size(); }));
  }
  std::sort(means.begin(), means.end());
  return {mean([](size_t i) { return i; }), means[static_cast<size_t>(0.025 * kResamples)],
          means[static_cast<size_t>(0.975 * kResamples)]};
}

// Each step's rewards weighed by the ratios of all starts that reach it (Precup et al. 2000).
double WeightedSampling(const std::vector<Start>& starts) {
  double total = 0;
  for (size_t t = 0;; ++t) {
    double weights = 0;
    double sum = 0;
    bool reached = false;
    for (const Start& s : starts) {
      if (t >= s.ratios.size()) continue;
      reached = true;
      weights += s.ratios[t];
      sum += s.ratios[t] * s.rewards[t];
    }
    if (!reached || weights <= 0) return total;
    total += sum / weights;
  }
}

}  // namespace

absl::StatusOr<OffPolicyEstimate> EvaluateOffPolicy(std::span<const LoggedEpisode> episodes,
                                                    const QPolicy& policy,
                                                    const OffPolicyOptions& o) {
  if (episodes.size() < kEpisodesMin) {
    return absl::InvalidArgumentError(
        fmt::format("the log has {} episodes to judge by: at least {} are needed", episodes.size(),
                    kEpisodesMin));
  }
  const auto value = FitValue(episodes, policy, o);
  if (!value.ok()) return value.status();
  const double scale = ReplayOptions().reward_scale;
  OffPolicyEstimate result;
  std::vector<Start> starts;
  int64_t decisions = 0;
  for (const LoggedEpisode& episode : episodes) {
    for (size_t t = 0; t + 1 < episode.steps.size(); ++t) {
      ++decisions;
      result.followed += Choice(policy, episode.steps[t]) == episode.steps[t].action ? 1 : 0;
      if (t % static_cast<size_t>(o.start_every) == 0) {
        starts.push_back(JudgeFrom(episode, t, policy, *value, scale, o));
      }
    }
  }
  result.followed /= static_cast<double>(std::max<int64_t>(decisions, 1));
  result.starts = std::ssize(starts);
  std::vector<double> robust;
  std::vector<double> earned;
  std::vector<double> gain;
  for (const Start& s : starts) {
    robust.push_back(s.doubly_robust);
    earned.push_back(s.earned);
    gain.push_back(s.doubly_robust - s.earned);
  }
  result.policy = BootstrapMean(robust, o.seed);
  result.behaviour = BootstrapMean(earned, o.seed);
  result.gain = BootstrapMean(gain, o.seed);
  result.weighted = WeightedSampling(starts);
  return result;
}

std::vector<LoggedEpisode> EpisodesOfLog(std::vector<SplitRecord> records) {
  std::stable_sort(records.begin(), records.end(), [](const SplitRecord& a, const SplitRecord& b) {
    return std::tie(a.instance_id, a.time_ms) < std::tie(b.instance_id, b.time_ms);
  });
  std::vector<LoggedEpisode> episodes;
  const SplitRecord* before = nullptr;
  for (const SplitRecord& record : records) {
    const bool goes_on = before != nullptr && before->instance_id == record.instance_id &&
                         record.cost >= 0 &&
                         static_cast<double>(record.time_ms - before->time_ms) <=
                             1'000 * kGapIntervals * record.interval_s;
    if (goes_on) {
      episodes.back().steps.back().reward = static_cast<float>(-record.cost);
    } else {
      episodes.push_back({record.interval_s, {}});
    }
    LoggedStep step;
    step.features = record.features;
    step.allowed = record.allowed;
    step.action = static_cast<uint8_t>(record.action);
    step.rule = static_cast<uint8_t>(record.rule);
    step.propensity = static_cast<float>(record.propensity);
    episodes.back().steps.push_back(step);
    before = &record;
  }
  std::erase_if(episodes, [](const LoggedEpisode& e) { return e.steps.size() < 2; });
  return episodes;
}

absl::StatusOr<OnlineResult> LearnFromLog(std::span<const LoggedEpisode> episodes,
                                          const OnlineOptions& o) {
  std::vector<models::Tensor> start_weights;
  const auto start = LoadQPolicy(o.start, &start_weights);
  if (!start.ok()) return start.status();
  std::vector<LoggedEpisode> apart;
  int64_t rows = 0;
  for (size_t i = 0; i < episodes.size(); ++i) {
    if (i % 3 == 2) apart.push_back(episodes[i]);
    rows += std::ssize(episodes[i].steps);
  }
  Replay replay({.capacity = std::max<int64_t>(rows, 1)});
  OnlineResult result;
  result.card = start->card();
  for (size_t i = 0; i < episodes.size(); ++i) {
    if (i % 3 == 2) continue;
    replay.Add(episodes[i]);
    ++result.card.episodes;
  }
  if (replay.size() == 0) return absl::InvalidArgumentError("the log has no episode to learn from");
  std::vector<models::Tensor> weights;
  const int networks = result.card.networks;
  for (int n = 0; n < networks; ++n) {
    const uint64_t seed = o.judge.seed + static_cast<uint64_t>(n);
    auto network =
        models::QNetwork::Create({kSplitFeatures, result.card.hidden, kSplitActions}, seed);
    if (!network.ok()) return network.status();
    absl::Status status = (*network)->SetWeights(NetworkOf(start_weights, networks, n));
    if (!status.ok()) return status;
    std::mt19937_64 random(seed);
    for (int i = 0; i < o.steps; ++i) {
      models::QBatch batch = replay.Draw(kBatch, random);
      batch.conservative = static_cast<float>(o.conservative);
      const auto loss = (*network)->TrainStep(batch, o.learning_rate, 0.01, {});
      if (!loss.ok()) return loss.status();
    }
    AddNetwork((*network)->Weights(), networks, n, weights);
  }
  result.card.version += "+log";
  result.card.steps += o.steps;
  result.card.command = o.command;
  const auto policy = QPolicy::Create(result.card, weights);
  if (!policy.ok()) return policy.status();
  const auto estimate = EvaluateOffPolicy(apart, *policy, o.judge);
  if (!estimate.ok()) return estimate.status();
  result.estimate = *estimate;
  if (result.estimate.gain.low <= kGainLeast * std::abs(estimate->behaviour.value)) {
    return absl::FailedPreconditionError(fmt::format(
        "the log does not show that the new policy earns more: {:.3f} ({:.3f} to {:.3f}) more than "
        "what decided, of {} starts; nothing is written",
        estimate->gain.value, estimate->gain.low, estimate->gain.high, estimate->starts));
  }
  result.card.scores["off_policy_gain"] = estimate->gain.value;
  result.card.scores["off_policy_gain_low"] = estimate->gain.low;
  const absl::Status status = SaveQPolicy(o.out, result.card, weights);
  if (!status.ok()) return status;
  return result;
}

}  // namespace foreshadow::training::router
