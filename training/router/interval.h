// One interval of an episode: what its requests came to, what it cost, and what a policy is told
// before the next. The same whether the scenario is simulated (world.h) or played on sockets
// (tests/benchmarks/split_sockets.cc). Plain data; one thread.
#pragma once

#include <random>
#include <vector>

#include "service/learn/observation.h"
#include "training/router/scenario.h"

namespace foreshadow::training::router {

// Within 0..1, neither of them.
double Uniform(std::mt19937_64& random);

// What one interval brought, as it truly was.
struct Interval {
  Measured primary;
  Measured shadow;
  double refused = 0;
  double share = 0;   // of the requests that the shadow had
  double p99_ms = 0;  // of all, failures as long as the timeout
  double source_load = 0;
  double cost = 0;  // service/learn/reward.h
};

// Gathers an interval's requests.
class Requests {
 public:
  void Add(const Scenario& scenario, bool shadow, double latency_ms, bool failed);
  void Refuse(const Scenario& scenario);
  // Of the interval that began at `from_s`. Under a split that came about by a change of `moved`; a
  // split below 0: each request was placed by itself, and the share counts. Appends the latencies
  // to `latencies_ms`, failures as long as the timeout; null = not wanted.
  Interval Finish(const Scenario& scenario, double from_s, double split, double moved,
                  std::vector<float>* latencies_ms);

 private:
  struct Side {
    Measured measured;
    std::vector<float> answered_ms;
    Measured Finish();
  };
  Side primary_;
  Side shadow_;
  double refused_ = 0;
  std::vector<float> all_ms_;
};

double PrimarySpeed(const Scenario& scenario, double s);

// What is known of the split between two intervals.
struct Told {
  int interval = 0;          // that begins
  double split = 0;          // in force
  double shed = 0;           // in force
  double changed_s = 0;      // time of its last change
  double forecast_bias = 0;  // in deviations, wanders
  Interval last;             // as measured
  double measured_s = 0;     // end of the interval it is of
};

// What policies are told before the interval that begins.
SplitObservation Observe(const Scenario& scenario, const Told& told);
// The split that comes into force where `wanted` is, with a share `shed` refused: once the primary
// is dead all goes to the shadow, whoever decides, for failover needs no policy.
double Begin(const Scenario& scenario, double wanted, double shed, Told& told);
// The interval is over. What was measured is told unless metrics are stale.
void End(const Scenario& scenario, const Interval& measured, std::mt19937_64& random, Told& told);

}  // namespace foreshadow::training::router
