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
  float propensity = 1;
  float reward = 0;
};
struct LoggedEpisode {
  double interval_s = 10;
  std::vector<LoggedStep> steps;  // the last one's action was not taken any more: it is only where
                                  // the one before led to
};

// `explore_all`: with that chance any allowed action is taken, as only a simulator may.
LoggedEpisode PlayEpisode(const Scenario& scenario, const QPolicy* policy,
                          const AgentSettings& settings, double explore_all, uint64_t seed);

}  // namespace foreshadow::training::router
