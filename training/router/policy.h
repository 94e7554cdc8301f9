// Who decides the split in the simulator: the rules that people use today, each as it is run by
// them. One object an episode; one thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "service/learn/guard.h"
#include "service/learn/observation.h"
#include "service/tick/settings.h"
#include "training/router/world.h"

namespace foreshadow::training::router {

class SplitPolicy {
 public:
  virtual ~SplitPolicy() = default;
  virtual double Decide(const SplitObservation& observation) = 0;
  // Of all requests, refused until the next decision.
  virtual double shed() const { return 0; }
  // Not null: it picks per request, and what it decides is of no account.
  virtual RequestBalancer* balancer() { return nullptr; }
};

// ramp          10 points a minute to 100 %, paused by a failed check, back to 0 after five
// aimd          the engine's rule (service/learn/aimd.h)
// aimd-routed   with its route stage: a source over its capacity gives all at once, an endangered
//               target takes nothing
// aimd-guarded  with its route stage, within the guard rails
// proportional  by what each side is said to carry
// ewma          by success and smoothed latency of each side, the way of L3 (Middleware 2024)
// proportional-guarded, ewma-guarded  the same within the guard rails
// ready-guarded  the engine's rule within the guard rails (service/learn/agent.h)
// p2c           peak-EWMA per request with in-flight counts and a penalty of failures, the way of
//               Finagle and Linkerd; both instances are the two choices, but for a dead primary,
//               which refuses connections
// bandit        the largest share whose harm stays in the budget with 95 %, the way of the phased
//               release of arXiv 2305.09626
// none          no shadow at all
const std::vector<std::string_view>& RuleNames();

// Null for another name. `shed_max`: what "ready-guarded" may refuse.
std::unique_ptr<SplitPolicy> MakeRule(std::string_view name, double shed_max = 0);

// The split nearest to `wanted` that the rails allow, where any may be chosen, not an action only.
double WithinRails(const GuardState& state, double split, double wanted);

// The rails of one shadow. A copy goes on by itself.
struct Rails {
  bool by_action = false;  // one of the actions is taken, as the engine does it
  GuardSettings settings;
  GuardMemory memory;

  // What comes of a wish; called once an interval.
  double Decide(const SplitObservation& observation, double wish);
};

// The engine's rule in an observation's words, before any rail; `routed`: and its route stage.
double AimdWish(const SplitObservation& observation, const LearnSettings& settings, bool routed);

}  // namespace foreshadow::training::router
