#include "training/router/episode.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "service/learn/reward.h"

namespace foreshadow::training::router {
namespace {

constexpr double kLostShare = 0.01;  // of an interval's requests: above it its SLO is lost
constexpr int kGrid = 10;            // splits of 0, 1/kGrid .. 1

// What comes of a split that is wanted; `rails` null: the split.
double Bound(const SplitWorld& world, Rails* rails, double wanted) {
  return rails == nullptr ? wanted : rails->Decide(world.Observe(), wanted);
}

double BestAhead(const SplitWorld& world, const Rails* rails, double split) {
  constexpr int kAheadIntervals = 5;
  double best_split = split;
  double best_cost = 1e300;
  for (int g = -1; g <= kGrid; ++g) {  // the one in force first, then the grid
    const double candidate = g < 0 ? split : static_cast<double>(g) / kGrid;
    SplitWorld copy = world;
    Rails ahead = rails == nullptr ? Rails() : *rails;
    copy.KeepLatencies(nullptr);
    double cost = 0;
    for (int i = 0; i < kAheadIntervals && !copy.over() && cost < best_cost; ++i) {
      cost += copy.Advance(Bound(copy, rails == nullptr ? nullptr : &ahead, candidate)).cost;
    }
    if (cost < best_cost) {
      best_cost = cost;
      best_split = candidate;
    }
  }
  return best_split;
}

// `constant` below 0: the best ahead at each decision.
EpisodeResult RunWanted(const Scenario& scenario, bool railed, double constant) {
  SplitWorld world(scenario);
  std::vector<float> latencies_ms;
  world.KeepLatencies(&latencies_ms);
  Tally tally;
  Rails memory;
  Rails* const rails = railed ? &memory : nullptr;
  double split = std::max(constant, 0.0);
  while (!world.over()) {
    if (constant < 0) split = BestAhead(world, rails, split);
    const double decided = Bound(world, rails, split);
    tally.Add(world.Advance(decided), decided, scenario.interval_s);
  }
  return tally.Finish(latencies_ms);
}

}  // namespace

void Tally::Add(const Interval& interval, double split, double interval_s) {
  const Measured& p = interval.primary;
  const Measured& s = interval.shadow;
  const double requests = p.requests + s.requests + interval.refused;
  const double failed = p.failed + s.failed + interval.refused;
  const double slow = p.slow + s.slow;
  requests_ += requests;
  failed_ += failed;
  slow_ += slow;
  if (failed + slow > kLostShare * requests) result_.slo_minutes += interval_s / 60;
  result_.churn += std::abs(split - split_);
  split_ = split;
  if (interval.source_load < kBusyLoad) idle_ += s.requests;
  result_.cost += interval.cost;
}

EpisodeResult Tally::Finish(std::vector<float>& latencies_ms) {
  const auto quantile = [&](double level) -> double {
    if (latencies_ms.empty()) return 0;
    const auto at =
        static_cast<std::ptrdiff_t>(level * static_cast<double>(latencies_ms.size() - 1));
    std::nth_element(latencies_ms.begin(), latencies_ms.begin() + at, latencies_ms.end());
    return latencies_ms[static_cast<size_t>(at)];
  };
  result_.p50_ms = quantile(0.5);
  result_.p99_ms = quantile(0.99);
  result_.p999_ms = quantile(0.999);
  result_.requests = requests_;
  if (requests_ > 0) {
    result_.failed_share = failed_ / requests_;
    result_.slow_share = slow_ / requests_;
    result_.idle_share = idle_ / requests_;
  }
  return result_;
}

EpisodeResult RunEpisode(const Scenario& scenario, SplitPolicy& policy) {
  SplitWorld world(scenario);
  std::vector<float> latencies_ms;
  world.KeepLatencies(&latencies_ms);
  Tally tally;
  while (!world.over()) {
    const double split = policy.Decide(world.Observe());
    const Interval interval = world.Advance(split, policy.shed(), policy.balancer());
    tally.Add(interval, policy.balancer() ? interval.share : split, scenario.interval_s);
  }
  return tally.Finish(latencies_ms);
}

EpisodeResult RunOracle(const Scenario& scenario, bool railed) {
  EpisodeResult best = RunWanted(scenario, railed, -1);
  for (int g = 0; g <= kGrid; ++g) {
    const EpisodeResult result = RunWanted(scenario, railed, static_cast<double>(g) / kGrid);
    if (result.cost < best.cost) best = result;
  }
  return best;
}

}  // namespace foreshadow::training::router
