#include "training/backtest/backtest_command.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "models/registry.h"
#include "training/backtest/backtest.h"
#include "training/backtest/forecasts_csv.h"
#include "training/backtest/print.h"
#include "training/command.h"
#include "training/io/csv.h"
#include "training/io/events.h"
#include "training/io/gnuplot.h"
#include "training/train/progress_bar.h"
#include "training/train/series_set.h"

namespace foreshadow::training {
namespace {

struct Arguments {
  std::vector<std::string> traces;
  std::vector<std::string> models;  // empty = all
  std::string folder;
  double test_share = 0.25;
  int64_t test_steps = 0;  // 0 = by the share, or by the files
  std::string only;
  std::string forecasts;
  std::string plot;
  std::string events;
  bool mutation_rate = false;
  BacktestOptions options;
  bool json = false;
};

// What the additive model is to know beside the samples.
absl::StatusOr<models::ProphetExtras> ReadExtras(const Arguments& a) {
  if (a.events.empty() && !a.mutation_rate) return models::ProphetExtras();
  if (std::ranges::find(a.models, "prophet") == a.models.end()) {
    return UsageError(fmt::format("{}: only the model prophet takes it, which --models must name",
                                  a.events.empty() ? "--mutation-rate" : "--events"));
  }
  models::ProphetExtras extras{.drivers = a.mutation_rate};
  if (a.events.empty()) return extras;
  auto events = ReadEvents(a.events);
  if (!events.ok()) return events.status();
  extras.events = *std::move(events);
  return extras;
}

// The models asked for, and whether "auto", the mixture of them all, is among them. Without a list,
// all that there are; what cannot be loaded is told then, and is an error where it was asked for by
// name. Alone, "auto" mixes all.
absl::StatusOr<ForecasterList> ChooseModels(const Arguments& a, bool& mix) {
  ForecasterList chosen;
  const auto extras = ReadExtras(a);
  if (!extras.ok()) return extras.status();
  for (const std::string& name : a.models) {
    if (name == "auto") {
      mix = true;
      continue;
    }
    auto model = models::MakeModel(name, a.folder, *extras);
    if (!model.ok()) return model.status();
    chosen.push_back(*std::move(model));
  }
  if (!chosen.empty()) return chosen;
  mix = true;
  models::RankedModels ranked = models::LoadModels(a.folder);
  for (const std::string& note : ranked.notes) fmt::print(stderr, "{}\n", note);
  return ranked.models;
}

// Marks the series of the file: a line ACCOUNT,SIGNAL each.
absl::StatusOr<std::vector<uint8_t>> ReadScored(const std::string& path, const SeriesSet& set) {
  auto csv = CsvReader::Open(path);
  if (!csv.ok()) return csv.status();
  std::map<std::pair<std::string, std::string>, int64_t> index;
  for (int64_t s = 0; s < set.series(); ++s) {
    index[{set.accounts[s], SignalName(set.signals[s])}] = s;
  }
  std::vector<uint8_t> scored(static_cast<size_t>(set.series()), 0);
  auto more = csv->Next();
  for (; more.ok() && *more; more = csv->Next()) {
    const auto fields = csv->fields();
    const auto found = fields.size() == 2
                           ? index.find({std::string(fields[0]), std::string(fields[1])})
                           : index.end();
    if (found == index.end()) {
      return absl::InvalidArgumentError(
          fmt::format("--only {}:{}: \"{}\": allowed is ACCOUNT,SIGNAL of a series with samples",
                      path, csv->line(), fmt::join(fields, ",")));
    }
    scored[found->second] = 1;
  }
  if (!more.ok()) return more.status();
  return scored;
}

// The first step of the test.
int64_t FirstStep(const Arguments& a, const SeriesSet& set) {
  if (a.test_steps > 0) return set.steps - a.test_steps;
  if (a.traces.size() > 1) return set.file_starts.back();
  return set.steps - static_cast<int64_t>(static_cast<double>(set.steps) * a.test_share);
}

absl::StatusOr<BacktestResult> RunBacktest(const SeriesSet& set, const ForecasterList& models,
                                           const Arguments& a) {
  ProgressBar bar("backtest");
  const auto progress = [&bar](int64_t done, int64_t total) {
    bar.Show(done, total, fmt::format("origin {} of {}", done, total));
  };
  if (a.forecasts.empty()) return Backtest(set, models, a.options, progress);
  auto csv = ForecastsCsv::Create(a.forecasts, set, a.options, ModelNames(models, a.options));
  if (!csv.ok()) return csv.status();
  auto result =
      Backtest(set, models, a.options, progress,
               [&csv](const OriginForecasts& forecasts) { return csv->Write(forecasts); });
  if (!result.ok()) return result;
  if (absl::Status status = csv->Close(); !status.ok()) return status;
  return result;
}

absl::Status Run(Arguments& a) {
  if (!a.plot.empty() && !IsPictureName(a.plot)) {
    return UsageError(fmt::format("--plot {}: the file name must end in .svg or .png", a.plot));
  }
  if (a.folder.empty()) a.folder = models::InstalledModels();
  const auto models = ChooseModels(a, a.options.mix);
  if (!models.ok()) return models.status();
  const auto set = ReadSeries(a.traces);
  if (!set.ok()) return set.status();
  a.options.first_step = FirstStep(a, *set);
  if (a.options.horizon_steps == 0) {
    a.options.horizon_steps = static_cast<int>(std::max<int64_t>(1, 3'600'000 / set->step_ms));
  }
  if (!a.only.empty()) {
    auto scored = ReadScored(a.only, *set);
    if (!scored.ok()) return scored.status();
    a.options.scored = *std::move(scored);
  }
  const auto result = RunBacktest(*set, *models, a);
  if (!result.ok()) return result.status();
  if (!a.plot.empty()) {
    const absl::Status status = PlotScores(*set, *result, a.plot);
    if (!status.ok()) return status;
  }
  if (a.json) {
    PrintScoreJson(*set, a.options, *result);
  } else {
    PrintScoreTable(*set, *result);
  }
  return absl::OkStatus();
}

}  // namespace

void AddBacktest(CLI::App& app) {
  auto arguments = std::make_shared<Arguments>();
  arguments->options.horizon_steps = 0;
  CLI::App& command = *app.add_subcommand(
      "backtest",
      "Score models on a trace: at each origin they see what was known then, and their quantiles\n"
      "are held against what came. MASE and pinball are in units of the error of \"as yesterday\"\n"
      "before the test, CRPS is the weighted quantile loss, 80 % the share of samples inside the\n"
      "interval of the levels 0.1 and 0.9.");
  command
      .add_option("trace", arguments->traces,
                  "Trace CSV, may be gzipped; of several, the last is the test and the others are "
                  "history")
      ->required()
      ->check(CLI::ExistingFile);
  command
      .add_option(
          "--models", arguments->models,
          "Names, with commas between; \"auto\" is the mixture of the others named, or of all")
      ->delimiter(',');
  command.add_option("--model-folder", arguments->folder,
                     "Folder of the trained models; left out, the ones installed with the program");
  command
      .add_option("--test-share", arguments->test_share,
                  "With one trace: share of its time, the latest, that is the test")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 0.9));
  command
      .add_option("--test-steps", arguments->test_steps,
                  "The last so many steps are the test, whatever the traces (0 = see above)")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command.add_option("--stride", arguments->options.stride_steps, "Steps between two origins")
      ->capture_default_str();
  command
      .add_option("--score-every", arguments->options.score_every,
                  "Score every so many-th origin; \"auto\" learns from those between, too")
      ->capture_default_str();
  command
      .add_option("--only", arguments->only,
                  "Score these series alone: CSV without header, a line ACCOUNT,SIGNAL each")
      ->check(CLI::ExistingFile);
  command.add_flag("--carried", arguments->options.carried,
                   "Models go on from origin to origin, as on a server, instead of seeing each "
                   "window anew");
  command.add_option("--horizon", arguments->options.horizon_steps, "Steps; 0 = an hour")
      ->capture_default_str();
  command
      .add_option("--window", arguments->options.window_steps, "Steps of history for the models")
      ->capture_default_str();
  command
      .add_option("--events", arguments->events,
                  "For prophet: calendar events, CSV with the header name,start,end")
      ->check(CLI::ExistingFile);
  command.add_flag("--mutation-rate", arguments->mutation_rate,
                   "For prophet: the account's mutation rate, where it leads, is a regressor");
  command.add_option("--forecasts", arguments->forecasts,
                     "Write the forecasts scored and what came to this CSV, gzipped if it ends in "
                     ".gz");
  command.add_option("--plot", arguments->plot,
                     "Draw errors and coverage by distance into this .svg or .png");
  command.add_flag("--json", arguments->json, "Print the scores as JSON");
  SetRun(command, [arguments] { return Run(*arguments); });
}

}  // namespace foreshadow::training
