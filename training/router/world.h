// The split simulator: one account with a primary and a shadow, both queues (queue.h), under a
// scenario. Time advances by intervals, one decision each; within an interval every request is
// drawn and served. Deterministic in the scenario; a copy goes on exactly like the original. One
// thread.
#pragma once

#include <array>
#include <functional>
#include <random>
#include <vector>

#include "service/learn/observation.h"
#include "training/router/interval.h"
#include "training/router/queue.h"
#include "training/router/scenario.h"

namespace foreshadow::training::router {

// Picks per request instead of a split: true = the shadow. Sees what a client sees.
struct RequestView {
  double now_ms = 0;
  std::array<int, 2> in_flight{};  // primary, shadow
};
class RequestBalancer {
 public:
  virtual ~RequestBalancer() = default;
  virtual bool PickShadow(const RequestView& view, double random) = 0;
  virtual void Answered(bool shadow, double done_ms, double latency_ms, bool failed) = 0;
};

class SplitWorld {
 public:
  explicit SplitWorld(Scenario scenario);

  const Scenario& scenario() const { return scenario_; }
  bool over() const { return told_.interval >= scenario_.intervals(); }
  int interval() const { return told_.interval; }
  // What policies are told before the next interval.
  SplitObservation Observe() const { return router::Observe(scenario_, told_); }

  // Runs one interval with a split, or with a balancer, whose share is then measured, after a share
  // `shed` of all requests was refused. From the moment at which the primary is dead all goes to
  // the shadow, whoever decides: failover needs no policy.
  Interval Advance(double split, double shed = 0, RequestBalancer* balancer = nullptr);

  // Appends every request's latency, failures as long as the timeout; null = not wanted.
  void KeepLatencies(std::vector<float>* latencies_ms) { latencies_ms_ = latencies_ms; }

 private:
  double Exponential(double mean);
  double SpeedOf(bool shadow, double s) const;

  Scenario scenario_;
  std::mt19937_64 random_;
  ServerQueue primary_;
  ServerQueue shadow_;
  Told told_;
  double sticky_share_ = 0;  // of the requests, where sessions stay
  double shadow_served_ = 0;
  std::vector<float>* latencies_ms_ = nullptr;
};

}  // namespace foreshadow::training::router
