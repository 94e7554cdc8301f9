// What an operator may set about the engine's decisions; the defaults are the product's. Read from
// the configuration file's sections of the same names and validated there.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace foreshadow {

class QPolicy;  // service/learn/q_policy.h

struct TickSettings {
  int64_t step_ms = 60'000;      // sampling interval, 1,000..3,600,000
  int32_t window_steps = 2'016;  // hot window kept in memory for analysis and forecasts
  uint64_t seed = 1;
};

struct AnalyzeSettings {
  int32_t rota_ticks = 12;  // each series is analysed anew once in so many ticks
  double period_significance = 0.01;
  double spike_false_alarms = 1e-4;
  int32_t lag_steps_max = 12;
};

struct PlanSettings {
  double risk_threshold = 0.25;  // act when overload is at least this probable
  double risk_target = 0.05;     // relieve until it is at most this probable
  double target_risk_max = 0.3;  // a cell as likely to run out takes no new shadow
  double target_headroom = 2;    // share of a target's capacity that it is expected to use
  // Prices, in core-hours of a shadow.
  double unserved_cost = 100;           // a core-hour of demand that is not served
  double overloaded_cost = 0.1;         // a core-hour of capacity of a cell while it is overloaded
  double traffic_cost = 1;              // a core-hour served by a shadow
  double gib_cost = 1 / 7.5;            // a GiB held for a shadow for an hour
  double move_cost = 0.5;               // traffic that begins to go elsewhere
  double gain_min = 0.1;                // below it nothing moves
  int32_t shadows_max = 1'000;          // in all
  int32_t shadows_per_source_max = 50;  // for accounts of one cell
  int32_t creations_per_tick_max = 20;
};

enum class Mode : uint8_t {
  kObserve,    // forecast and warn, plan nothing
  kRecommend,  // plan, wait for approval of each creation
  kAct,
};

struct ShadowSettings {
  Mode mode = Mode::kRecommend;
  int64_t resume_lead_ms = 30 * 60'000;    // a warm shadow is resumed when overload is that near
  int64_t idle_ms = 30 * 60'000;           // idle that long: decommissioned
  int64_t promote_after_ms = 15 * 60'000;  // serving so long, where its account is better off:
                                           // moved for good; 0 = never
  int32_t attempts_max = 5;                // of one action
};

enum class LearnPolicy : uint8_t {
  kAimd,  // the plain rule
  kQ,     // the learned policy within the guard rails, wherever requests are measured
};

struct LearnSettings {
  LearnPolicy policy = LearnPolicy::kAimd;
  double first_split = 0.1;  // 0.05..0.1
  double split_step = 0.2;   // raised by that much a tick
  double split_max = 1.0;
  double decrease_factor = 0.5;   // when the target is in danger or the source is safe
  int64_t hold_ms = 60 * 60'000;  // traffic that moved comes home no sooner, but for its target
  double explore = 0;             // chance that a measured decision tries something, 0..0.2
  std::string log;                // file that each measured decision is appended to; "" = none
  // Loaded at the start where policy is kQ; null = none was found: the rule within the rails.
  std::shared_ptr<const QPolicy> learned = nullptr;
};

struct MonitorSettings {
  int32_t drift_false_alarm_days = 30;  // at least that long between two for nothing, on average
  double slo_ms = 400;                  // a request that takes longer counts as slow
};

// Of what happens between two ticks.
struct RouteSettings {
  bool failover = true;  // an ill primary's traffic goes to its shadow at once
  // Traffic comes home no sooner after that; twice as long each time it happens again.
  int64_t failback_hold_ms = 60'000;
};

struct Settings {
  TickSettings tick;
  AnalyzeSettings analyze;
  PlanSettings plan;
  ShadowSettings shadow;
  RouteSettings route;
  LearnSettings learn;
  MonitorSettings monitor;
};

}  // namespace foreshadow
