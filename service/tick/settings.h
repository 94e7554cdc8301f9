// What an operator may set about the engine's decisions; the defaults are the product's. Read from
// the configuration file's sections of the same names and validated there.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "service/rails/urgency.h"

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
  double risk_threshold = 0.4;   // act when overload is at least this probable
  double risk_target = 0.05;     // relieve until it is at most this probable
  double target_risk_max = 0.4;  // a cell as likely to run out takes no new shadow
  double target_headroom = 2;    // share of a target's capacity that it is expected to use
  // Prices, in core-hours of a shadow.
  double unserved_cost = 100;    // a core-hour of demand that is not served
  double overloaded_cost = 0.1;  // a core-hour of capacity of a cell while it is overloaded
  double traffic_cost = 1;       // a core-hour served by a shadow
  double gib_cost = 1 / 7.5;     // a GiB held for a shadow for an hour
  double move_cost = 0.5;        // traffic that begins to go elsewhere
  double gain_min = 0.5;         // below it nothing moves
};

enum class Mode : uint8_t {
  kObserve,    // forecast and warn, plan nothing
  kRecommend,  // plan, wait for approval of each creation
  kAct,
};
inline constexpr std::array<const char*, 3> kModeNames = {"observe", "recommend", "act"};
constexpr const char* Name(Mode mode) { return kModeNames[static_cast<int>(mode)]; }

struct ShadowSettings {
  Mode mode = Mode::kRecommend;
  int64_t resume_lead_ms = 30 * 60'000;   // a warm shadow is resumed when overload is that near
  int64_t idle_ms = 30 * 60'000;          // idle that long: decommissioned
  int64_t promote_after_ms = 5 * 60'000;  // serving so long, where its account is better off:
                                          // moved for good; 0 = never
  double network_bytes_per_s = 125e6;     // that copies state, until cells have shown it
  int32_t attempts_max = 5;               // of one action
};

// How a shadow becomes the primary (service/shadow/migrate.h).
struct MigrateSettings {
  double step = 0.25;             // the split is raised by that much at a time
  int64_t step_hold_ms = 60'000;  // least time at each step, however well it goes
  int32_t samples_min = 100;      // requests at the shadow that judge a step
  int64_t few_hold_ms =
      300'000;  // after so long at a step fewer do, if there are any and none failed
  int64_t undecided_ms = 600'000;  // a step that is measured and not judged by then: rolled back
  double error_share_max = 0.01;   // of the shadow's requests that may fail
  double p99_ratio_max = 1.5;      // of the shadow's p99 to the primary's, beyond monitor.slo_ms
  int64_t drain_ms = 30'000;       // the primary gets so long to answer what it has
};

enum class LearnPolicy : uint8_t {
  kAimd,  // the plain rule: the kill switch
  kQ,     // the learned policy within the guard rails, wherever requests are measured
};

// Of one cell or application; unset: shadow.mode.
enum class ModeRule : uint8_t { kUnset, kObserve, kRecommend, kAct };

struct CellRule {
  ModeRule mode = ModeRule::kUnset;
  bool takes_shadows = true;
  bool drain = false;  // its accounts are to leave, and it takes no shadow
};

enum class ZoneRule : uint8_t { kAny, kSame, kOther };  // than the account's cell

struct ApplicationRule {
  ModeRule mode = ModeRule::kUnset;
  std::vector<std::string> cells;     // that may hold its shadows; empty = all
  ZoneRule zone = ZoneRule::kAny;     // of its shadows
  int32_t accounts_per_cell_max = 0;  // a shadow goes nowhere that has so many of it; 0 = anywhere
};

// A time in which nothing, or only what is urgent, is begun.
struct Freeze {
  std::vector<std::string> cells;  // empty = all
  std::vector<std::string> days;   // "mon" .. "sun", on which it begins; empty = all
  std::string from;                // UTC: "22:00" each such day, or "2026-12-24T00:00:00Z"
  std::string until;               // as from; of an hour that is not later: the next day's
  Urgency urgency_min = Urgency::kNever;
};

// What holds whatever the forecasts say: service/rails.
struct RailSettings {
  int32_t shadows_max = 1'000;              // in all
  int32_t shadows_per_source_max = 50;      // for accounts of one cell
  int32_t shadows_per_target_max = 100;     // in one cell
  int32_t shadows_per_zone_max = 0;         // in the cells of one zone; 0 = not limited
  double creations_per_minute_max = 20;     // a step may begin as many as its minutes allow
  double cores_shifted_per_minute_max = 0;  // of demand that goes elsewhere; 0 = not limited
  double target_free_share_max = 0;  // of a cell's free capacity, to shadows; 0 = not limited
  Urgency urgency_min = Urgency::kRoutine;
  int64_t settle_ms = 300'000;       // after a start or a gap only what is urgent is begun
  int64_t gap_ms = 600'000;          // an account is silent without a sample for so long
  double silent_share_max = 0.5;     // of accounts: more is a gap, in which nothing is begun
  int64_t cool_down_ms = 3'600'000;  // an account that had a shadow gets none so soon again
  int64_t react_after_ms = 900'000;  // overloaded so long: relieved whatever is foreseen
  // So is a cell that is asked for more than that share of its capacity, for so long, while all
  // together are asked for no more than that of theirs.
  double nearly_full_at = 0.8;
  int64_t nearly_full_after_ms = 300'000;
  double nearly_full_fleet_max = 0.6;
  double jump_max = 1;       // of a cell's capacity, from now to the next step
  double doubt_share = 0.1;  // of creations, while the forecasts have drifted
  std::map<std::string, CellRule> cells;
  std::map<std::string, ApplicationRule> applications;
  std::map<std::string, Freeze> freezes;
};

struct LearnSettings {
  LearnPolicy policy = LearnPolicy::kQ;
  double first_split = 0.1;  // 0.05..0.1
  double split_step = 0.2;   // raised by that much a tick
  double split_max = 1.0;
  double decrease_factor = 0.5;   // when the target is in danger or the source is safe
  int64_t hold_ms = 60 * 60'000;  // traffic that moved comes home no sooner, but for its target
  double shed_max = 0.5;          // of an account's requests that may be refused; 0 = none
  bool can_shed = false;          // there is a data plane that refuses
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
  RailSettings guard;
  MigrateSettings migrate;
  RouteSettings route;
  LearnSettings learn;
  MonitorSettings monitor;
};

}  // namespace foreshadow
