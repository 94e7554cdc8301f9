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
constexpr double kReadyShareMax = 2;     // of a demand: what a target has room for at most

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

// Of a cell, by the resource that is most at risk, as shares of its capacity.
Load LoadOf(const CellRisk& risk, const Resources& demand, const Resources& capacity,
            int64_t step_ms) {
  Load load;
  for (int r = 0; r < kResources; ++r) {
    if (MovesWithTraffic(r) && capacity[r] > 0)
      load.now = std::max(load.now, demand[r] / capacity[r]);
  }
  load.next_p50 = load.next_p95 = load.peak_p95 = load.now;
  if (risk.steps == 0 || risk.capacity <= 0) return load;
  load.next_p50 = risk.p50[0] / risk.capacity;
  load.next_p95 = risk.p95[0] / risk.capacity;
  const auto steps =
      std::clamp<int64_t>(static_cast<int64_t>(1'000 * kHorizonSeconds) / step_ms, 1, risk.steps);
  for (int64_t h = 0; h < steps; ++h) {
    load.peak_p95 = std::max(load.peak_p95, risk.p95[h] / risk.capacity);
  }
  return load;
}

SplitObservation Observe(const LearnInput& in, const Shadow& shadow, const AccountMeasures& m) {
  const int32_t source = in.fleet.accounts[shadow.account].cell;
  const CellRisk& risk = in.plan.risks_without[source];
  const Load load =
      LoadOf(risk, in.demand[source].without, in.fleet.cells[source].capacity, in.step_ms);
  SplitObservation o;
  o.split = shadow.split;
  o.interval_s = static_cast<double>(in.step_ms) / 1'000;
  o.since_sharing_s = static_cast<double>(in.now_ms - shadow.since_ms) / 1'000;
  o.since_change_s =
      static_cast<double>(in.now_ms - std::max(shadow.since_ms, shadow.learned.changed_ms)) / 1'000;
  o.measured = m.known && m.seconds > 0;
  o.measured_s = m.seconds;
  o.age_s = m.age_s;
  o.demand_rps = m.seconds > 0 ? (m.primary.requests + m.shadow.requests) / m.seconds : 0;
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
  double ready = kReadyShareMax;  // of the demand
  for (int r = 0; r < kResources; ++r) {
    if (!MovesWithTraffic(r) || in.account_demand.empty()) continue;
    const double demand = in.account_demand[shadow.account][r];
    if (demand > 0 && shadow.reserved[r] > 0) ready = std::min(ready, shadow.reserved[r] / demand);
  }
  o.ready_rps = ready * o.demand_rps;
  o.primary = m.primary;
  o.shadow = m.shadow;
  o.slo_ms = in.slo_ms;
  o.timeout_ms = kTimeoutSlos * in.slo_ms;
  return o;
}

// Of the interval that ends now, under the decision before.
double CostOf(const SplitObservation& o, double moved) {
  const double requests = o.primary.requests + o.shadow.requests;
  const double p99_ms = requests > 0 ? (o.primary.requests * EffectiveP99(o.primary, o.timeout_ms) +
                                        o.shadow.requests * EffectiveP99(o.shadow, o.timeout_ms)) /
                                           requests
                                     : 0;
  return IntervalCost({.primary = o.primary,
                       .shadow = o.shadow,
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
  agent.explore = in.settings.explore;
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
      continue;
    }
    const SplitObservation o =
        Observe(in, shadow, measured ? in.measures[shadow.account] : AccountMeasures{});
    const SplitDecision decision =
        DecideSplit(o, agent, policy, wish, Spread(in.random, i), shadow.learned.guard);
    SplitRecord record = RecordOf(decision);
    record.time_ms = in.now_ms;
    record.account = in.fleet.accounts[shadow.account].id;
    record.instance_id = shadow.instance_id;
    record.policy = decision.learned ? policy->card().version : "rule";
    record.interval_s = o.interval_s;
    record.cost = measured ? CostOf(o, std::abs(shadow.split - shadow.learned.split_before)) : -1;
    record.reason = Why(decision, policy);
    shadow.wanted_split = decision.split;
    shadow.learned.split_before = shadow.split;
    shadow.learned.reason = record.reason;
    shadow.learned.rail = decision.guard.reason;
    if (decision.split != shadow.split) shadow.learned.changed_ms = in.now_ms;
    records.push_back(std::move(record));
  }
  return records;
}

}  // namespace foreshadow
