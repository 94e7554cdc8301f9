#include "training/patterns/patterns.h"

#include <fmt/core.h>

#include <cstdio>
#include <memory>

#include "training/command.h"
#include "training/io/gnuplot.h"
#include "training/patterns/find.h"
#include "training/patterns/print.h"

namespace foreshadow::training {
namespace {

struct Options {
  std::string input;
  std::string plot;
  PatternOptions find;
  bool json = false;
};

absl::Status Run(const Options& options) {
  if (!options.plot.empty() && !IsPictureName(options.plot)) {
    return UsageError(fmt::format("--plot {}: must end in .svg or .png", options.plot));
  }
  const auto table = ReadWideCsv(options.input);
  if (!table.ok()) return table.status();
  const auto found = FindPatterns(*table, options.find);
  if (!found.ok()) return found.status();
  fmt::print("{}", options.json ? PatternsJson(*table, *found) : PatternsCsv(*table, *found));
  for (const Patterns& patterns : *found) {
    if (patterns.status == kernels::SeriesStatus::kOk) continue;
    fmt::print(stderr, "{}: nothing is found in series {}: {}\n", options.input, patterns.name,
               Words(patterns.status));
  }
  return options.plot.empty() ? absl::OkStatus() : PlotPatterns(*table, *found, options.plot);
}

}  // namespace

void AddPatterns(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "patterns",
      "Find periods, spikes, level shifts and leads in each column: CSV, or JSON with --json");
  auto o = std::make_shared<Options>();
  PatternOptions& p = o->find;
  const auto chance = CLI::Range(1e-9, 0.5);
  command->add_option("input", o->input, "Wide CSV: a header, a column a series, empty = missing")
      ->required();
  command->add_option("--max-periods", p.max_periods, "Periods kept a series, strongest first")
      ->check(CLI::Range(1, 16))
      ->capture_default_str();
  command->add_option("--max-period", p.max_period, "Longest period, steps; 0 = half the length")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--significance", p.significance, "Chance that noise alone yields a period")
      ->check(chance)
      ->capture_default_str();
  command
      ->add_option("--false-alarms", p.false_alarms,
                   "Chance that a step of noise is called a spike")
      ->check(chance)
      ->capture_default_str();
  command
      ->add_option("--shift-false-alarms", p.shift_false_alarms,
                   "Chance that a column of noise shows a level shift; 0 = seek none")
      ->check(CLI::Range(0.0, 0.5))
      ->capture_default_str();
  command->add_option(
      "--leader", p.leader,
      "Column to correlate with the others so many steps later, e.g. mutation_rate");
  command->add_option("--max-lag", p.max_lag, "Largest lag tried for --leader, steps")
      ->check(CLI::Range(0, 10'000))
      ->capture_default_str();
  command->add_option("--plot", o->plot,
                      "Also draw the series and its events: FILE.svg or FILE.png");
  command->add_flag("--json", o->json, "Print JSON");
  SetRun(*command, [o] { return Run(*o); });
}

}  // namespace foreshadow::training
