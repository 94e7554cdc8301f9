#include "training/router/world.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace foreshadow::training::router {
namespace {

constexpr double kFastFailureMs = 1;

}  // namespace

SplitWorld::SplitWorld(Scenario scenario)
    : scenario_(std::move(scenario)),
      random_(scenario_.seed ^ 0x5eed5eedULL),
      primary_(scenario_.primary_servers, scenario_.timeout_ms),
      shadow_(scenario_.shadow_servers, scenario_.timeout_ms) {}

double SplitWorld::Exponential(double mean) { return -mean * std::log(Uniform(random_)); }

double SplitWorld::SpeedOf(bool shadow, double s) const {
  if (!shadow) return PrimarySpeed(scenario_, s);
  const double extra =
      scenario_.cold_extra * std::exp(-shadow_served_ / std::max(scenario_.cold_requests, 1.0));
  return std::max(scenario_.shadow_speed.At(s), 0.01) / (1 + extra);
}

Interval SplitWorld::Advance(double split, double shed, RequestBalancer* balancer) {
  const double from_s = told_.interval * scenario_.interval_s;
  const double to_s = from_s + scenario_.interval_s;
  const double before = told_.split;
  split = Begin(scenario_, split, shed, told_);
  if (balancer != nullptr) {
    primary_.FollowInFlight();
    shadow_.FollowInFlight();
  }
  Requests requests;
  for (double now_s = from_s;;) {
    const double rate_rps = std::max(scenario_.demand_rps.At(now_s), 1e-3);
    now_s += Exponential(1 / rate_rps);
    if (now_s >= to_s) break;
    const double now_ms = 1'000 * now_s;
    if (shed > 0 && Uniform(random_) < shed) {
      requests.Refuse(scenario_);
      continue;
    }
    const double drawn = Uniform(random_);
    double share = split;
    if (balancer != nullptr) {
      const bool picked = balancer->PickShadow(
          {now_ms, {primary_.InFlight(now_ms), shadow_.InFlight(now_ms)}}, drawn);
      share = picked ? 1 : 0;
    }
    // Where sessions stay, only those that begin follow.
    const double stays = std::max(1.0, scenario_.sticky_s * rate_rps);
    sticky_share_ += (share - sticky_share_) / stays;
    const bool to_shadow = drawn < sticky_share_ || scenario_.primary_failed.At(now_s) >= 1;
    const double failed_share =
        (to_shadow ? scenario_.shadow_failed : scenario_.primary_failed).At(now_s);
    const double fails = Uniform(random_);
    double service_ms = Exponential(scenario_.service_ms / SpeedOf(to_shadow, now_s));
    bool failed = fails < failed_share;
    if (failed && scenario_.fails_fast) service_ms = kFastFailureMs;
    const auto answer = (to_shadow ? shadow_ : primary_).Serve(now_ms, service_ms);
    failed = failed || answer.timed_out || answer.latency_ms >= scenario_.timeout_ms;
    if (to_shadow && !failed) shadow_served_ += 1;
    if (balancer != nullptr) {
      balancer->Answered(to_shadow, now_ms + answer.latency_ms, answer.latency_ms, failed);
    }
    requests.Add(scenario_, to_shadow, answer.latency_ms, failed);
  }
  const Interval now = requests.Finish(scenario_, from_s, balancer != nullptr ? -1 : split,
                                       std::abs(split - before), latencies_ms_);
  End(scenario_, now, random_, told_);
  return now;
}

}  // namespace foreshadow::training::router
