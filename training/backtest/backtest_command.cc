#include "training/backtest/backtest_command.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/registry.h"
#include "training/backtest/backtest.h"
#include "training/command.h"
#include "training/train/progress_bar.h"
#include "training/train/series_set.h"

namespace foreshadow::training {
namespace {

struct Arguments {
  std::vector<std::string> traces;
  std::vector<std::string> models;  // empty = all
  std::string folder;
  double test_share = 0.25;
  BacktestOptions options;
  bool json = false;
};

// The models asked for, and whether "auto", the mixture of them all, is among them. Without a list,
// all that there are; what cannot be loaded is told then, and is an error where it was asked for by
// name. Alone, "auto" mixes all.
absl::StatusOr<ForecasterList> ChooseModels(const Arguments& a, bool& mix) {
  ForecasterList chosen;
  for (const std::string& name : a.models) {
    if (name == "auto") {
      mix = true;
      continue;
    }
    auto model = models::MakeModel(name, a.folder);
    if (!model.ok()) return model.status();
    chosen.push_back(*std::move(model));
  }
  if (!chosen.empty()) return chosen;
  mix = true;
  models::RankedModels ranked = models::LoadModels(a.folder);
  for (const std::string& note : ranked.notes) fmt::print(stderr, "{}\n", note);
  return ranked.models;
}

// The distances that the table shows: the product's short ones, and the last.
std::vector<std::pair<int, int>> Distances(int horizon_steps) {
  std::vector<std::pair<int, int>> distances;
  for (int step = 1; step <= std::min(3, horizon_steps); ++step) distances.emplace_back(step, step);
  if (horizon_steps > 3) distances.emplace_back(horizon_steps, horizon_steps);
  distances.emplace_back(1, horizon_steps);
  return distances;
}

nlohmann::ordered_json ToJson(const Score& s) {
  return {{"model", s.model},
          {"signal", s.signal},
          {"first_step", s.first_step},
          {"last_step", s.last_step},
          {"series", s.series},
          {"points", s.points},
          {"mase", s.mase},
          {"scaled_pinball", s.scaled_pinball},
          {"smape", s.smape},
          {"crps", s.crps},
          {"coverage_80", s.coverage_80}};
}

void PrintJson(const SeriesSet& set, const Arguments& a, const BacktestResult& result) {
  nlohmann::ordered_json scores = nlohmann::ordered_json::array();
  for (const auto& [first, last] : Distances(result.horizon_steps)) {
    for (const Score& score : Summarize(result, first, last)) scores.push_back(ToJson(score));
  }
  nlohmann::ordered_json unanswered;
  for (size_t m = 0; m < result.models.size(); ++m) {
    unanswered[result.models[m]] = result.unanswered[m];
  }
  const nlohmann::ordered_json json = {{"step_ms", set.step_ms},
                                       {"series", set.series()},
                                       {"test_from_ms", set.TimeMs(a.options.first_step)},
                                       {"origins", result.origins},
                                       {"stride_steps", a.options.stride_steps},
                                       {"unanswered", unanswered},
                                       {"scores", scores}};
  fmt::print("{}\n", json.dump(2));
}

void PrintTable(const SeriesSet& set, const BacktestResult& result) {
  fmt::print("{:<17} {:<14} {:>9} {:>8} {:>8} {:>8} {:>8} {:>6} {:>10}\n", "model", "signal",
             "minutes", "MASE", "pinball", "CRPS", "sMAPE", "80 %", "points");
  for (const auto& [first, last] : Distances(result.horizon_steps)) {
    const int64_t from = first * set.step_ms / 60'000;
    const int64_t to = last * set.step_ms / 60'000;
    const std::string minutes =
        first == last ? fmt::format("{}", to) : fmt::format("{}-{}", from, to);
    for (const Score& s : Summarize(result, first, last)) {
      fmt::print("{:<17} {:<14} {:>9} {:>8.4f} {:>8.4f} {:>8.4f} {:>8.4f} {:>6.1f} {:>10}\n",
                 s.model, s.signal, minutes, s.mase, s.scaled_pinball, s.crps, s.smape,
                 100 * s.coverage_80, s.points);
    }
  }
  for (size_t m = 0; m < result.models.size(); ++m) {
    if (result.unanswered[m] == 0) continue;
    fmt::print("{} had no answer for {} of {} forecasts; none of the models is scored on those\n",
               result.models[m], result.unanswered[m], result.origins * set.series());
  }
}

absl::Status Run(Arguments& a) {
  if (a.folder.empty()) a.folder = models::InstalledModels();
  const auto models = ChooseModels(a, a.options.mix);
  if (!models.ok()) return models.status();
  const auto set = ReadSeries(a.traces);
  if (!set.ok()) return set.status();
  a.options.first_step =
      a.traces.size() > 1
          ? set->file_starts.back()
          : set->steps - static_cast<int64_t>(static_cast<double>(set->steps) * a.test_share);
  if (a.options.horizon_steps == 0) {
    a.options.horizon_steps = static_cast<int>(std::max<int64_t>(1, 3'600'000 / set->step_ms));
  }
  ProgressBar bar("backtest");
  const auto result = Backtest(*set, *models, a.options, [&bar](int64_t done, int64_t total) {
    bar.Show(done, total, fmt::format("origin {} of {}", done, total));
  });
  if (!result.ok()) return result.status();
  if (a.json) {
    PrintJson(*set, a, *result);
  } else {
    PrintTable(*set, *result);
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
  command.add_option("--stride", arguments->options.stride_steps, "Steps between two origins")
      ->capture_default_str();
  command.add_option("--horizon", arguments->options.horizon_steps, "Steps; 0 = an hour")
      ->capture_default_str();
  command
      .add_option("--window", arguments->options.window_steps, "Steps of history for the models")
      ->capture_default_str();
  command.add_flag("--json", arguments->json, "Print the scores as JSON");
  SetRun(command, [arguments] { return Run(*arguments); });
}

}  // namespace foreshadow::training
