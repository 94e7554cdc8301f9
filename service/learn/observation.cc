#include "service/learn/observation.h"

#include <algorithm>
#include <cmath>

namespace foreshadow {
namespace {

constexpr double kTailShare = 0.01;     // that the 99th percentile leaves out
constexpr double kSeenMany = 120;       // requests: more of them judge a shadow no surer
constexpr double kTrafficMany = 1'000;  // requests an interval: their shares are sure enough

float Bounded(double value) {
  return std::isfinite(value) ? static_cast<float>(std::clamp(value, -1.0, 2.0)) : 2.0f;
}

// 0 at a tenth of the reference, 1 at ten times: ratios weigh alike in both directions.
double LogRatio(double value, double reference) {
  if (value <= 0 || reference <= 0) return 0;
  return std::clamp(0.5 + 0.5 * std::log10(value / reference), 0.0, 1.0);
}

}  // namespace

const std::array<std::string_view, kSplitFeatures> kSplitFeatureNames = {
    "split",
    "ceiling",
    "conclusive",
    "since_sharing",
    "since_change",
    "source_load",
    "source_load_next_p50",
    "source_load_next_p95",
    "source_load_peak_p95",
    "source_load_rest",
    "overload_probability",
    "overload_near",
    "target_risk",
    "ready_share",
    "primary_missing",
    "primary_failed",
    "primary_harmed",
    "primary_p99_to_slo",
    "shadow_missing",
    "shadow_failed",
    "shadow_harmed",
    "shadow_p99_to_slo",
    "p99_ratio",
    "p50_ratio",
    "proven_share",
    "worse_share",
    "balance",
    "floor",
    "ready",
    "cooling",
    "primary_unsuccess",
    "shadow_unsuccess",
    "primary_smooth_p99_to_slo",
    "shadow_smooth_p99_to_slo",
    "primary_p50_to_slo",
    "worse_harm",
    "seen",
    "traffic",
};

bool Plausible(const Measured& m) {
  for (const double value : {m.requests, m.failed, m.slow, m.p50_ms, m.p99_ms}) {
    if (!std::isfinite(value) || value < 0) return false;
  }
  if (m.failed + m.slow > m.requests) return false;
  const bool answered = m.requests > m.failed;
  return !answered || (m.p50_ms > 0 && m.p99_ms >= m.p50_ms);
}

bool Plausible(const SplitObservation& o) {
  for (const double value :
       {o.split, o.shed, o.interval_s, o.measured_s, o.since_sharing_s, o.since_change_s, o.age_s,
        o.demand_rps, o.source_load, o.source_load_next_p50, o.source_load_next_p95,
        o.source_load_peak_p95, o.overload_probability, o.overload_in_s, o.horizon_s, o.target_risk,
        o.ready_rps, o.slo_ms, o.timeout_ms}) {
    if (!std::isfinite(value) || value < 0) return false;
  }
  return Plausible(o.primary) && Plausible(o.shadow);
}

double SourceRps(const SplitObservation& o) {
  return o.source_load > 0 ? o.demand_rps / o.source_load : 0;
}

double ComingRps(const SplitObservation& o) {
  return o.demand_rps *
         std::max(1.0, o.source_load > 0 ? o.source_load_next_p50 / o.source_load : 1.0);
}

double MeasuredRps(const SplitObservation& o, double requests) {
  return requests / std::max(o.measured_s > 0 ? o.measured_s : o.interval_s, 1e-3);
}

double HarmedShare(const Measured& m) {
  return m.requests > 0 ? (m.failed + m.slow) / m.requests : 0;
}

double EffectiveP99(const Measured& m, double timeout_ms) {
  if (m.requests <= 0) return 0;
  return m.failed > kTailShare * m.requests ? timeout_ms : std::min(m.p99_ms, timeout_ms);
}

SplitFeatures FeaturesOf(const SplitObservation& o, const RailFeatures& rails) {
  const double primary_p99_ms = EffectiveP99(o.primary, o.timeout_ms);
  const double shadow_p99_ms = EffectiveP99(o.shadow, o.timeout_ms);
  const bool both = primary_p99_ms > 0 && shadow_p99_ms > 0;
  const auto failed = [](const Measured& m) { return m.requests > 0 ? m.failed / m.requests : 0; };
  const double horizon_s = std::max(o.horizon_s, 1.0);
  return {
      Bounded(o.split),
      Bounded(rails.ceiling),
      rails.conclusive ? 1.0f : 0.0f,
      Bounded(o.since_sharing_s / 600),
      Bounded(o.since_change_s / (10 * std::max(o.interval_s, 1.0))),
      Bounded(o.source_load),
      Bounded(o.source_load_next_p50),
      Bounded(o.source_load_next_p95),
      Bounded(o.source_load_peak_p95),
      Bounded((1 - o.split) * o.source_load_next_p50),
      Bounded(o.overload_probability),
      Bounded(1 - o.overload_in_s / horizon_s),
      Bounded(o.target_risk),
      Bounded(o.demand_rps > 0 ? o.ready_rps / o.demand_rps : 0),
      o.primary.requests > 0 ? 0.0f : 1.0f,
      Bounded(failed(o.primary)),
      Bounded(std::sqrt(HarmedShare(o.primary))),  // one in a hundred is worth seeing
      Bounded(LogRatio(primary_p99_ms, o.slo_ms)),
      o.shadow.requests > 0 ? 0.0f : 1.0f,
      Bounded(failed(o.shadow)),
      Bounded(std::sqrt(HarmedShare(o.shadow))),
      Bounded(LogRatio(shadow_p99_ms, o.slo_ms)),
      Bounded(both ? LogRatio(shadow_p99_ms, primary_p99_ms) : 0.5),
      Bounded(both ? LogRatio(o.shadow.p50_ms, o.primary.p50_ms) : 0.5),
      Bounded(o.demand_rps > 0 ? rails.proven_rps / o.demand_rps : 0),
      Bounded(rails.worse_rps > 0 && o.demand_rps > 0 ? rails.worse_rps / o.demand_rps : 2),
      Bounded(rails.balance),
      Bounded(rails.floor),
      Bounded(rails.ready),
      Bounded(rails.cooling_s / 120),
      Bounded(std::sqrt(1 - rails.success[0])),
      Bounded(std::sqrt(1 - rails.success[1])),
      Bounded(LogRatio(rails.latency_ms[0], o.slo_ms)),
      Bounded(LogRatio(rails.latency_ms[1], o.slo_ms)),
      Bounded(LogRatio(o.primary.p50_ms, o.slo_ms)),
      Bounded(std::sqrt(rails.worse_share)),
      Bounded(std::min(rails.requests / kSeenMany, 1.0)),
      Bounded(std::log10(std::clamp(o.demand_rps * o.interval_s, 1.0, kTrafficMany)) /
              std::log10(kTrafficMany)),
  };
}

}  // namespace foreshadow
