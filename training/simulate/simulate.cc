#include "training/simulate/simulate.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "absl/strings/str_split.h"
#include "models/registry.h"
#include "service/config/config.h"
#include "training/command.h"
#include "training/io/text_writer.h"
#include "training/io/trace.h"
#include "training/simulate/report.h"
#include "training/simulate/study.h"
#include "training/simulate/summary.h"
#include "training/train/progress_bar.h"

namespace foreshadow::training {
namespace {

struct Options {
  std::vector<std::string> traces;
  std::vector<std::string> policies = {"all"};
  std::vector<double> headrooms = {1.25, 1.4, 1.6, 2.0};
  std::vector<double> create_min = {2};
  std::vector<int> budgets = {20};
  int seeds = 5;
  uint64_t first_seed = 1;
  double warm_hours = 2;
  int64_t shuffle_min = 0;
  std::string regime;
  int regime_accounts = 400;
  double regime_days = 1;
  Telemetry telemetry;
  StudyOptions study;
  std::string model_folder;
  std::vector<std::string> changes;
  std::string json;
  std::string page;
};

std::vector<std::string> ChosenPolicies(const std::vector<std::string>& names) {
  std::vector<std::string> chosen;
  for (const std::string& name : names) {
    if (name != "all") {
      chosen.push_back(name);
      continue;
    }
    for (const Policy& policy : Policies()) chosen.push_back(policy.name);
  }
  return chosen;
}

absl::StatusOr<Trace> Load(const Options& o, const std::string& path) {
  if (!o.regime.empty()) {
    const auto steps = static_cast<int64_t>(o.regime_days * 288);
    return MakeRegime(o.regime == "steps" ? Regime::kSteps : Regime::kCrowds, o.regime_accounts,
                      steps, o.first_seed);
  }
  auto trace = ReadTrace(path);
  if (trace.ok() && o.shuffle_min > 0) {
    ShuffleBlocks(*trace, std::max<int64_t>(1, o.shuffle_min * 60'000 / trace->step_ms),
                  o.first_seed);
  }
  return trace;
}

absl::Status Run(Options& o) {
  if (o.traces.empty() == o.regime.empty())
    return UsageError("one of --trace and --regime is needed");
  if (!o.regime.empty()) o.traces = {"synthetic " + o.regime};
  o.study.policies = ChosenPolicies(o.policies);
  models::RankedModels ranked =
      models::LoadModels(o.model_folder.empty() ? models::InstalledModels() : o.model_folder);
  o.study.models = std::move(ranked.models);
  std::vector<SettingChange> changes;
  for (const std::string& change : o.changes) {
    const std::vector<std::string> parts = absl::StrSplit(change, absl::MaxSplits('=', 1));
    if (parts.size() != 2) return UsageError("--set " + change + ": must be KEY=VALUE");
    changes.push_back({.key = parts[0], .value = parts[1], .reason = "", .changed_ms = 0});
  }
  auto changed = ChangeSettings(changes, o.study.core);
  if (!changed.ok()) return changed.status();
  o.study.core = *std::move(changed);
  for (const double headroom : o.headrooms) {
    for (const double minutes : o.create_min) {
      for (const int budget : o.budgets) {
        for (int s = 0; s < o.seeds; ++s) {
          o.study.settings.push_back({headroom, static_cast<int64_t>(minutes * 60'000), budget,
                                      o.first_seed + static_cast<uint64_t>(s)});
        }
      }
    }
  }
  ReportContext context;
  std::vector<WorldResult> results;
  for (const std::string& path : o.traces) {
    const auto trace = Load(o, path);
    if (!trace.ok()) return trace.status();
    const Demand demand = MakeDemand(*trace, o.telemetry);
    o.study.first_step =
        std::min(demand.steps, static_cast<int64_t>(o.warm_hours * 3'600'000) / demand.step_ms);
    ProgressBar bar("simulate " + path);
    auto ran = RunStudy(demand, o.study, [&](int64_t done, int64_t total, const std::string& note) {
      bar.Show(done, total, note);
    });
    if (!ran.ok()) return ran.status();
    results.insert(results.end(), ran->begin(), ran->end());
    context.traces.push_back(path);
    context.accounts += demand.count();
    context.steps = demand.steps;
    context.step_ms = demand.step_ms;
    context.first_step = o.study.first_step;
    context.cells = (*ran)[0].cells;
  }
  const auto ran = [&](const std::string& name) {
    return std::ranges::find(results, name, &WorldResult::policy) != results.end();
  };
  const PriceCheck check = CheckPrices(results, "foreshadow", "reactive");
  if (ran("foreshadow") && ran("reactive"))
    context.notes.push_back(fmt::format(
        "foreshadow is cheaper than reactive in {} of {} settings of the prices, each four "
        "times as high and as low",
        check.held, check.of));
  context.notes.insert(context.notes.end(), ranked.notes.begin(), ranked.notes.end());
  if (!o.page.empty()) {
    if (absl::Status s = WritePage(context, results, o.page); !s.ok()) return s;
  }
  if (!o.json.empty() && o.json != "-") {
    auto writer = TextWriter::Create(o.json);
    if (!writer.ok()) return writer.status();
    if (absl::Status s = writer->Write(ReportJson(context, results)); !s.ok()) return s;
    if (absl::Status s = writer->Close(); !s.ok()) return s;
  }
  if (o.json == "-") {
    fmt::print("{}", ReportJson(context, results));
  } else {
    PrintTable(context, results);
  }
  return absl::OkStatus();
}

}  // namespace

void AddSimulate(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App& command = *app.add_subcommand(
      "simulate",
      "What planner and shadows would have done on a trace, beside what people run today:\n"
      "the same engine under simulated time, in cells that take their time and sometimes fail.\n"
      "docs/simulator.md tells the world, the policies and the figures.");
  command.add_option("--trace", o->traces, "Trace CSV; of several, each is a study of its own")
      ->check(CLI::ExistingFile);
  command.add_option("--policy", o->policies, "Names, with commas between, or \"all\"")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--headroom", o->headrooms, "Capacity of the cells over the mean demand")
      ->delimiter(',')
      ->check(CLI::Range(0.1, 100.0))
      ->capture_default_str();
  command.add_option("--create-min", o->create_min, "Minutes until a shadow is created")
      ->delimiter(',')
      ->check(CLI::Range(0.0, 1'440.0))
      ->capture_default_str();
  command.add_option("--budget", o->budgets, "Shadows begun in one tick, at most")
      ->delimiter(',')
      ->check(CLI::Range(0, 100'000))
      ->capture_default_str();
  command.add_option("--cells", o->study.cells, "Cells; 0 = one for every 20 accounts")
      ->check(CLI::Range(0, 100'000))
      ->capture_default_str();
  command.add_option("--seeds", o->seeds, "Placements of the accounts")
      ->check(CLI::Range(1, 10'000))
      ->capture_default_str();
  command.add_option("--first-seed", o->first_seed, "Of the placements")->capture_default_str();
  command.add_option("--warm-hours", o->warm_hours, "The first hours are not scored")
      ->check(CLI::Range(0.0, 10'000.0))
      ->capture_default_str();
  command
      .add_option("--shuffle-min", o->shuffle_min,
                  "Shuffle each account's blocks of so many minutes: what is foreseeable beyond "
                  "them goes (0 = leave the trace as it is)")
      ->check(CLI::Range(0, 100'000))
      ->capture_default_str();
  command.add_option("--regime", o->regime, "Made-up demand that nothing foretells, not a trace")
      ->check(CLI::IsMember({"steps", "crowds"}));
  command.add_option("--noise", o->telemetry.noise, "Error of measurement, share of the value")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command.add_option("--missing", o->telemetry.missing, "Share of samples that never come")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command.add_option("--delay-steps", o->telemetry.delay_steps, "Samples come that late")
      ->check(CLI::Range(0, 12))
      ->capture_default_str();
  command.add_option("--failures", o->study.failure_chance, "Chance that a create or resume fails")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command.add_option("--outages", o->study.outages_per_cell_day, "Outages of a cell a day")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  command
      .add_option("--set", o->changes,
                  "A setting of the server, as in its configuration file: plan.gain_min=1; "
                  "repeatable")
      ->take_all();
  command.add_option("--model-folder", o->model_folder,
                     "Folder of the trained models; left out, the ones installed with the program");
  command.add_flag(
      "--live", o->study.live,
      "Each world analyses and forecasts by itself, as a server does; slower, the same");
  command.add_option("--json", o->json,
                     "Write the figures as JSON to this file, \"-\" = print them");
  command.add_option("--out", o->page, "Write a page with tables and pictures to this .html");
  SetRun(command, [o] { return Run(*o); });
}

}  // namespace foreshadow::training
