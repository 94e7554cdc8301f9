// The learned policy as one of the simulator's, and its way into a training step.
#pragma once

#include <random>
#include <vector>

#include "service/learn/agent.h"
#include "training/router/policy.h"
#include "training/router/scenario.h"

namespace foreshadow::training::router {

class Learned : public SplitPolicy {
 public:
  // Keeps the pointer. Null: the rule within the rails, which may explore too.
  Learned(const QPolicy* policy, AgentSettings settings, uint64_t seed)
      : policy_(policy), settings_(settings), random_(seed) {}

  double Decide(const SplitObservation& observation) override;
  double shed() const override { return last_.shed; }
  const SplitDecision& last() const { return last_; }

 private:
  const QPolicy* policy_;
  AgentSettings settings_;
  LearnSettings rule_;
  std::mt19937_64 random_;
  GuardMemory memory_;
  SplitDecision last_;
};

// One decision and what came of it; what a log of decisions holds too.
struct LoggedStep {
  SplitFeatures features{};
  std::array<uint8_t, kSplitActions> allowed{};
  uint8_t action = 0;
  uint8_t rule = 0;
  float propensity = 1;
  float reward = 0;
};
struct LoggedEpisode {
  double interval_s = 10;
  std::vector<LoggedStep> steps;  // the last one's action was not taken any more: it is only where
                                  // the one before led to
};

// What came of one action, and of the policy for some decisions more.
struct Transition {
  SplitFeatures features{};
  std::array<uint8_t, kSplitActions> allowed{};
  uint8_t action = 0;
  double reward = 0;    // sum, discounted
  double discount = 1;  // of what follows
  SplitFeatures features_after{};
  std::array<uint8_t, kSplitActions> allowed_after{};
};

// With `chance` at each decision, every allowed action is tried in a copy of the world, under the
// same arrivals and service times: what they are worth then differs by the action alone, not by
// luck. Only a simulator can. `tried` is [decision][action].
struct Trials {
  double chance = 0;
  int steps = 1;        // decisions that a transition spans, the later ones the policy's
  double discount = 1;  // of an interval
};

// `explore_all`: with that chance any allowed action is taken, as only a simulator may.
LoggedEpisode PlayEpisode(const Scenario& scenario, const QPolicy* policy,
                          const AgentSettings& settings, double explore_all, uint64_t seed,
                          const Trials& trials = {},
                          std::vector<std::vector<Transition>>* tried = nullptr);

}  // namespace foreshadow::training::router
