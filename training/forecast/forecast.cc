#include "training/forecast/forecast.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "models/registry.h"
#include "service/analyze/analyze.h"
#include "service/forecast/forecast.h"
#include "training/command.h"
#include "training/io/csv.h"
#include "training/io/events.h"
#include "training/train/drivers.h"
#include "training/train/series_set.h"

namespace foreshadow::training {
namespace {

constexpr int64_t kMinuteMs = 60'000;

struct Options {
  std::string input;
  std::string model = "auto";
  std::string model_dir;
  std::string signal = "cpu";
  int64_t horizon_min = 60;
  int64_t step_s = 0;
  std::string events;
  std::string mutation_rate;
  bool json = false;
};

absl::StatusOr<SignalKind> ReadSignal(const std::string& text) {
  std::string known;
  for (int s = 0; s < kSignals; ++s) {
    const auto kind = static_cast<SignalKind>(s);
    if (text == Name(kind)) return kind;
    known += (known.empty() ? "" : ", ") + std::string(Name(kind));
  }
  return UsageError(fmt::format("--signal {}: must be one of {}", text, known));
}

absl::StatusOr<ModelList> ReadModels(const Options& options) {
  if (options.model == "auto") {
    models::RankedModels ranked = models::LoadModels(options.model_dir);
    for (const std::string& note : ranked.notes) fmt::print(stderr, "{}\n", note);
    return std::move(ranked.models);
  }
  models::ProphetExtras extras{.drivers = !options.mutation_rate.empty()};
  if (!options.events.empty()) {
    auto events = ReadEvents(options.events);
    if (!events.ok()) return events.status();
    extras.events = *std::move(events);
  }
  auto model = models::MakeModel(options.model, options.model_dir, extras);
  if (!model.ok()) return UsageError("--model: " + std::string(model.status().message()));
  return ModelList{*std::move(model)};
}

const char* Words(models::ForecastStatus status) {
  switch (status) {
    case models::ForecastStatus::kOk:
      return "ok";
    case models::ForecastStatus::kFellBack:
      return "fell-back";
    case models::ForecastStatus::kNoHistory:
    case models::ForecastStatus::kCannot:
      break;
  }
  return "no-forecast";
}

int64_t TimeOf(const WideTable& table, const ForecastTable& forecast, int step) {
  return table.step_ms > 0 ? forecast.made_at_ms + (step + 1) * table.step_ms
                           : table.steps + step;  // without times: the index
}

void PrintCsv(const WideTable& table, const ForecastTable& forecast) {
  fmt::print("series,{},model,status", table.step_ms > 0 ? "timestamp" : "index");
  for (const float level : models::kQuantileLevels) fmt::print(",q{:g}", level);
  fmt::print("\n");
  for (int64_t s = 0; s < table.series(); ++s) {
    const std::string name = CsvField(table.names[s]);
    for (int step = 0; step < forecast.block.steps; ++step) {
      fmt::print("{},{},{},{}", name, TimeOf(table, forecast, step),
                 forecast.models[forecast.model_of[s]], Words(forecast.block.status[s]));
      for (const float value : forecast.block.at(s, step)) {
        fmt::print(",{}", std::isnan(value) ? "" : fmt::format("{:.7g}", value));
      }
      fmt::print("\n");
    }
  }
}

void PrintJson(const WideTable& table, const ForecastTable& forecast) {
  nlohmann::ordered_json series = nlohmann::ordered_json::array();
  for (int64_t s = 0; s < table.series(); ++s) {
    nlohmann::ordered_json steps = nlohmann::ordered_json::array();
    for (int step = 0; step < forecast.block.steps; ++step) {
      nlohmann::ordered_json values = nlohmann::ordered_json::array();
      for (const float value : forecast.block.at(s, step)) {
        values.push_back(std::isnan(value) ? nlohmann::ordered_json()
                                           : nlohmann::ordered_json(value));
      }
      steps.push_back(
          {{table.step_ms > 0 ? "timestamp_ms" : "index", TimeOf(table, forecast, step)},
           {"quantiles", values}});
    }
    series.push_back({{"series", table.names[s]},
                      {"model", forecast.models[forecast.model_of[s]]},
                      {"status", Words(forecast.block.status[s])},
                      {"steps", steps}});
  }
  const nlohmann::ordered_json all = {{"levels", models::kQuantileLevels}, {"series", series}};
  fmt::print("{}\n", all.dump());
}

// The table's series and, behind them, the mutation rates of some, by the name of their column.
absl::StatusOr<SeriesSet> Combine(const WideTable& table, SignalKind signal, int64_t step_ms,
                                  const WideTable& rates, const std::string& rates_path) {
  const auto wrong = [&](const std::string& what) {
    return absl::InvalidArgumentError(fmt::format("{}: {}", rates_path, what));
  };
  if (rates.step_ms != table.step_ms) {
    return wrong(fmt::format("a step is {} ms: it must be {}, as that of the series", rates.step_ms,
                             table.step_ms));
  }
  if (rates.step_ms == 0 && rates.steps != table.steps) {
    return wrong(fmt::format("{} rows: without times they must be {}, as those of the series",
                             rates.steps, table.steps));
  }
  const int64_t ahead_ms = rates.start_ms - table.start_ms;
  if (ahead_ms % step_ms != 0) {
    return wrong(fmt::format("its times lie {} ms off those of the series: they must be the same",
                             ahead_ms % step_ms));
  }
  SeriesSet set;
  set.start_ms = table.start_ms;
  set.step_ms = step_ms;
  set.steps = table.steps;
  set.accounts = table.names;
  set.accounts.insert(set.accounts.end(), rates.names.begin(), rates.names.end());
  set.signals.assign(table.names.size(), signal);
  set.signals.resize(set.accounts.size(), SignalKind::kMutationRate);
  for (const std::string& name : rates.names) {
    if (std::ranges::find(table.names, name) == table.names.end()) {
      return wrong(fmt::format("column '{}': it must be a column of the series", name));
    }
  }
  set.values.assign(static_cast<size_t>(set.steps * set.series()),
                    std::numeric_limits<float>::quiet_NaN());
  for (int64_t t = 0; t < table.steps; ++t) {
    float* row = &set.values[t * set.series()];
    std::copy_n(&table.values[t * table.series()], table.series(), row);
    const int64_t from = t - ahead_ms / step_ms;
    if (rates.series() == 0 || from < 0 || from >= rates.steps) continue;
    std::copy_n(&rates.values[from * rates.series()], rates.series(), row + table.series());
  }
  return set;
}

absl::Status Run(const Options& options) {
  const auto table = ReadWideCsv(options.input, {.allow_negative = false});
  if (!table.ok()) return table.status();
  const auto signal = ReadSignal(options.signal);
  if (!signal.ok()) return signal.status();
  if (!options.events.empty() && options.model != "prophet") {
    return UsageError(
        fmt::format("--events: only --model prophet takes it, not {}", options.model));
  }
  if (!options.mutation_rate.empty() && *signal == SignalKind::kMutationRate) {
    return UsageError("--mutation-rate: the series must be of another --signal");
  }
  const int64_t step_ms = table->step_ms > 0 ? table->step_ms : 1'000 * options.step_s;
  if (step_ms == 0) {
    return UsageError(fmt::format(
        "{} has no timestamp column: say the sampling interval by --step-seconds", options.input));
  }
  const int64_t steps = options.horizon_min * kMinuteMs / step_ms;
  if (steps < 1 || steps > HorizonSteps(step_ms)) {
    return UsageError(fmt::format("--horizon {}: must be {} to {} min at a step of {} s",
                                  options.horizon_min, std::max<int64_t>(1, step_ms / kMinuteMs),
                                  HorizonSteps(step_ms) * step_ms / kMinuteMs, step_ms / 1'000));
  }
  const auto models = ReadModels(options);
  if (!models.ok()) return models.status();
  WideTable rates;  // none
  rates.steps = table->steps;
  rates.start_ms = table->start_ms;
  rates.step_ms = table->step_ms;
  if (!options.mutation_rate.empty()) {
    auto read = ReadWideCsv(options.mutation_rate, {.allow_negative = false});
    if (!read.ok()) return read.status();
    rates = *std::move(read);
  }
  const auto set = Combine(*table, *signal, step_ms, rates, options.mutation_rate);
  if (!set.ok()) return set.status();
  const std::vector<int32_t> periods =
      StrongestPeriods(set->Slice(0, set->steps), AnalyzeSettings().period_significance);
  const std::vector<models::Driver> drivers = FindDrivers(*set, set->steps);
  const models::History history{.end_ms = set->TimeMs(set->steps - 1),
                                .step_ms = step_ms,
                                .values = set->Slice(0, set->steps),
                                .signals = set->signals,
                                .periods = periods,
                                .drivers = drivers};
  std::vector<std::string> alerts;
  const ForecastTable forecast = ForecastSeries(history, static_cast<int>(steps), *models, alerts);
  for (const std::string& alert : alerts) fmt::print(stderr, "{}\n", alert);
  if (options.json) {
    PrintJson(*table, forecast);
  } else {
    PrintCsv(*table, forecast);
  }
  return absl::OkStatus();
}

}  // namespace

void AddForecast(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("forecast", "Quantiles of the next steps of each column of a wide CSV");
  auto o = std::make_shared<Options>();
  command
      ->add_option("input", o->input,
                   "Wide CSV: a header, a column a series, optional first column 'timestamp'")
      ->required();
  command->add_option("--model", o->model, "auto, or a model's name")->capture_default_str();
  command->add_option("--model-dir", o->model_dir, "Folder of trained models");
  command->add_option("--signal", o->signal, "What the columns measure")->capture_default_str();
  command->add_option("--horizon", o->horizon_min, "How far ahead, in minutes")
      ->capture_default_str();
  command->add_option("--step-seconds", o->step_s, "Sampling interval, if there are no timestamps")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--events", o->events,
                   "For prophet: calendar events, CSV with the header name,start,end")
      ->check(CLI::ExistingFile);
  command
      ->add_option("--mutation-rate", o->mutation_rate,
                   "Wide CSV of the columns' mutation rates, for lstm and prophet: what it leads, "
                   "it helps to forecast")
      ->check(CLI::ExistingFile);
  command->add_flag("--json", o->json, "Print JSON");
  SetRun(*command, [o] {
    if (o->model_dir.empty()) o->model_dir = models::InstalledModels();
    return Run(*o);
  });
}

}  // namespace foreshadow::training
