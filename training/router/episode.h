// One episode of the split simulator under one policy, and what it cost.
#pragma once

#include <vector>

#include "training/router/interval.h"
#include "training/router/policy.h"
#include "training/router/scenario.h"

namespace foreshadow::training::router {

struct EpisodeResult {
  double p50_ms = 0;
  double p99_ms = 0;  // of all requests, failures as long as the timeout
  double p999_ms = 0;
  double requests = 0;
  double failed_share = 0;
  double slow_share = 0;   // answered later than the SLO
  double slo_minutes = 0;  // of intervals with more than 1 % failed or slow
  double churn = 0;        // sum of |change of the split|
  double idle_share = 0;   // of the shadow's traffic that the primary had room for
  double cost = 0;         // sum of IntervalCost
};

// Adds up the intervals of an episode.
class Tally {
 public:
  void Add(const Interval& interval, double split, double interval_s);
  // `latencies_ms` of all requests, failures as long as the timeout; reordered.
  EpisodeResult Finish(std::vector<float>& latencies_ms);

 private:
  EpisodeResult result_;
  double requests_ = 0;
  double failed_ = 0;
  double slow_ = 0;
  double idle_ = 0;
  double split_ = 0;
};

EpisodeResult RunEpisode(const Scenario& scenario, SplitPolicy& policy);

// The least cost that a split could have had in this episode, future and truth known: at each
// decision every split on a grid is tried some intervals ahead in a copy of the world, and the
// cheapest taken; a grid of constant splits is tried as well, and the cheaper of both counts.
// `railed`: what is wanted comes about only as far as the guard rails allow; else no rail binds it.
EpisodeResult RunOracle(const Scenario& scenario, bool railed);

}  // namespace foreshadow::training::router
