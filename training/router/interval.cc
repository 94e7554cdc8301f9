#include "training/router/interval.h"

#include <algorithm>
#include <cmath>

#include "service/learn/reward.h"

namespace foreshadow::training::router {
namespace {

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

struct Foresight {
  double next_p50 = 0;
  double next_p95 = 0;
  double peak_p95 = 0;
  double overload_probability = 0;
  double overload_in_s = 0;
};

Foresight Foresee(const Scenario& scenario, double forecast_bias, double s) {
  Foresight seen;
  seen.overload_in_s = scenario.foreseen_s;
  const double capacity_rps = scenario.primary_rps();
  for (double ahead_s = scenario.interval_s; ahead_s <= scenario.foreseen_s;
       ahead_s += kForesightStepSeconds) {
    const double sigma = scenario.forecast_sigma * std::sqrt(ahead_s / 60);
    const double load = scenario.foreseen_rps.At(s + ahead_s) /
                        (capacity_rps * scenario.foreseen_speed.At(s + ahead_s)) *
                        std::exp(sigma * forecast_bias);
    const double p95 = load * std::exp(kSigma95 * sigma);
    const double over = Normal(std::log(std::max(load, 1e-6)) / std::max(sigma, 1e-6));
    if (ahead_s == scenario.interval_s) {
      seen.next_p50 = load;
      seen.next_p95 = p95;
    }
    seen.peak_p95 = std::max(seen.peak_p95, p95);
    seen.overload_probability = std::max(seen.overload_probability, over);
    if (over >= kOverloadLikely) seen.overload_in_s = std::min(seen.overload_in_s, ahead_s);
  }
  return seen;
}

// The mean over an interval.
double SourceLoad(const Scenario& scenario, double from_s) {
  constexpr int kSamples = 4;
  double sum = 0;
  for (int k = 0; k < kSamples; ++k) {
    const double s = from_s + (k + 0.5) * scenario.interval_s / kSamples;
    sum += scenario.demand_rps.At(s) / (scenario.primary_rps() * PrimarySpeed(scenario, s));
  }
  return sum / kSamples;
}

}  // namespace

double Uniform(std::mt19937_64& random) {
  return (static_cast<double>(random() >> 11) + 0.5) * 0x1.0p-53;
}

double PrimarySpeed(const Scenario& scenario, double s) {
  return std::max(scenario.primary_speed.At(s), 0.01);
}

Measured Requests::Side::Finish() {
  measured.p50_ms = QuantileOf(answered_ms, 0.5);
  measured.p99_ms = QuantileOf(answered_ms, 0.99);
  return measured;
}

void Requests::Add(const Scenario& scenario, bool shadow, double latency_ms, bool failed) {
  Side& side = shadow ? shadow_ : primary_;
  side.measured.requests += 1;
  if (failed) {
    side.measured.failed += 1;
  } else {
    side.measured.slow += latency_ms > scenario.slo_ms ? 1 : 0;
    side.answered_ms.push_back(static_cast<float>(latency_ms));
  }
  all_ms_.push_back(static_cast<float>(failed ? scenario.timeout_ms : latency_ms));
}

void Requests::Refuse(const Scenario& scenario) {
  refused_ += 1;
  all_ms_.push_back(static_cast<float>(scenario.timeout_ms));
}

Interval Requests::Finish(const Scenario& scenario, double from_s, double split, double moved,
                          std::vector<float>* latencies_ms) {
  Interval now;
  now.primary = primary_.Finish();
  now.shadow = shadow_.Finish();
  now.refused = refused_;
  const double requests = now.primary.requests + now.shadow.requests;
  now.share = requests > 0 ? now.shadow.requests / requests : 0;
  if (latencies_ms != nullptr) {
    latencies_ms->insert(latencies_ms->end(), all_ms_.begin(), all_ms_.end());
  }
  now.p99_ms = QuantileOf(all_ms_, 0.99);
  now.source_load = SourceLoad(scenario, from_s);
  now.cost = IntervalCost({.primary = now.primary,
                           .shadow = now.shadow,
                           .refused = now.refused,
                           .p99_ms = now.p99_ms,
                           .split = split < 0 ? now.share : split,
                           .moved = moved,
                           .source_load = now.source_load,
                           .interval_s = scenario.interval_s,
                           .slo_ms = scenario.slo_ms,
                           .timeout_ms = scenario.timeout_ms});
  return now;
}

SplitObservation Observe(const Scenario& scenario, const Told& told) {
  const double now_s = told.interval * scenario.interval_s;
  SplitObservation o;
  o.split = told.split;
  o.shed = told.shed;
  o.failed_over = scenario.primary_failed.At(now_s) >= 1;
  o.interval_s = scenario.interval_s;
  o.since_sharing_s = now_s;
  o.since_change_s = now_s - told.changed_s;
  o.measured = true;
  o.age_s = now_s - told.measured_s;
  o.primary = told.last.primary;
  o.shadow = told.last.shadow;
  o.slo_ms = scenario.slo_ms;
  o.timeout_ms = scenario.timeout_ms;
  o.horizon_s = scenario.foreseen_s;
  // Demand is telemetry of its own, and comes while latencies are stale.
  o.demand_rps = scenario.demand_rps.At(now_s);
  o.source_load =
      told.last.source_load > 0 ? told.last.source_load : o.demand_rps / scenario.primary_rps();
  const Foresight seen = Foresee(scenario, told.forecast_bias, now_s);
  // A forecast starts from what is measured: a spike that nobody foresaw is known once it is there.
  const double known = std::max(scenario.foreseen_rps.At(now_s), 1e-6) /
                       (scenario.primary_rps() * scenario.foreseen_speed.At(now_s));
  const double correction = std::max(o.source_load / known, 0.1);
  o.source_load_next_p50 = seen.next_p50 * correction;
  o.source_load_next_p95 = seen.next_p95 * correction;
  o.source_load_peak_p95 = std::max(seen.peak_p95, o.source_load_next_p95);
  o.overload_probability = seen.overload_probability;
  o.overload_in_s = seen.overload_in_s;
  if (o.source_load_next_p50 >= 1) {
    o.overload_probability = 1;
    o.overload_in_s = scenario.interval_s;
  }
  o.ready_rps = scenario.told_ready * scenario.shadow_rps();
  // Its cell stands behind the shadow: endangered where the share fills what it is said to carry.
  o.target_risk = o.split * o.demand_rps > o.ready_rps ? 1 : 0;
  return o;
}

double Begin(const Scenario& scenario, double wanted, double shed, Told& told) {
  const double now_s = told.interval * scenario.interval_s;
  const double split = scenario.primary_failed.At(now_s) >= 1 ? 1 : wanted;
  if (split != told.split) told.changed_s = now_s;
  told.split = split;
  told.shed = shed;
  return split;
}

void End(const Scenario& scenario, const Interval& measured, std::mt19937_64& random, Told& told) {
  const double end_s = told.interval * scenario.interval_s + scenario.interval_s;
  ++told.interval;
  told.forecast_bias =
      kBiasMemory * told.forecast_bias +
      std::sqrt(1 - kBiasMemory * kBiasMemory) * std::normal_distribution<double>()(random);
  const bool stale = end_s > scenario.stale_from_s && end_s <= scenario.stale_to_s;
  if (!stale) {
    told.last = measured;
    told.measured_s = end_s;
  } else {
    told.last.source_load = measured.source_load;
  }
}

}  // namespace foreshadow::training::router
