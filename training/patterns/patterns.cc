#include "training/patterns/patterns.h"

#include <fmt/core.h>

#include <cstdio>
#include <memory>
#include <utility>

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

absl::Status Print(const Options& options, const WideTable& table, const TracePatterns& found) {
  fmt::print("{}", options.json ? PatternsJson(table, found.series, found.pooled)
                                : PatternsCsv(table, found.series, found.pooled));
  for (const Patterns& patterns : found.series) {
    if (patterns.status == kernels::SeriesStatus::kOk) continue;
    fmt::print(stderr, "{}: nothing is found in series {}: {}\n", options.input, patterns.name,
               Words(patterns.status));
  }
  return options.plot.empty() ? absl::OkStatus() : PlotPatterns(table, found.series, options.plot);
}

absl::Status OfTable(const Options& options) {
  const auto table = ReadWideCsv(options.input);
  if (!table.ok()) return table.status();
  auto found = FindPatterns(*table, options.find);
  if (!found.ok()) return found.status();
  return Print(options, *table, {*std::move(found), {}});
}

absl::Status OfTrace(const Options& options) {
  const auto trace = ReadTrace(options.input);
  if (!trace.ok()) return trace.status();
  const WideTable table = TableOf(*trace);
  const auto found = FindPatterns(*trace, table, options.find);
  if (!found.ok()) return found.status();
  return Print(options, table, *found);
}

absl::Status Run(const Options& options) {
  if (!options.plot.empty() && !IsPictureName(options.plot)) {
    return UsageError(fmt::format("--plot {}: must end in .svg or .png", options.plot));
  }
  const auto is_trace = IsTrace(options.input);
  if (!is_trace.ok()) return is_trace.status();
  return *is_trace ? OfTrace(options) : OfTable(options);
}

}  // namespace

void AddPatterns(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "patterns",
      "Find periods, spikes, level shifts and leads in each column: CSV, or JSON with --json");
  auto o = std::make_shared<Options>();
  PatternOptions& p = o->find;
  const auto chance = CLI::Range(1e-9, 0.5);
  command
      ->add_option("input", o->input,
                   "Wide CSV: a header, a column a series, empty = missing; or a trace, of "
                   "which mutation rates are correlated with resources, each account's and "
                   "all of an application's")
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
