#include "training/router/world.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "service/learn/reward.h"

namespace foreshadow::training::router {
namespace {

constexpr double kFastFailureMs = 1;
constexpr double kOverloadLikely = 0.5;
constexpr double kForesightStepSeconds = 15;
constexpr double kBiasMemory = 0.9;  // of a forecast's error, from one decision to the next
constexpr double kSigma95 = 1.645;

double Normal(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }

// Of a list that it may reorder.
double QuantileOf(std::vector<float>& values, double level) {
  if (values.empty()) return 0;
  const auto at = static_cast<size_t>(level * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

// Gathers one instance's requests of an interval.
struct Gather {
  Measured measured;
  std::vector<float> answered_ms;

  Measured Finish() {
    measured.p50_ms = QuantileOf(answered_ms, 0.5);
    measured.p99_ms = QuantileOf(answered_ms, 0.99);
    return measured;
  }
};

}  // namespace

struct SplitWorld::Foresight {
  double next_p50 = 0;
  double next_p95 = 0;
  double peak_p95 = 0;
  double overload_probability = 0;
  double overload_in_s = 0;
};

SplitWorld::SplitWorld(Scenario scenario)
    : scenario_(std::move(scenario)),
      random_(scenario_.seed ^ 0x5eed5eedULL),
      primary_(scenario_.primary_servers, scenario_.timeout_ms),
      shadow_(scenario_.shadow_servers, scenario_.timeout_ms) {}

double SplitWorld::Exponential(double mean) {
  const double uniform = (static_cast<double>(random_() >> 11) + 0.5) * 0x1.0p-53;
  return -mean * std::log(uniform);
}

double SplitWorld::SpeedOf(bool shadow, double s) const {
  if (!shadow) return std::max(scenario_.primary_speed.At(s), 0.01);
  const double extra =
      scenario_.cold_extra * std::exp(-shadow_served_ / std::max(scenario_.cold_requests, 1.0));
  return std::max(scenario_.shadow_speed.At(s), 0.01) / (1 + extra);
}

SplitWorld::Foresight SplitWorld::Foresee(double s) const {
  Foresight seen;
  seen.overload_in_s = scenario_.foreseen_s;
  const double capacity_rps = scenario_.primary_rps();
  for (double ahead_s = scenario_.interval_s; ahead_s <= scenario_.foreseen_s;
       ahead_s += kForesightStepSeconds) {
    const double sigma = scenario_.forecast_sigma * std::sqrt(ahead_s / 60);
    const double load = scenario_.foreseen_rps.At(s + ahead_s) /
                        (capacity_rps * scenario_.foreseen_speed.At(s + ahead_s)) *
                        std::exp(sigma * forecast_bias_);
    const double p95 = load * std::exp(kSigma95 * sigma);
    const double over = Normal(std::log(std::max(load, 1e-6)) / std::max(sigma, 1e-6));
    if (ahead_s == scenario_.interval_s) {
      seen.next_p50 = load;
      seen.next_p95 = p95;
    }
    seen.peak_p95 = std::max(seen.peak_p95, p95);
    seen.overload_probability = std::max(seen.overload_probability, over);
    if (over >= kOverloadLikely) seen.overload_in_s = std::min(seen.overload_in_s, ahead_s);
  }
  return seen;
}

SplitObservation SplitWorld::Observe() const {
  const double now_s = interval_ * scenario_.interval_s;
  SplitObservation o;
  o.split = split_;
  o.interval_s = scenario_.interval_s;
  o.since_sharing_s = now_s;
  o.since_change_s = now_s - changed_s_;
  o.measured = true;
  o.age_s = now_s - measured_s_;
  o.primary = last_.primary;
  o.shadow = last_.shadow;
  o.slo_ms = scenario_.slo_ms;
  o.timeout_ms = scenario_.timeout_ms;
  o.horizon_s = scenario_.foreseen_s;
  // Demand is telemetry of its own, and comes while latencies are stale.
  o.demand_rps = scenario_.demand_rps.At(now_s);
  o.source_load =
      last_.source_load > 0 ? last_.source_load : o.demand_rps / scenario_.primary_rps();
  const Foresight seen = Foresee(now_s);
  // A forecast starts from what is measured: a spike that nobody foresaw is known once it is there.
  const double known = std::max(scenario_.foreseen_rps.At(now_s), 1e-6) /
                       (scenario_.primary_rps() * scenario_.foreseen_speed.At(now_s));
  const double correction = std::max(o.source_load / known, 0.1);
  o.source_load_next_p50 = seen.next_p50 * correction;
  o.source_load_next_p95 = seen.next_p95 * correction;
  o.source_load_peak_p95 = std::max(seen.peak_p95, o.source_load_next_p95);
  o.overload_probability = seen.overload_probability;
  o.overload_in_s = seen.overload_in_s;
  if (o.source_load_next_p50 >= 1) {
    o.overload_probability = 1;
    o.overload_in_s = scenario_.interval_s;
  }
  o.ready_rps = scenario_.told_ready * scenario_.shadow_rps();
  // Its cell stands behind the shadow: endangered where the share fills what it is said to carry.
  o.target_risk = o.split * o.demand_rps > o.ready_rps ? 1 : 0;
  return o;
}

Interval SplitWorld::Advance(double split, RequestBalancer* balancer) {
  const double from_s = interval_ * scenario_.interval_s;
  const double to_s = from_s + scenario_.interval_s;
  if (scenario_.primary_failed.At(from_s) >= 1) split = 1;
  if (split != split_) changed_s_ = from_s;
  const double moved = std::abs(split - split_);
  split_ = split;
  if (balancer != nullptr) {
    primary_.FollowInFlight();
    shadow_.FollowInFlight();
  }
  Gather primary;
  Gather shadow;
  std::vector<float> all_ms;
  double load_sum = 0;
  for (double now_s = from_s;;) {
    const double rate_rps = std::max(scenario_.demand_rps.At(now_s), 1e-3);
    now_s += Exponential(1 / rate_rps);
    if (now_s >= to_s) break;
    const double now_ms = 1'000 * now_s;
    const double drawn = (static_cast<double>(random_() >> 11) + 0.5) * 0x1.0p-53;
    if (scenario_.sticky_s > 0) {
      // Only sessions that begin follow the split.
      sticky_split_ += (split - sticky_split_) / std::max(1.0, scenario_.sticky_s * rate_rps);
    } else {
      sticky_split_ = split;
    }
    bool to_shadow = drawn < sticky_split_ || scenario_.primary_failed.At(now_s) >= 1;
    if (balancer != nullptr) {
      to_shadow = balancer->PickShadow(
          {now_ms, {primary_.InFlight(now_ms), shadow_.InFlight(now_ms)}}, drawn);
    }
    const double failed_share =
        (to_shadow ? scenario_.shadow_failed : scenario_.primary_failed).At(now_s);
    const double fails = (static_cast<double>(random_() >> 11) + 0.5) * 0x1.0p-53;
    double service_ms = Exponential(scenario_.service_ms / SpeedOf(to_shadow, now_s));
    bool failed = fails < failed_share;
    if (failed && scenario_.fails_fast) service_ms = kFastFailureMs;
    const auto answer = (to_shadow ? shadow_ : primary_).Serve(now_ms, service_ms);
    failed = failed || answer.timed_out || answer.latency_ms >= scenario_.timeout_ms;
    if (to_shadow && !failed) shadow_served_ += 1;
    if (balancer != nullptr) {
      balancer->Answered(to_shadow, now_ms + answer.latency_ms, answer.latency_ms, failed);
    }
    Gather& gather = to_shadow ? shadow : primary;
    gather.measured.requests += 1;
    if (failed) {
      gather.measured.failed += 1;
    } else {
      gather.measured.slow += answer.latency_ms > scenario_.slo_ms ? 1 : 0;
      gather.answered_ms.push_back(static_cast<float>(answer.latency_ms));
    }
    all_ms.push_back(static_cast<float>(failed ? scenario_.timeout_ms : answer.latency_ms));
  }
  constexpr int kLoadSamples = 4;
  for (int k = 0; k < kLoadSamples; ++k) {
    const double s = from_s + (k + 0.5) * scenario_.interval_s / kLoadSamples;
    load_sum += scenario_.demand_rps.At(s) / (scenario_.primary_rps() * SpeedOf(false, s));
  }
  Interval now;
  now.primary = primary.Finish();
  now.shadow = shadow.Finish();
  const double requests = now.primary.requests + now.shadow.requests;
  now.share = requests > 0 ? now.shadow.requests / requests : 0;
  if (latencies_ms_ != nullptr) {
    latencies_ms_->insert(latencies_ms_->end(), all_ms.begin(), all_ms.end());
  }
  now.p99_ms = QuantileOf(all_ms, 0.99);
  now.source_load = load_sum / kLoadSamples;
  now.cost = IntervalCost({.primary = now.primary,
                           .shadow = now.shadow,
                           .p99_ms = now.p99_ms,
                           .split = balancer != nullptr ? now.share : split,
                           .moved = moved,
                           .source_load = now.source_load,
                           .interval_s = scenario_.interval_s,
                           .slo_ms = scenario_.slo_ms,
                           .timeout_ms = scenario_.timeout_ms});
  ++interval_;
  forecast_bias_ = kBiasMemory * forecast_bias_ + std::sqrt(1 - kBiasMemory * kBiasMemory) *
                                                      std::normal_distribution<double>()(random_);
  const bool stale = to_s > scenario_.stale_from_s && to_s <= scenario_.stale_to_s;
  if (!stale) {
    last_ = now;
    measured_s_ = to_s;
  } else {
    last_.source_load = now.source_load;
  }
  return now;
}

}  // namespace foreshadow::training::router
