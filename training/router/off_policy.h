// What a policy would have earned, told from decisions that another one took: doubly robust (Jiang
// and Li 2016, "Doubly robust off-policy value evaluation", equation 10) on top of a fitted value
// of the policy (Le, Voloshin, Yue 2019, "Batch policy learning under constraints", section 4.1).
// One thread, deterministic in its options.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "service/learn/q_policy.h"
#include "service/learn/split_log.h"
#include "training/router/learned.h"
#include "training/router/study.h"

namespace foreshadow::training::router {

struct OffPolicyOptions {
  double discount = 0.9;   // of ten seconds: a decision is judged by the next minutes
  int steps = 3'000;       // of the fit
  double weight_max = 10;  // of a product of ratios: above it the fit alone speaks
  int start_every = 40;    // decisions between two starts of an episode that are judged
  uint64_t seed = 1;
};

struct OffPolicyEstimate {
  Estimate policy;      // discounted reward from a start, doubly robust
  Estimate behaviour;   // what was earned
  Estimate gain;        // the difference, start by start
  double weighted = 0;  // the policy's by weighted importance sampling alone, for comparison
  double followed = 0;  // share of the decisions that are also the policy's choice
  int64_t starts = 0;
};

// INVALID_ARGUMENT when there are too few episodes to judge by.
absl::StatusOr<OffPolicyEstimate> EvaluateOffPolicy(std::span<const LoggedEpisode> episodes,
                                                    const QPolicy& policy,
                                                    const OffPolicyOptions& options);

// Streams of one shadow each, cut where a decision is missing or what it cost is not known.
std::vector<LoggedEpisode> EpisodesOfLog(std::vector<SplitRecord> records);

struct OnlineOptions {
  std::string start;  // folder of the policy to go on from
  std::string out;
  int steps = 4'000;
  double learning_rate = 2e-4;
  double conservative = 0.5;  // of actions that the log does not hold
  OffPolicyOptions judge;
  std::string command;
};

struct OnlineResult {
  QCard card;
  OffPolicyEstimate estimate;  // on the third of the episodes that it did not learn from
};

// Learns from a log on top of a policy. FAILED_PRECONDITION, and nothing is written, unless the
// episodes kept apart show with 97.5 % that it earns more, by a fiftieth, than what decided then.
absl::StatusOr<OnlineResult> LearnFromLog(std::span<const LoggedEpisode> episodes,
                                          const OnlineOptions& options);

}  // namespace foreshadow::training::router
