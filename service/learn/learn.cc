#include "service/learn/learn.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "service/learn/aimd.h"
#include "service/learn/reward.h"

namespace foreshadow {
namespace {

constexpr double kHorizonSeconds = 900;  // that policies look ahead
constexpr double kTimeoutSlos = 5;       // a request so many SLOs long is as good as failed
constexpr double kReadyShareMax = 2;     // of what is served: what a target has room for at most

// An even spread of 0..1 from one draw: the i-th multiple of the golden section.
double Spread(double random, size_t i) {
  constexpr double kGolden = 0.6180339887498949;
  const double at = random + kGolden * static_cast<double>(i);
  return at - std::floor(at);
}

struct Load {
  double now = 0;
  double next_p50 = 0;
  double next_p95 = 0;
  double peak_p95 = 0;
};

// Of a cell, by the resource that is most at risk, as shares of its capacity. What is refused of
// its accounts' requests is not part of the demand that it tells of, nor of its forecasts.
Load LoadOf(const CellRisk& risk, const Resources& demand, const Resources& refused,
            const Resources& capacity, int64_t step_ms) {
  Load load;
  for (int r = 0; r < kResources; ++r) {
    if (MovesWithTraffic(r) && capacity[r] > 0)
      load.now = std::max(load.now, (demand[r] + refused[r]) / capacity[r]);
  }
  load.next_p50 = load.next_p95 = load.peak_p95 = load.now;
  if (risk.steps == 0 || risk.capacity <= 0) return load;
  const double more = refused[risk.resource];
  load.next_p50 = (risk.p50[0] + more) / risk.capacity;
  load.next_p95 = (risk.p95[0] + more) / risk.capacity;
  const auto steps =
      std::clamp<int64_t>(static_cast<int64_t>(1'000 * kHorizonSeconds) / step_ms, 1, risk.steps);
  for (int64_t h = 0; h < steps; ++h) {
    load.peak_p95 = std::max(load.peak_p95, (risk.p95[h] + more) / risk.capacity);
  }
  return load;
}

// For each request that is served, so many are refused.
double RefusedPerServed(const Shadow& shadow) { return shadow.shed / (1 - shadow.shed); }

// What the refused requests would have used, by the home of their account.
std::vector<Resources> RefusedOf(const LearnInput& in, const std::vector<Shadow>& shadows) {
  std::vector<Resources> cells(in.fleet.cells.size());
  for (const Shadow& shadow : shadows) {
    if (shadow.shed <= 0 || in.account_demand.empty()) continue;
    for (int r = 0; r < kResources; ++r) {
      if (!MovesWithTraffic(r)) continue;
      cells[in.fleet.accounts[shadow.account].cell][r] +=
          RefusedPerServed(shadow) * in.account_demand[shadow.account][r];
    }
  }
  return cells;
}

SplitObservation Observe(const LearnInput& in, const Shadow& shadow, const AccountMeasures& m,
                         const std::vector<Resources>& refused) {
  const int32_t source = in.fleet.accounts[shadow.account].cell;
  const CellRisk& risk = in.plan.risks_without[source];
  const Load load = LoadOf(risk, in.demand[source].without, refused[source],
                           in.fleet.cells[source].capacity, in.step_ms);
  SplitObservation o;
  o.split = shadow.split;
  o.shed = shadow.shed;
  o.failed_over = shadow.failed_over;
  o.interval_s = static_cast<double>(in.step_ms) / 1'000;
  o.since_sharing_s = static_cast<double>(in.now_ms - shadow.since_ms) / 1'000;
  o.since_change_s =
      static_cast<double>(in.now_ms - std::max(shadow.since_ms, shadow.learned.changed_ms)) / 1'000;
  o.measured = m.known && m.seconds > 0;
  o.measured_s = m.seconds;
  o.age_s = m.age_s;
  const double served_rps =
      m.seconds > 0 ? (m.primary.requests + m.shadow.requests) / m.seconds : 0;
  o.demand_rps = (1 + RefusedPerServed(shadow)) * served_rps;
  o.source_load = load.now;
  o.source_load_next_p50 = load.next_p50;
  o.source_load_next_p95 = load.next_p95;
  o.source_load_peak_p95 = load.peak_p95;
  o.horizon_s = kHorizonSeconds;
  o.overload_probability = risk.within_15;
  o.overload_in_s = risk.expected_ms == 0
                        ? kHorizonSeconds
                        : std::clamp(static_cast<double>(risk.expected_ms - in.now_ms) / 1'000, 0.0,
                                     kHorizonSeconds);
  o.target_risk = in.plan.risks[shadow.target].probability;
  double ready = kReadyShareMax;  // of what is served
  for (int r = 0; r < kResources; ++r) {
    if (!MovesWithTraffic(r) || in.account_demand.empty()) continue;
    const double demand = in.account_demand[shadow.account][r];
    if (demand > 0 && shadow.reserved[r] > 0) ready = std::min(ready, shadow.reserved[r] / demand);
  }
  o.ready_rps = ready * served_rps;
  o.primary = m.primary;
  o.shadow = m.shadow;
  o.slo_ms = in.slo_ms;
  o.timeout_ms = kTimeoutSlos * in.slo_ms;
  return o;
}

// Of the interval that ends now, under the decision before.
double CostOf(const SplitObservation& o, double moved, double refused) {
  const double requests = o.primary.requests + o.shadow.requests + refused;
  const double p99_ms = requests > 0 ? (o.primary.requests * EffectiveP99(o.primary, o.timeout_ms) +
                                        o.shadow.requests * EffectiveP99(o.shadow, o.timeout_ms) +
                                        refused * o.timeout_ms) /
                                           requests
                                     : 0;
  return IntervalCost({.primary = o.primary,
                       .shadow = o.shadow,
                       .refused = refused,
                       .p99_ms = p99_ms,
                       .split = o.split,
                       .moved = moved,
                       .source_load = o.source_load,
                       .interval_s = o.interval_s,
                       .slo_ms = o.slo_ms,
                       .timeout_ms = o.timeout_ms});
}

std::string Why(const SplitDecision& d, const QPolicy* policy) {
  const int action = static_cast<int>(d.action);
  std::string why;
  if (d.learned && d.action == d.rule) {
    why = fmt::format("policy {} takes {}, as the rule does: nothing else is surely worth more",
                      policy->card().version, kSplitActionNames[action]);
  } else if (d.learned) {
    why = fmt::format("policy {} takes {}, worth {:.3g} more than the rule's {}",
                      policy->card().version, kSplitActionNames[action], d.gains[action],
                      kSplitActionNames[static_cast<int>(d.rule)]);
  } else {
    why = fmt::format("the rule's wish within the guard rails: {}", kSplitActionNames[action]);
    if (!d.fallback.empty()) why += fmt::format(" ({})", d.fallback);
  }
  if (d.explored) why += ", tried for the sake of learning";
  return why;
}

AimdView ViewOf(const LearnInput& in, const Shadow& shadow) {
  const int32_t source = in.fleet.accounts[shadow.account].cell;
  return {
      .split = shadow.split,
      .source_risk_without = in.plan.risks_without[source].probability,
      .source_risk = in.plan.risks[source].probability,
      .target_risk = in.plan.risks[shadow.target].probability,
      .held = in.now_ms - shadow.moved_ms < in.settings.hold_ms,
  };
}

}  // namespace

std::vector<SplitRecord> Learn(const LearnInput& in, std::vector<Shadow>& shadows) {
  std::vector<SplitRecord> records;
  const QPolicy* policy = in.settings.learned.get();
  AgentSettings agent;
  agent.guard.first_split = in.settings.first_split;
  agent.guard.split_max = in.settings.split_max;
  agent.guard.shed_max = in.settings.can_shed ? in.settings.shed_max : 0;
  agent.explore = in.settings.explore;
  const std::vector<Resources> refused = RefusedOf(in, shadows);
  for (size_t i = 0; i < shadows.size(); ++i) {
    Shadow& shadow = shadows[i];
    if (shadow.state != ShadowState::kSharing) {
      shadow.learned = {};
      continue;
    }
    const double wish = AimdSplit(ViewOf(in, shadow), in.risk_threshold, in.settings);
    const bool measured = in.settings.policy == LearnPolicy::kQ && !in.measures.empty() &&
                          in.measures[shadow.account].known;
    // Measured once, always within the rails: where measurements cease, the split stays.
    shadow.learned.railed =
        in.settings.policy == LearnPolicy::kQ && (measured || shadow.learned.railed);
    if (!shadow.learned.railed) {
      shadow.wanted_split = wish;
      shadow.wanted_shed = 0;
      continue;
    }
    const SplitObservation o =
        Observe(in, shadow, measured ? in.measures[shadow.account] : AccountMeasures{}, refused);
    const SplitDecision decision =
        DecideSplit(o, agent, policy, wish, Spread(in.random, i), shadow.learned.guard);
    SplitRecord record = RecordOf(decision);
    record.time_ms = in.now_ms;
    record.account = in.fleet.accounts[shadow.account].id;
    record.instance_id = shadow.instance_id;
    record.policy = decision.learned ? policy->card().version : "rule";
    record.interval_s = o.interval_s;
    record.cost = measured
                      ? CostOf(o, std::abs(shadow.split - shadow.learned.split_before),
                               RefusedPerServed(shadow) * (o.primary.requests + o.shadow.requests))
                      : -1;
    record.reason = Why(decision, policy);
    shadow.wanted_split = decision.split;
    shadow.wanted_shed = decision.shed;
    shadow.learned.split_before = shadow.split;
    shadow.learned.reason = record.reason;
    shadow.learned.rail = decision.guard.reason;
    if (decision.split != shadow.split) shadow.learned.changed_ms = in.now_ms;
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace foreshadow
