#include "training/router/learned.h"

#include <algorithm>

namespace foreshadow::training::router {
namespace {

double Uniform(std::mt19937_64& random) {
  return (static_cast<double>(random() >> 11) + 0.5) * 0x1.0p-53;
}

LoggedStep StepOf(const SplitDecision& decision) {
  LoggedStep step;
  step.features = decision.features;
  for (int a = 0; a < kSplitActions; ++a) step.allowed[a] = decision.guard.allowed[a] ? 1 : 0;
  step.action = static_cast<uint8_t>(decision.action);
  step.propensity = static_cast<float>(decision.propensity);
  return step;
}

}  // namespace

double Learned::Decide(const SplitObservation& observation) {
  last_ = DecideSplit(observation, settings_, policy_, AimdWish(observation, rule_, false),
                      Uniform(random_), memory_);
  return last_.split;
}

LoggedEpisode PlayEpisode(const Scenario& scenario, const QPolicy* policy,
                          const AgentSettings& settings, double explore_all, uint64_t seed) {
  const LearnSettings rule;
  std::mt19937_64 random(seed);
  GuardMemory memory;
  SplitWorld world(scenario);
  LoggedEpisode episode;
  episode.interval_s = scenario.interval_s;
  for (;;) {
    const SplitObservation observation = world.Observe();
    const GuardMemory before = memory;
    SplitDecision decision = DecideSplit(
        observation, settings, policy, AimdWish(observation, rule, false), Uniform(random), memory);
    const double drawn = Uniform(random);
    if (drawn < explore_all) {
      std::vector<int> open;
      for (int a = 0; a < kSplitActions; ++a) {
        if (decision.guard.allowed[a]) open.push_back(a);
      }
      const auto pick = static_cast<size_t>(drawn / explore_all * static_cast<double>(open.size()));
      decision.action = static_cast<SplitAction>(open[std::min(pick, open.size() - 1)]);
      decision.split = decision.guard.split[static_cast<int>(decision.action)];
      memory = before;
      Remember(observation, settings.guard, memory);
      Moved(observation.split, decision.split, memory);
    }
    LoggedStep step = StepOf(decision);
    if (world.over()) {
      episode.steps.push_back(step);
      return episode;
    }
    step.reward = static_cast<float>(-world.Advance(decision.split).cost);
    episode.steps.push_back(step);
  }
}

}  // namespace foreshadow::training::router
