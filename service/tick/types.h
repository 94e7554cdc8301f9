// The words of the design as plain data: cells, accounts, shadows, actions, and what one tick takes
// in and gives out. Values only; no thread, no lock, no I/O.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "models/forecaster.h"
#include "service/evaluate/evaluation.h"
#include "service/learn/guard.h"
#include "service/monitor/drift.h"
#include "service/plan/chance.h"
#include "service/rails/urgency.h"

namespace foreshadow {

using models::SignalKind;
inline constexpr int kSignals = models::kSignalKinds;
inline constexpr int kResources = 4;  // the first four signals; the fifth is a leading indicator
inline constexpr double kGib = 1'073'741'824.0;
inline constexpr int64_t kHorizonMs = 60 * 60'000;
inline constexpr int kHorizonStepsMax = 60;  // an hour of minutes; fewer at longer intervals

// Amounts by resource, in the order of SignalKind: cores, bytes, bytes/s, bytes.
using Resources = std::array<double, kResources>;

const char* Name(SignalKind signal);

// What follows the traffic of an account: its CPU and network move with the split, its memory and
// storage stay where the primary is and are held by the shadow as well.
constexpr bool MovesWithTraffic(int resource) {
  return resource == static_cast<int>(SignalKind::kCpu) ||
         resource == static_cast<int>(SignalKind::kNetwork);
}

// Steps to forecast at a sampling interval: an hour's, at least one.
constexpr int HorizonSteps(int64_t step_ms) {
  const int64_t steps = kHorizonMs / step_ms;
  return static_cast<int>(steps < 1 ? 1 : steps > kHorizonStepsMax ? kHorizonStepsMax : steps);
}

// --- The fleet ---------------------------------------------------------------------------------

enum class CellState : uint8_t { kUp, kDraining, kDown };

struct Cell {
  std::string id;
  std::string zone;
  CellState state = CellState::kUp;
  Resources capacity{};  // 0 = not limited
};

struct Account {
  std::string id;
  int32_t cell = 0;  // index into Fleet::cells
  std::string application;
  int32_t priority = 0;  // 0..100; the least important are moved first
  bool pinned = false;   // never shadowed
  // Its calls change state: a data plane must not repeat them, nor go to the other side by itself.
  bool stateful = false;

  bool operator==(const Account&) const = default;
};

// Indices are stable: cells come from the configuration, accounts are only ever appended.
struct Fleet {
  std::vector<Cell> cells;        // by id
  std::vector<Account> accounts;  // by first registration

  int64_t series_count() const { return static_cast<int64_t>(accounts.size()) * kSignals; }
};

inline int64_t SeriesOf(int64_t account, SignalKind signal) {
  return account * kSignals + static_cast<int64_t>(signal);
}

struct Sample {
  int32_t account = 0;  // index into Fleet::accounts
  SignalKind signal = SignalKind::kCpu;
  int64_t time_ms = 0;
  float value = 0;  // finite, >= 0
};

// --- Shadows and actions ------------------------------------------------------------------------

enum class ShadowState : uint8_t {
  kPlanned,   // waits for approval
  kCreating,  // intent written, the cell is being told
  kWarm,      // created, paused
  kSharing,   // runs, takes its split
  kIdle,      // paused again, split 0
  kDecommissioning,
  kGone,
  kFailed,
  kPromoting,  // takes all traffic, is about to become the primary
  kPromoted,   // is the primary: the old one is being retired
};
inline constexpr int kShadowStates = 10;
const char* Name(ShadowState state);

// It runs, and takes its split.
constexpr bool Serves(ShadowState state) {
  return state == ShadowState::kSharing || state == ShadowState::kPromoting;
}
// Its instance is in its target, paused or running.
constexpr bool Exists(ShadowState state) {
  return state == ShadowState::kWarm || state == ShadowState::kIdle || Serves(state);
}

// What decisions on a split remember from one to the next, where requests are measured.
struct SplitMemory {
  bool railed = false;  // the guard rails hold: nothing moves this split but within them
  GuardMemory guard;
  int64_t changed_ms = 0;  // of the split
  double split_before = 0;
  std::string reason;  // of the newest decision
  std::string rail;    // that bounded it; "" = none
  bool operator==(const SplitMemory&) const = default;
};

// How far a migration is: what service/shadow/migrate.h remembers of a shadow.
struct Migration {
  double from = 0;             // the split before, to go back to
  int64_t step_since_ms = 0;   // of the step in force; 0 = no migration is under way
  int64_t drain_since_ms = 0;  // 0 = the split is still being raised
  bool measured = false;       // this migration has been
  double requests = 0;         // at the shadow in this step
  double failed = 0;
  double primary_requests = 0;
  double primary_failed = 0;
  double primary_p99_ms = 0;  // the newest that rests on samples enough; 0 = none
  int64_t aborted_ms = 0;     // the newest that was called off; 0 = none was
  std::string reason;         // why it was
  bool operator==(const Migration&) const = default;
};

struct Shadow {
  std::string instance_id;
  int32_t account = 0;
  int32_t source = 0;  // cell
  int32_t target = 0;  // cell
  ShadowState state = ShadowState::kCreating;
  double split = 0;          // in force
  double wanted_split = 0;   // what learning asks for
  double shed = 0;           // share of the account's requests that is refused, in force
  double wanted_shed = 0;    // what learning asks for
  bool failed_over = false;  // the primary is ill: all traffic stays here until it is well again
  int64_t created_ms = 0;
  int64_t since_ms = 0;
  int64_t idle_since_ms = 0;  // 0 = in use
  int64_t moved_ms = 0;       // when traffic last began to come; 0 = never
  Resources reserved{};       // held for it in the target cell
  SplitMemory learned;
  Migration migration;
};

enum class ActionKind : uint8_t {
  kCreate,
  kResume,
  kPause,
  kSetSplit,
  kDestroy,
  kPromote,    // the instance is the account's primary from here on
  kRetire,     // the primary that was is destroyed
  kLiftFence,  // the primary takes writes again: its promotion did not come about
};
inline constexpr int kActionKinds = 8;
// Told to the source cell; all others are to the target's.
constexpr bool AtSource(ActionKind kind) {
  return kind == ActionKind::kRetire || kind == ActionKind::kLiftFence;
}
enum class ActionState : uint8_t { kWaiting, kIntended, kDone, kFailed };
const char* Name(ActionKind kind);
const char* Name(ActionState state);

struct Action {
  uint64_t id = 0;
  ActionKind kind = ActionKind::kCreate;
  ActionState state = ActionState::kIntended;
  std::string instance_id;  // of the shadow; "" of kLiftFence, which is the account's
  std::string account;      // ids, not indices: an action is also a line of the audit log
  std::string source_cell;
  std::string target_cell;
  double split = 0;
  double shed = 0;  // kSetSplit: share of the account's requests that is refused
  Resources reserved{};
  bool run = false;  // kCreate: started at once, not left paused
  // kPromote of a stateful account: of its route from then on. The old primary is fenced by it
  // first; 0 = it is not. kLiftFence: of that fence.
  uint64_t epoch = 0;
  int64_t decided_ms = 0;
  int64_t settled_ms = 0;  // 0 = open
  int64_t retry_at_ms = 0;
  int32_t attempts = 0;
  std::string reason;
  std::string message;
};

struct Alternative {
  std::string account;
  std::string target_cell;
  std::string refused_because;
};

// Demand foreseen for a cell, of the resource that is most at risk.
struct CellRisk {
  int32_t cell = 0;
  double probability = 0;   // of overload within the horizon
  double within_15 = 0;     // of overload within 15 minutes
  int64_t expected_ms = 0;  // first step at which it is likely; 0 = none
  int32_t resource = 0;
  double capacity = 0;
  std::array<double, kHorizonStepsMax> p50{};
  std::array<double, kHorizonStepsMax> p95{};
  std::array<double, kHorizonStepsMax> step_probability{};
  int32_t steps = 0;  // of the arrays that are filled
};

// Why an action was taken: written to the audit log together with it.
struct Explanation {
  Action action;
  CellRisk risk;
  double probability_after = 0;
  double gain = 0;         // core-hours that it is expected to save, its price taken off
  double state_bytes = 0;  // that its creation copies; 0 = none is created
  double lead_ms = 0;      // until it can serve, as expected
  Urgency urgency = Urgency::kRoutine;
  double account_p50 = 0;
  double account_p95 = 0;
  double target_utilisation_before = 0;
  double target_utilisation_after = 0;
  std::vector<Alternative> alternatives;
  std::string model;
  std::vector<std::string> guard_rails;
};

// One paragraph for people.
std::string Words(const Explanation& explanation);

// --- What the engine remembers for good ------------------------------------------------------

struct Scores {
  uint64_t ticks = 0;
  uint64_t overloads = 0;
  uint64_t overloads_foreseen = 0;
  uint64_t alarms = 0;               // runs of warnings
  uint64_t alarms_false = 0;         // runs that ended without an overload
  std::vector<double> lead_minutes;  // of each foreseen overload
  double overload_minutes_without = 0;
  double overload_minutes_with = 0;
  uint64_t shadows_created = 0;
  double shadow_hours = 0;
  double scaled_error_sum = 0;  // for MASE
  double scaled_pinball_sum = 0;
  uint64_t scored_count = 0;

  double lead_minutes_median() const;
  double mase() const { return scored_count ? scaled_error_sum / double(scored_count) : 0; }
  double pinball() const { return scored_count ? scaled_pinball_sum / double(scored_count) : 0; }
};

// What monitoring remembers of a cell between ticks.
struct CellWatch {
  bool overloaded = false;         // its demand alone, had nothing been moved
  int64_t overloaded_last_ms = 0;  // newest step at which it was
  int64_t warned_since_ms = 0;     // start of the unbroken run of warnings; 0 = none
  int64_t warned_last_ms = 0;      // newest warning of that run
  bool warning_came_true = false;
  bool operator==(const CellWatch&) const = default;
};

// An account that was promoted into another cell, and the one where it had been registered: what
// would be, had nothing been moved, is reckoned from there.
struct Origin {
  int32_t account = 0;
  int32_t cell = 0;
  bool operator==(const Origin&) const = default;
};

// What creations of shadows in a cell took, against the state that they copied: sums over them,
// newer ones weighing more (service/plan/lead.h).
struct CreationSums {
  double weight = 0;
  double bytes = 0;
  double ms = 0;
  double bytes_bytes = 0;
  double bytes_ms = 0;
  bool operator==(const CreationSums&) const = default;
};

// What the guard rails remember.
struct CoolDown {
  int32_t account = 0;
  int64_t until_ms = 0;
  bool moved = false;  // its shadow became the primary
  bool operator==(const CoolDown&) const = default;
};

// A time in which a cell is nearly full, but for single steps; both 0: it is not.
struct Stretch {
  int64_t since_ms = 0;
  int64_t last_ms = 0;
  bool operator==(const Stretch&) const = default;
};

struct RailsMemory {
  int64_t unsettled_ms = 0;                  // newest start of the server or end of a gap
  std::string unsettled_why;                 // in words
  std::vector<CoolDown> cool_downs;          // by account
  std::vector<int64_t> overloaded_since_ms;  // [cell], as served; 0 = it is not
  double creations_left = 0;                 // of the budget
  double cores_left = 0;
  std::vector<Stretch> nearly_full = {};  // [cell], as served
  bool operator==(const RailsMemory&) const = default;
};

// A setting that an operator changed while the server ran: it holds, over restarts, until it is
// taken back.
struct SettingChange {
  std::string key;    // "guard.shadows_max"
  std::string value;  // as in the configuration file
  std::string reason;
  int64_t changed_ms = 0;
  bool operator==(const SettingChange&) const = default;
};
// A newer change of a key replaces the one before; without a value that one is taken back.
void Take(const SettingChange& change, std::vector<SettingChange>& changes);

// Of the route of an account that was handed over at least once; of all others it is 1.
struct RouteEpoch {
  int32_t account = 0;
  uint64_t epoch = 1;
  bool operator==(const RouteEpoch&) const = default;
};

// Everything a restart must not lose. Small: it is written whole at each tick.
struct Decisions {
  std::vector<Shadow> shadows;     // all that are not gone, oldest first
  std::vector<Explanation> open;   // actions that wait or are intended, with their evidence
  std::vector<CellWatch> watches;  // [cell]
  std::vector<Origin> origins;     // of promoted accounts
  std::vector<RouteEpoch> epochs;  // of stateful ones
  Scores scores;
  Evaluation evaluation;  // of the candidate model, if there is one
  DriftWatches drift;     // [signal]
  RailsMemory rails;
  Calibration within_15;  // of the chances of overload
  Calibration within_60;
  std::vector<SettingChange> changes;  // by key
  uint64_t next_action_id = 1;
  std::vector<CreationSums> creations;  // [cell]; empty = none yet
  int64_t last_tick_ms = 0;
  bool paused = false;
};

// --- In and out of a tick ----------------------------------------------------------------------

struct ForecastTable;
struct SplitRecord;

// How an action went, told by whoever carried it out.
struct Outcome {
  uint64_t action_id = 0;
  bool done = false;
  bool final = false;  // when not done: repeating it is of no use
  std::string message;
};

// What a cell's agent says of itself; absent instances are those it does not know.
struct CellReport {
  int32_t cell = 0;
  bool reachable = true;
  std::vector<std::string> instances;
};

struct Command {
  enum class Kind : uint8_t {
    kPause,
    kResume,
    kApprove,
    kFailedOver,  // the data plane has been told already: the account's primary is ill
    kRecovered,   // it is well again, and was for long enough
    kReject,
    kSet,  // a setting is changed, or taken back
  } kind = Kind::kPause;
  uint64_t action_id = 0;    // kApprove, kReject
  std::string account = {};  // kFailedOver, kRecovered
  std::string reason = {};   // kFailedOver, kReject, kSet
  std::string key = {};      // kSet
  std::string value = {};    // kSet; "" = what the configuration says
};

// How the requests of one instance went since the tick before, as the instance itself counts them.
struct SideMeasure {
  std::string instance_id;
  std::string account;
  bool shadow = false;
  int64_t read_ms = 0;  // when it was last asked, wall clock
  double age_ms = 0;    // since then, when the tick began
  double seconds = 0;   // that this is about
  double requests = 0;  // finished
  double failed = 0;    // of these; they are not part of the quantiles
  double slow = 0;      // answered, but not within monitor.slo_ms
  double p50_ms = 0;
  double p99_ms = 0;
  double warmth = 1;     // 0..1, as it says
  double in_flight = 0;  // requests under way when it was last asked
  // Clients that have not taken the newest route of its account; counted where all traffic is to go
  // to the shadow, else 0.
  double clients_behind = 0;
};

// What came in since the last tick. Samples and profiles are durable already.
struct Inbox {
  std::vector<Account> accounts;  // added (index = their order) or changed (same id)
  std::vector<Sample> samples;
  std::vector<Outcome> outcomes;
  std::vector<CellReport> reports;
  std::vector<Command> commands;
  std::vector<std::string> alerts;  // of whoever feeds the tick, to be published with its own
  // Made elsewhere from the same samples: the tick then analyses and forecasts nothing itself. The
  // simulator forecasts once for many worlds.
  std::shared_ptr<const ForecastTable> forecasts = nullptr;
  std::vector<SideMeasure> measures = {};  // by instance
};

// Written in one durable step before any action of the tick is carried out.
struct Commit {
  int64_t tick_ms = 0;
  const Decisions* decisions = nullptr;
  std::vector<Explanation> explanations;  // of actions decided or settled in this tick
  std::vector<Account> moved;             // accounts that live in another cell from here on
};

struct StageTime {
  const char* stage = "";
  double duration_ms = 0;
};

// What analysis knows of one series.
struct SeriesPattern {
  std::array<int32_t, 3> periods{};  // steps, strongest first; 0 = none
  std::array<float, 3> strengths{};
  float trend_per_step = 0;
  float seasonal_strength = 0;
  int32_t lag_steps = 0;  // of a resource behind the account's mutation rate
  float lag_correlation = 0;
  float lag_p_value = 1;
  struct Spike {
    int64_t onset_ms = 0;
    int32_t duration_steps = 0;
    float peak = 0;
    kernels::EventShape shape = kernels::EventShape::kPulse;
  };
  struct LevelShift {
    int64_t onset_ms = 0;
    int32_t duration_steps = 0;  // until the next shift, or the end of the window
    float before = 0;
    float after = 0;
    float score = 0;  // its height, in deviations of how far levels part by chance
  };
  std::vector<Spike> spikes;
  std::vector<LevelShift> level_shifts;
};

// The mutation rates of the accounts of an application, taken together, ahead of a resource.
struct PooledLead {
  std::string application;
  SignalKind resource = SignalKind::kCpu;
  int32_t accounts = 0;  // of whom there was enough to judge
  int32_t lag_steps = 0;
  float correlation = 0;
  float p_value = 1;
  float heterogeneity = 0;          // Cochran's Q: how far the accounts disagree
  float heterogeneity_p_value = 1;  // of accounts that share one correlation
};

// Forecasts of all stored series.
struct ForecastTable {
  int64_t made_at_ms = 0;
  int64_t step_ms = 0;
  models::QuantileBlock block;      // [series][step][quantile]
  std::vector<std::string> models;  // labels
  std::vector<uint8_t> model_of;    // [series] into models: what weighs most in the mixture
};

// One cell as it is now.
struct CellView {
  Cell cell;
  Resources demand{};          // as served, shadows' shares included
  Resources demand_without{};  // had nothing been moved
  uint32_t accounts_count = 0;
  uint32_t shadows_count = 0;
};

// What the rest of the world sees of a tick: immutable once published.
struct TickReport {
  int64_t tick_ms = 0;
  std::shared_ptr<const Fleet> fleet;
  std::shared_ptr<const ForecastTable> forecasts;
  std::shared_ptr<const std::vector<SeriesPattern>> patterns;   // [series]
  std::shared_ptr<const std::vector<PooledLead>> pooled_leads;  // by application
  std::vector<CellView> cells;                                  // [cell]
  std::vector<CellRisk> risks;                                  // [cell], with the splits in force
  std::vector<CellRisk> risks_without;                          // [cell], had nothing been moved
  std::vector<Shadow> shadows;
  std::vector<Action> actions;  // decided or settled in this tick, and all open ones
  std::shared_ptr<const std::vector<SplitRecord>> split_records;  // of decisions within the rails
  Scores scores;
  Evaluation evaluation;
  bool paused = false;
  std::vector<SideMeasure> measures;   // that came with this tick
  std::vector<SettingChange> changes;  // of settings, in force
  std::vector<std::string> alerts;
  std::vector<StageTime> stages;
  double duration_ms = 0;
};

}  // namespace foreshadow
