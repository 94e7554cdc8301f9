#include "service/tick/tick.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "service/analyze/analyze.h"
#include "service/evaluate/evaluate.h"
#include "service/forecast/forecast.h"
#include "service/ingest/absorb.h"
#include "service/learn/learn.h"
#include "service/monitor/measures.h"
#include "service/monitor/monitor.h"
#include "service/plan/plan.h"
#include "service/rails/rails.h"
#include "service/route/route.h"
#include "service/shadow/lifecycle.h"
#include "service/tick/state.h"

namespace foreshadow {
namespace {

// Origins of the past that are forecast and judged once after a start, so that the first decisions
// rest on evidence: two hours at 5 min.
constexpr int64_t kWarmSteps = 24;
// Forecasts of single series that this may cost: some four seconds on two cores. A large fleet is
// warmed by fewer origins, at least one, since nothing is answered before the first tick has ended.
constexpr int64_t kWarmForecastsMax = 400'000;

// Times each stage for the report.
class StageClock {
 public:
  StageClock(World& world, TickReport& report)
      : world_(world), report_(report), start_ms_(world.ElapsedMs()), stage_ms_(start_ms_) {}

  void Done(const char* stage) {
    const double now_ms = world_.ElapsedMs();
    report_.stages.push_back({stage, now_ms - stage_ms_});
    report_.duration_ms = now_ms - start_ms_;
    stage_ms_ = now_ms;
  }

 private:
  World& world_;
  TickReport& report_;
  double start_ms_;
  double stage_ms_;
};

// The window follows the samples: at the very first ones it reaches back to the oldest.
void UpdateWindow(const std::vector<Sample>& samples, int64_t series, int64_t now_ms,
                  Window& window) {
  window.Grow(series);
  if (window.steps() == 0 && !samples.empty()) {
    const auto oldest =
        std::min_element(samples.begin(), samples.end(),
                         [](const Sample& a, const Sample& b) { return a.time_ms < b.time_ms; });
    window.AdvanceTo(std::min(oldest->time_ms, now_ms));
  }
  window.AdvanceTo(now_ms);
  window.Write(samples);
}

// On the device where there is one. What fails there is done by the CPU, and the next tick tries
// again.
void FindPatterns(const AnalyzeSettings& settings, uint64_t tick_count, const models::Stop& stop,
                  State& state, std::vector<std::string>& alerts) {
  if (state.device != nullptr) {
    const absl::Status status =
        AnalyzeOn(*state.device, state.window, settings, tick_count, state.patterns, stop);
    if (status.ok()) return;
    alerts.push_back(fmt::format("the analysis runs on the CPU, not on {}: {}",
                                 state.device->arena.ops().name, std::string(status.message())));
  }
  Analyze(state.window.view(), settings, tick_count, state.patterns, stop);
}

// Forecasts the last hours as if they were to come, so that the weights of the models and the
// errors of the cells are known from the first tick on.
void Warm(const ModelList& models, const models::Stop& stop, State& state) {
  const WindowView now = state.window.view();
  const Fleet& fleet = *state.fleet;
  std::vector<std::string> not_shown;
  // What an earlier run left goes on from its own last step, not from these.
  std::vector<std::vector<std::any>> carried = std::exchange(state.forecasts.carried, {});
  const int64_t affordable = std::clamp<int64_t>(
      kWarmForecastsMax / std::max<int64_t>(1, now.values.series), 1, kWarmSteps);
  const int64_t origins = std::min(affordable, now.values.steps - 1);
  for (int64_t back = origins; back > 0 && !stop(); --back) {
    const WindowView then = now.Before(back);
    ForecastTable table =
        Forecast(then, fleet, state.patterns, models, state.forecasts, not_shown, stop);
    const AccountForecasts moments = MomentsOf(table, std::ssize(fleet.accounts));
    const std::vector<Resources> of_accounts = AccountDemand(then, std::ssize(fleet.accounts));
    HomeDemand demand(of_accounts);
    JudgeCells(demand, state.fleet, ForecastCells(fleet, moments), then.end_ms, then.step_ms,
               state.cell_errors);
    state.forecasts.room = std::move(table.block.values);
  }
  std::vector<std::vector<std::any>>& made = state.forecasts.carried;
  made.resize(std::max(made.size(), carried.size()));
  for (size_t part = 0; part < carried.size(); ++part) {
    made[part].resize(std::max(made[part].size(), carried[part].size()));
    for (size_t m = 0; m < carried[part].size(); ++m) {
      if (carried[part][m].has_value()) made[part][m] = std::move(carried[part][m]);
    }
  }
}

std::vector<CellView> ViewCells(const Fleet& fleet, const std::vector<CellDemand>& demand,
                                const std::vector<bool>& reachable,
                                const std::vector<Shadow>& shadows) {
  std::vector<CellView> views(fleet.cells.size());
  for (size_t c = 0; c < views.size(); ++c) {
    views[c].cell = fleet.cells[c];
    if (!reachable[c]) views[c].cell.state = CellState::kDown;
    views[c].demand = demand[c].with;
    views[c].demand_without = demand[c].without;
  }
  for (const Account& account : fleet.accounts) ++views[account.cell].accounts_count;
  for (const Shadow& shadow : shadows) {
    if (InPlace(shadow, fleet)) ++views[shadow.target].shadows_count;
  }
  return views;
}

void CountShadowHours(const std::vector<Shadow>& shadows, int64_t step_ms, Scores& scores) {
  for (const Shadow& shadow : shadows) {
    if (Exists(shadow.state)) scores.shadow_hours += static_cast<double>(step_ms) / 3'600'000;
  }
}

// Carries out what is intended: new actions, those whose time to be repeated has come, and after a
// restart all that were open.
void StartActions(const Decisions& decisions, int64_t now_ms, const Inbox& inbox,
                  std::unordered_set<uint64_t>& started, World& world) {
  for (const Outcome& outcome : inbox.outcomes) started.erase(outcome.action_id);
  for (const Explanation& e : decisions.open) {
    const Action& action = e.action;
    if (action.state != ActionState::kIntended || action.retry_at_ms > now_ms) continue;
    if (started.insert(action.id).second) world.Start(action);
  }
}

std::vector<Action> ActionsToShow(const Decisions& decisions, const Changes& changes) {
  std::vector<Action> actions;
  for (const Explanation& e : changes.explanations) actions.push_back(e.action);
  for (const Explanation& e : decisions.open) {
    const auto same = [&](const Action& a) { return a.id == e.action.id; };
    if (std::none_of(actions.begin(), actions.end(), same)) actions.push_back(e.action);
  }
  return actions;
}

}  // namespace

State::State(std::vector<Cell> cells, Decisions made, const Settings& settings)
    : fleet(std::make_shared<const Fleet>(Fleet{std::move(cells), {}})),
      reachable(fleet->cells.size(), true),
      window(settings.tick.step_ms, settings.tick.window_steps),
      risk_calibration{made.within_15, made.within_60, {}},
      decisions(std::move(made)) {}

void StateDeleter::operator()(State* state) const { delete state; }

StatePtr NewState(std::vector<Cell> cells, Decisions decisions, const Settings& settings,
                  const kernels::Ops* device) {
  StatePtr state(new State(std::move(cells), std::move(decisions), settings));
  if (device != nullptr) state->device = std::make_unique<AnalyzeDevice>(*device);
  state->forecasts.device = device;
  return state;
}

absl::StatusOr<std::shared_ptr<const TickReport>> Tick(State& state, Inbox inbox,
                                                       const ModelList& models,
                                                       const Settings& settings, World& world,
                                                       const models::Forecaster* candidate) {
  auto report = std::make_shared<TickReport>();
  StageClock clock(world, *report);
  const int64_t now_ms = world.NowMs();
  const int64_t step_ms = settings.tick.step_ms;
  const auto jitter_ms =
      static_cast<int64_t>(world.Random() % static_cast<uint64_t>(settings.tick.step_ms));
  Decisions next = state.decisions;
  Changes changes;
  changes.alerts = std::move(inbox.alerts);

  // 1 ingest: who is there, what the cells and operators said
  const std::shared_ptr<const Fleet> known = state.fleet;
  state.fleet = AbsorbAccounts(inbox.accounts, state.fleet, state.account_index);
  AbsorbReports(inbox.reports, state.reachable);
  const std::shared_ptr<const Fleet> before = state.fleet;
  TakeIn({*before, state.reachable, settings.shadow, now_ms, step_ms, jitter_ms}, inbox, next,
         changes);
  FollowOrigins(*known, inbox.accounts, state.account_index, {}, next.origins);
  FollowOrigins(*before, {}, state.account_index, changes.moved, next.origins);
  state.fleet = AbsorbAccounts(changes.moved, state.fleet, state.account_index);
  const Fleet& fleet = *state.fleet;
  const Moment moment{fleet, state.reachable, settings.shadow, now_ms, step_ms, jitter_ms};
  const std::vector<AccountMeasures> measures =
      MeasuresOf(fleet, state.account_index, next.shadows, inbox.measures);
  clock.Done("ingest");

  // 2 history: the hot window
  UpdateWindow(inbox.samples, fleet.series_count(), now_ms, state.window);
  const WindowView window = state.window.view();
  const std::vector<Resources> of_accounts = AccountDemand(window, std::ssize(fleet.accounts));
  const std::vector<CellDemand> demand = DemandOfCells(fleet, of_accounts, next.shadows);
  clock.Done("history");

  // 3 analyze
  std::shared_ptr<const ForecastTable> table = std::move(inbox.forecasts);
  const auto stop = [&world] { return world.Stopping(); };
  if (table == nullptr) {
    FindPatterns(settings.analyze, next.scores.ticks, stop, state, changes.alerts);
    PoolLeads(fleet, settings.analyze, next.scores.ticks, state.patterns);
    if (!std::exchange(state.warmed, true)) Warm(models, stop, state);
  }
  clock.Done("analyze");

  // 4 forecast
  if (table == nullptr) {
    table = std::make_shared<const ForecastTable>(
        Forecast(window, fleet, state.patterns, models, state.forecasts, changes.alerts, stop));
  }
  clock.Done("forecast");
  if (world.Stopping()) {  // parts of it may be left out
    state.fleet = before;
    return absl::CancelledError("the server is stopping");
  }

  // 5 plan
  const auto cool_down = [&] {
    CoolDownGone(state.decisions.shadows, next.shadows, now_ms + settings.guard.cool_down_ms,
                 next.rails);
  };
  cool_down();  // those that were gone when the inbox was taken in: the plan is to know
  const Rails rails = SetRails(
      {.fleet = fleet,
       .settings = settings.guard,
       .mode = settings.shadow.mode,
       .now_ms = now_ms,
       .step_ms = step_ms,
       .last_tick_ms = next.last_tick_ms,
       .started = !state.ticked,
       .demand = demand,
       .silent_share = SilentShare(window, std::ssize(fleet.accounts), settings.guard.gap_ms),
       .drifted = Drifted(next.drift)},
      next.rails, changes.alerts);
  FollowSurprises(fleet, of_accounts, *table, now_ms, step_ms, state.surprises);
  const Plan plan = MakePlan(
      {fleet, state.reachable, *table, next.shadows, state.cell_errors, state.risk_calibration,
       settings.plan, rails, demand, of_accounts, settings.learn.split_max, !next.paused, now_ms,
       step_ms, LeadsOf(next.creations, settings.shadow.network_bytes_per_s),
       static_cast<int>(std::max<int64_t>(1, settings.shadow.resume_lead_ms / step_ms)),
       &state.surprises, state.plan_parts});
  changes.alerts.insert(changes.alerts.end(), plan.alerts.begin(), plan.alerts.end());
  clock.Done("plan");

  // 6 shadow
  const Outlook outlook{moment,           plan,     demand,
                        settings.plan,    rails,    of_accounts,
                        settings.migrate, measures, settings.monitor.slo_ms};
  Advance(outlook, next, changes);
  next.rails.creations_left -= static_cast<double>(plan.reliefs.size());
  cool_down();  // and those withdrawn by Advance
  CountShadowHours(next.shadows, step_ms, next.scores);
  clock.Done("shadow");

  // 7 learn
  const bool learned = settings.learn.policy == LearnPolicy::kQ && !measures.empty();
  // Drawn only where it is used: what was decided without it stays the same.
  const double random = learned ? static_cast<double>(world.Random() >> 11) * 0x1.0p-53 : 0;
  auto split_records = std::make_shared<const std::vector<SplitRecord>>(
      Learn({.plan = plan,
             .fleet = fleet,
             .demand = demand,
             .account_demand = of_accounts,
             .measures = measures,
             .settings = settings.learn,
             .risk_threshold = settings.plan.risk_threshold,
             .slo_ms = settings.monitor.slo_ms,
             .now_ms = now_ms,
             .step_ms = step_ms,
             .random = random},
            next.shadows));
  if (!split_records->empty() && settings.learn.learned == nullptr) {
    changes.alerts.emplace_back(
        "learn.policy = \"q\", but no split policy could be read at the start: the rule decides, "
        "within the guard rails");
  }
  clock.Done("learn");

  // 8 route
  Route(outlook, settings.learn, next, changes);
  clock.Done("route");

  // 9 monitor
  const auto losses =
      ScoreForecasts(window, state.patterns.naive_scale, state.forecasts, next.scores);
  WatchDrift(losses, now_ms, step_ms, settings.monitor.drift_false_alarm_days, next.drift,
             changes.alerts);
  if (candidate != nullptr) {
    const ForecastInput input =
        InputOf(window, fleet, state.patterns, state.forecasts.application_names);
    Evaluate(input.history, state.patterns.naive_scale, models, *candidate, state.candidate,
             next.evaluation, changes.alerts);
  } else {
    next.evaluation = {};
  }
  HomeDemand home_demand(of_accounts);
  JudgeCells(home_demand, state.fleet, plan.forecasts_without, now_ms, step_ms, state.cell_errors);
  WatchCells(fleet, demand, DemandAtOrigins(fleet, demand, of_accounts, next.origins),
             plan.risks_without, settings.plan.risk_threshold, now_ms, step_ms, next.watches,
             next.scores);
  LearnRisk(plan.said_without, state.fleet, home_demand, now_ms, step_ms, state.risk_calibration);
  next.within_15 = state.risk_calibration.within_15;
  next.within_60 = state.risk_calibration.within_60;
  ++next.scores.ticks;
  next.last_tick_ms = now_ms;
  clock.Done("monitor");

  // Durable first, carried out after.
  const Commit commit{now_ms, &next, changes.explanations, changes.moved};
  if (absl::Status status = world.Write(commit); !status.ok()) {
    state.fleet = before;
    return status;
  }
  state.decisions = std::move(next);
  state.ticked = true;
  StartActions(state.decisions, now_ms, inbox, state.started, world);
  clock.Done("commit");

  report->tick_ms = now_ms;
  report->fleet = state.fleet;
  report->forecasts = std::move(table);
  report->patterns = state.patterns.series;
  report->pooled_leads = state.patterns.pooled_leads;
  report->cells = ViewCells(fleet, demand, state.reachable, state.decisions.shadows);
  report->risks = plan.risks;
  report->risks_without = plan.risks_without;
  report->shadows = state.decisions.shadows;
  report->split_records = std::move(split_records);
  report->actions = ActionsToShow(state.decisions, changes);
  report->scores = state.decisions.scores;
  report->evaluation = state.decisions.evaluation;
  report->paused = state.decisions.paused;
  report->changes = state.decisions.changes;
  report->measures = std::move(inbox.measures);
  report->alerts = std::move(changes.alerts);
  return std::shared_ptr<const TickReport>(std::move(report));
}

}  // namespace foreshadow
