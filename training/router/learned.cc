#include "training/router/learned.h"

#include <algorithm>

namespace foreshadow::training::router {
namespace {

LoggedStep StepOf(const SplitDecision& decision) {
  LoggedStep step;
  step.features = decision.features;
  for (int a = 0; a < kSplitActions; ++a) step.allowed[a] = decision.guard.allowed[a] ? 1 : 0;
  step.action = static_cast<uint8_t>(decision.action);
  step.rule = static_cast<uint8_t>(decision.rule);
  step.propensity = static_cast<float>(decision.propensity);
  return step;
}

// Who decides in an episode of training, and what he remembers.
struct Decider {
  const QPolicy* policy;
  const AgentSettings& settings;
  std::mt19937_64 random;
  GuardMemory memory;

  SplitDecision Decide(const SplitObservation& o) {
    return DecideSplit(o, settings, policy, AimdWish(o, LearnSettings(), false), Uniform(random),
                       memory);
  }

  // Another action in the place of what was decided, by one who has yet to decide.
  void Take(const SplitObservation& o, SplitAction action, SplitDecision& decision) {
    decision.action = action;
    decision.split = decision.guard.split[static_cast<int>(action)];
    Remember(o, settings.guard, memory);
    Moved(o.split, decision.split, memory);
  }
};

// `decider` has yet to decide at `decision`.
Transition Try(SplitWorld world, Decider decider, SplitDecision decision, SplitAction action,
               const Trials& trials) {
  decider.Take(world.Observe(), action, decision);
  const LoggedStep first = StepOf(decision);
  Transition t{first.features, first.allowed, first.action};
  SplitDecision next = decision;
  for (int k = 0; k < trials.steps && !world.over(); ++k) {
    t.reward -= t.discount * world.Advance(next.split).cost;
    t.discount *= trials.discount;
    next = decider.Decide(world.Observe());
  }
  const LoggedStep after = StepOf(next);
  t.features_after = after.features;
  t.allowed_after = after.allowed;
  return t;
}

}  // namespace

double Learned::Decide(const SplitObservation& observation) {
  last_ = DecideSplit(observation, settings_, policy_, AimdWish(observation, rule_, false),
                      Uniform(random_), memory_);
  return last_.split;
}

LoggedEpisode PlayEpisode(const Scenario& scenario, const QPolicy* policy,
                          const AgentSettings& settings, double explore_all, uint64_t seed,
                          const Trials& trials, std::vector<std::vector<Transition>>* tried) {
  Decider decider{policy, settings, std::mt19937_64(seed), {}};
  SplitWorld world(scenario);
  LoggedEpisode episode;
  episode.interval_s = scenario.interval_s;
  for (;;) {
    const SplitObservation observation = world.Observe();
    const Decider before = decider;
    SplitDecision decision = decider.Decide(observation);
    std::vector<int> open;
    for (int a = 0; a < kSplitActions; ++a) {
      if (decision.guard.allowed[a]) open.push_back(a);
    }
    const double drawn = Uniform(decider.random);
    if (tried != nullptr && !world.over() && Uniform(decider.random) < trials.chance) {
      tried->emplace_back();
      for (const int a : open) {
        tried->back().push_back(Try(world, before, decision, SplitAction(a), trials));
      }
    }
    if (drawn < explore_all) {
      const auto pick = static_cast<size_t>(drawn / explore_all * static_cast<double>(open.size()));
      decider.memory = before.memory;
      decider.Take(observation, SplitAction(open[std::min(pick, open.size() - 1)]), decision);
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
