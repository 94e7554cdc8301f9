#include "service/metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>

#include <algorithm>
#include <chrono>

#include "service/evaluate/evaluate.h"

namespace foreshadow::metrics {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

constexpr double kMsPerSecond = 1e3;

prometheus::Family<prometheus::Counter>& CounterOf(const char* name, const char* help) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(Registry());
}

prometheus::Family<prometheus::Histogram>& HistogramOf(const char* name, const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(Registry());
}

double NowSeconds() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// --- Out of a report -----------------------------------------------------------------------------

MetricFamily Family(const char* name, const char* help, MetricType type) {
  return {name, help, type, {}};
}

void Add(MetricFamily& family, std::vector<ClientMetric::Label> labels, double value) {
  ClientMetric metric;
  metric.label = std::move(labels);
  if (family.type == MetricType::Counter) metric.counter.value = value;
  if (family.type == MetricType::Gauge) metric.gauge.value = value;
  family.metric.push_back(std::move(metric));
}

MetricFamily One(const char* name, const char* help, MetricType type, double value) {
  MetricFamily family = Family(name, help, type);
  Add(family, {}, value);
  return family;
}

MetricFamily ShadowsByState(const TickReport& report) {
  MetricFamily family =
      Family("foreshadow_shadows", "Shadows that are not gone, by state.", MetricType::Gauge);
  for (const ShadowState state :
       {ShadowState::kPlanned, ShadowState::kCreating, ShadowState::kWarm, ShadowState::kSharing,
        ShadowState::kIdle, ShadowState::kDecommissioning, ShadowState::kFailed,
        ShadowState::kPromoting, ShadowState::kPromoted}) {
    const auto count = std::count_if(report.shadows.begin(), report.shadows.end(),
                                     [&](const Shadow& s) { return s.state == state; });
    Add(family, {{"state", Name(state)}}, static_cast<double>(count));
  }
  return family;
}

MetricFamily RiskOfCells(const TickReport& report) {
  MetricFamily family = Family("foreshadow_cell_overload_probability",
                               "Chance that a cell is asked for more than it has within the hour.",
                               MetricType::Gauge);
  for (const CellRisk& risk : report.risks) {
    Add(family, {{"cell", report.fleet->cells[risk.cell].id}}, risk.probability);
  }
  return family;
}

// How many series each model leads in the mixture that is published.
MetricFamily SeriesByModel(const ForecastTable& table) {
  MetricFamily family =
      Family("foreshadow_model_series", "Series of which a model weighs most in the forecast.",
             MetricType::Gauge);
  std::vector<int64_t> counts(table.models.size(), 0);
  for (size_t s = 0; s < table.model_of.size(); ++s) {
    if (!models::Answered(table.block.status[s])) continue;
    ++counts[table.model_of[s]];
  }
  for (size_t m = 0; m < counts.size(); ++m) {
    Add(family, {{"model", table.models[m]}}, static_cast<double>(counts[m]));
  }
  return family;
}

MetricFamily LossesByModel(const TickReport& report) {
  MetricFamily family = Family("foreshadow_model_pinball_loss",
                               "Mean pinball loss, scaled by that of the naive forecast: of the "
                               "published mixture (auto) and of models under evaluation.",
                               MetricType::Gauge);
  Add(family, {{"model", "auto"}}, report.scores.pinball());
  const Evaluation& evaluation = report.evaluation;
  if (!evaluation.candidate.empty()) {
    Add(family, {{"model", evaluation.candidate}},
        FiguresOf(evaluation, evaluation.of_candidate).pinball);
    Add(family, {{"model", evaluation.against}},
        FiguresOf(evaluation, evaluation.of_against).pinball);
  }
  return family;
}

// What instances told of their requests since the tick before.
void CountRequests(const std::vector<SideMeasure>& measures) {
  static auto& requests = CounterOf("foreshadow_instance_requests_total",
                                    "Requests that instances told of, by side and outcome.");
  for (const SideMeasure& m : measures) {
    const std::string side = m.shadow ? "shadow" : "primary";
    const auto add = [&](const char* outcome, double count) {
      if (count > 0) requests.Add({{"side", side}, {"outcome", outcome}}).Increment(count);
    };
    add("failed", m.failed);
    add("slow", m.slow);
    add("served", m.requests - m.failed - m.slow);
  }
}

void CountMigrations(const TickReport& report) {
  static auto& migrations = CounterOf("foreshadow_migrations_total",
                                      "Shadows that were to become primaries, by how it ended.");
  for (const Action& action : report.actions) {
    const bool over = action.kind == ActionKind::kPromote && action.settled_ms == report.tick_ms;
    if (over && action.state == ActionState::kDone)
      migrations.Add({{"result", "done"}}).Increment();
  }
  for (const Shadow& shadow : report.shadows) {
    if (shadow.migration.aborted_ms == report.tick_ms) {
      migrations.Add({{"result", "called_off"}}).Increment();
    }
  }
}

}  // namespace

const std::vector<double>& TimeBuckets() {
  static const std::vector<double> buckets = {
      1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};
  return buckets;
}

const std::vector<double>& CountBuckets() {
  static const std::vector<double> buckets = {
      1, 2, 5, 10, 20, 50, 100, 200, 500, 1'000, 2'000, 5'000, 10'000, 20'000, 50'000, 1e5};
  return buckets;
}

prometheus::Registry& Registry() {
  // A name that is registered at two places is one family.
  static prometheus::Registry registry(prometheus::Registry::InsertBehavior::Merge);
  return registry;
}

void CountTick(const TickReport& report) {
  CountRequests(report.measures);
  CountMigrations(report);
  static auto& ticks = CounterOf("foreshadow_ticks_total", "Ticks that finished.").Add({});
  static auto& whole =
      HistogramOf("foreshadow_tick_seconds", "Time of a tick.").Add({}, TimeBuckets());
  static auto& stages = HistogramOf("foreshadow_tick_stage_seconds", "Time of a stage of a tick.");
  ticks.Increment();
  whole.Observe(report.duration_ms / kMsPerSecond);
  for (const StageTime& stage : report.stages) {
    stages.Add({{"stage", stage.stage}}, TimeBuckets()).Observe(stage.duration_ms / kMsPerSecond);
  }
}

void CountFailedTick() {
  static auto& failed = CounterOf("foreshadow_ticks_failed_total",
                                  "Ticks that could not be written; the next one carries on.")
                            .Add({});
  failed.Increment();
}

void CountIngest(const IngestCounts& counts) {
  static auto& samples =
      CounterOf("foreshadow_ingest_samples_total", "Samples received, by what became of them.");
  static auto& accepted = samples.Add({{"result", "accepted"}});
  static auto& duplicates = samples.Add({{"result", "duplicate"}});
  static auto& rejected = samples.Add({{"result", "rejected"}});
  static auto& batches =
      CounterOf("foreshadow_ingest_batches_total", "Batches of samples received.").Add({});
  static auto& lag = HistogramOf("foreshadow_ingest_lag_seconds",
                                 "How far the newest sample of a batch was behind the clock.")
                         .Add({}, TimeBuckets());
  batches.Increment();
  accepted.Increment(static_cast<double>(counts.accepted));
  duplicates.Increment(static_cast<double>(counts.duplicates));
  rejected.Increment(static_cast<double>(counts.rejected));
  if (counts.lag_ms >= 0) lag.Observe(static_cast<double>(counts.lag_ms) / kMsPerSecond);
}

void CountPoints(std::string_view protocol, std::string_view result, int64_t count) {
  static auto& points = CounterOf("foreshadow_receive_points_total",
                                  "Points of received series, by what became of them.");
  points.Add({{"protocol", std::string(protocol)}, {"result", std::string(result)}})
      .Increment(static_cast<double>(count));
}

void CountIngestRefused(std::string_view protocol, std::string_view reason, int64_t count) {
  if (count <= 0) return;
  static auto& refused =
      CounterOf("foreshadow_ingest_refused_total", "Samples and points that were refused, by why.");
  refused.Add({{"protocol", std::string(protocol)}, {"reason", std::string(reason)}})
      .Increment(static_cast<double>(count));
}

void CountCall(std::string_view service, std::string_view method, std::string_view type,
               std::string_view code, double seconds) {
  static auto& handled =
      CounterOf("grpc_server_handled_total", "Calls that ended, by method and code.");
  static auto& times =
      HistogramOf("grpc_server_handling_seconds", "Time of a call until its status was sent.");
  const prometheus::Labels labels = {{"grpc_service", std::string(service)},
                                     {"grpc_method", std::string(method)},
                                     {"grpc_type", std::string(type)},
                                     {"grpc_code", std::string(code)}};
  handled.Add(labels).Increment();
  times.Add(labels, TimeBuckets()).Observe(seconds);
}

void CountBatch(int64_t calls, int64_t series, double seconds) {
  static auto& sizes =
      HistogramOf("foreshadow_inference_batch_series", "Series of a batch that was forecast.")
          .Add({}, CountBuckets());
  static auto& callers =
      HistogramOf("foreshadow_inference_batch_calls", "Calls whose series were one batch.")
          .Add({}, CountBuckets());
  static auto& times =
      HistogramOf("foreshadow_inference_batch_seconds", "Time to forecast a batch.")
          .Add({}, TimeBuckets());
  sizes.Observe(static_cast<double>(series));
  callers.Observe(static_cast<double>(calls));
  times.Observe(seconds);
}

void CountQueued(double seconds) {
  static auto& queued =
      HistogramOf("foreshadow_inference_queue_seconds", "How long a call waited for its batch.")
          .Add({}, TimeBuckets());
  queued.Observe(seconds);
}

void CountTurnedAway(std::string_view reason) {
  static auto& away = CounterOf("foreshadow_inference_turned_away_total",
                                "Calls for forecasts that were not run, by reason.");
  away.Add({{"reason", std::string(reason)}}).Increment();
}

void CountRefused(std::string_view reason) {
  static auto& refused =
      CounterOf("foreshadow_security_refused_total", "Calls that security refused, by reason.");
  refused.Add({{"reason", std::string(reason)}}).Increment();
}

std::vector<MetricFamily> MetricsOf(const Traffic& traffic) {
  const RouteCounts counts = traffic.Counts();
  MetricFamily routes =
      Family("foreshadow_routes", "Accounts by where their newest route leads.", MetricType::Gauge);
  Add(routes, {{"to", "primary"}}, static_cast<double>(counts.primary));
  Add(routes, {{"to", "both"}}, static_cast<double>(counts.shared));
  Add(routes, {{"to", "shadow"}}, static_cast<double>(counts.shadow));
  Add(routes, {{"to", "shadow_failed_over"}}, static_cast<double>(counts.failed_over));
  double taken = 0, behind = 0, refusing = 0, cut_off = 0;
  for (const router::Client& client : traffic.Clients()) {
    ++(!client.connected         ? cut_off
       : !client.refused.empty() ? refusing
       : client.behind_ms > 0    ? behind
                                 : taken);
  }
  MetricFamily clients = Family("foreshadow_route_clients",
                                "Data-plane clients, by how far they have taken the newest routes.",
                                MetricType::Gauge);
  Add(clients, {{"state", "up_to_date"}}, taken);
  Add(clients, {{"state", "behind"}}, behind);
  Add(clients, {{"state", "refusing"}}, refusing);
  Add(clients, {{"state", "cut_off"}}, cut_off);
  return {std::move(routes), std::move(clients),
          One("foreshadow_routes_shedding", "Accounts of whose requests a share is refused.",
              MetricType::Gauge, static_cast<double>(counts.shedding)),
          One("foreshadow_failovers_total", "Primaries that were ill and left at once.",
              MetricType::Counter, static_cast<double>(counts.failovers))};
}

std::vector<MetricFamily> MetricsOf(const TickReport& report) {
  constexpr auto kGauge = MetricType::Gauge;
  constexpr auto kCounter = MetricType::Counter;
  const Scores& scores = report.scores;
  std::vector<MetricFamily> families = {
      One("foreshadow_last_tick_timestamp_seconds", "Step that the newest tick was for.", kGauge,
          static_cast<double>(report.tick_ms) / kMsPerSecond),
      One("foreshadow_tick_age_seconds", "How far that step is behind the clock.", kGauge,
          NowSeconds() - static_cast<double>(report.tick_ms) / kMsPerSecond),
      One("foreshadow_accounts", "Accounts registered.", kGauge,
          static_cast<double>(report.fleet->accounts.size())),
      One("foreshadow_series", "Series stored.", kGauge,
          static_cast<double>(report.fleet->series_count())),
      One("foreshadow_alerts", "Alerts that stand.", kGauge,
          static_cast<double>(report.alerts.size())),
      One("foreshadow_paused", "1 when an operator holds all new actions.", kGauge,
          report.paused ? 1 : 0),
      One("foreshadow_overload_warnings_total", "Runs of warnings of an overload.", kCounter,
          static_cast<double>(scores.alarms)),
      One("foreshadow_overload_warnings_false_total", "Those that ended without an overload.",
          kCounter, static_cast<double>(scores.alarms_false)),
      One("foreshadow_overloads_total", "Overloads, had nothing been moved.", kCounter,
          static_cast<double>(scores.overloads)),
      One("foreshadow_overloads_foreseen_total", "Those that were warned of in time.", kCounter,
          static_cast<double>(scores.overloads_foreseen)),
      One("foreshadow_overload_seconds_total", "Time that cells were overloaded.", kCounter,
          scores.overload_minutes_with * 60),
      One("foreshadow_overload_unmoved_seconds_total",
          "Time that they would have been, had nothing been moved.", kCounter,
          scores.overload_minutes_without * 60),
      One("foreshadow_shadows_created_total", "Shadows created.", kCounter,
          static_cast<double>(scores.shadows_created)),
      One("foreshadow_forecast_scaled_error",
          "Mean absolute error of the forecasts, scaled by the naive one's (MASE).", kGauge,
          scores.mase()),
      LossesByModel(report),
      SeriesByModel(*report.forecasts),
      ShadowsByState(report),
      RiskOfCells(report),
  };
  return families;
}

}  // namespace foreshadow::metrics
