#include "training/decompose/decompose.h"

#include <fmt/core.h>

#include <charconv>
#include <cstdio>
#include <memory>

#include "kernels/ops.h"
#include "training/command.h"
#include "training/decompose/print.h"
#include "training/io/csv.h"
#include "training/io/gnuplot.h"
#include "training/patterns/print.h"
#include "training/workspace.h"

namespace foreshadow::training {
namespace {

using kernels::SeriesStatus;
using kernels::StepMajor;

struct Options {
  std::string input;
  std::vector<int> periods;
  std::vector<std::string> seasonal;  // as many as periods, or none
  kernels::StlParams params;          // what is the same for all periods
  int iterations = 2;
  std::string plot;
  std::string plot_series;
  bool json = false;
};

absl::Status ReadSeasonal(const std::string& text, kernels::StlParams& params) {
  if (text == "periodic") {
    params.seasonal_window = kernels::kPeriodic;
    return absl::OkStatus();
  }
  int window = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), window);
  if (error != std::errc() || end != text.data() + text.size() || window < 3 || window % 2 == 0) {
    return UsageError(fmt::format(
        "--seasonal {}: must be 'periodic' or an odd whole number of at least 3", text));
  }
  params.seasonal_window = window;
  return absl::OkStatus();
}

// One set of parameters a period. Without --seasonal a single season is periodic; of several, each
// window is wider than the one before, as in R's mstl().
absl::Status ReadSeasons(const Options& options, std::vector<kernels::StlParams>& seasons) {
  if (!options.seasonal.empty() && options.seasonal.size() != options.periods.size()) {
    return UsageError(fmt::format("--seasonal has {} values, --period {}: give one for each",
                                  options.seasonal.size(), options.periods.size()));
  }
  for (size_t i = 0; i < options.periods.size(); ++i) {
    kernels::StlParams params = options.params;
    params.period = options.periods[i];
    if (!options.seasonal.empty()) {
      if (absl::Status status = ReadSeasonal(options.seasonal[i], params); !status.ok()) {
        return status;
      }
    } else if (options.periods.size() > 1) {
      params.seasonal_window = 11 + 4 * static_cast<int>(i);
    }
    seasons.push_back(params);
  }
  return absl::OkStatus();
}

Parts Decompose(const WideTable& table, const Options& options,
                std::span<const kernels::StlParams> seasons) {
  const kernels::Ops& ops = kernels::CpuOps();
  const auto make = [&](std::vector<float>& values) {
    values.resize(table.values.size());
    return StepMajor<float>{values.data(), table.steps, table.series(), table.series()};
  };
  Parts parts;
  parts.periods = options.periods;
  parts.seasonal.resize(seasons.size());
  parts.status.resize(static_cast<size_t>(table.series()));
  kernels::MstlArgs args;
  args.seasons = seasons;
  args.iterations = options.iterations;
  args.observed = table.view();
  for (size_t k = 0; k < seasons.size(); ++k) args.seasonal[k] = make(parts.seasonal[k]);
  args.trend = make(parts.trend);
  args.remainder = make(parts.remainder);
  args.weights = make(parts.weight);
  args.status = parts.status;
  Workspace workspace(ops.mstl_workspace_bytes(args));
  args.workspace = workspace.span();
  ops.mstl(args);
  return parts;
}

absl::Status Run(const Options& options) {
  if (!options.plot.empty() && !IsPictureName(options.plot)) {
    return UsageError(fmt::format("--plot {}: must end in .svg or .png", options.plot));
  }
  std::vector<kernels::StlParams> seasons;
  if (absl::Status status = ReadSeasons(options, seasons); !status.ok()) return status;
  const auto table = ReadWideCsv(options.input);
  if (!table.ok()) return table.status();
  const std::string wrong(kernels::CpuOps().mstl_check(seasons, table->steps));
  if (!wrong.empty()) {
    return UsageError(fmt::format("{} ({} steps in {})", wrong, table->steps, options.input));
  }
  const Parts parts = Decompose(*table, options, seasons);
  if (options.json) {
    PrintJson(*table, parts);
  } else {
    PrintCsv(*table, parts);
  }
  for (size_t s = 0; s < parts.status.size(); ++s) {
    if (parts.status[s] == SeriesStatus::kOk) continue;
    fmt::print(stderr, "{}: series {} is not decomposed: {}\n", options.input, table->names[s],
               Words(parts.status[s]));
  }
  return options.plot.empty() ? absl::OkStatus()
                              : PlotParts(*table, parts, options.plot_series, options.plot);
}

}  // namespace

void AddDecompose(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "decompose",
      "Split each column into season, trend and remainder: STL, or MSTL of several periods");
  auto o = std::make_shared<Options>();
  kernels::StlParams& p = o->params;
  command->add_option("input", o->input, "Wide CSV: a header, a column a series, empty = missing")
      ->required();
  command->add_option("--period", o->periods, "Samples a season; several, ascending: 288,2016")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->required();
  command
      ->add_option("--seasonal", o->seasonal,
                   "Loess window in seasons, odd, or 'periodic', one a period; default: periodic, "
                   "and 11,15,... for several periods")
      ->delimiter(',')
      ->allow_extra_args(false);
  command->add_option("--seasonal-degree", p.seasonal_degree, "0 or 1")->capture_default_str();
  command->add_option("--seasonal-jump", p.seasonal_jump, "Default: a tenth of the window");
  command->add_option("--trend", p.trend_window, "Loess window, odd; default as in R");
  command->add_option("--trend-degree", p.trend_degree, "0 or 1")->capture_default_str();
  command->add_option("--trend-jump", p.trend_jump, "Default: a tenth of the window");
  command->add_option("--low-pass", p.low_pass_window, "Loess window, odd; default: the period");
  command->add_option("--low-pass-degree", p.low_pass_degree, "Default: the trend's");
  command->add_option("--low-pass-jump", p.low_pass_jump, "Default: a tenth of the window");
  command->add_option("--inner", p.inner, "Inner loops; default 2, robust 1");
  command->add_option("--outer", p.outer, "Robustness loops; default 0, robust 15");
  command->add_flag("--robust", p.robust, "Give outliers little weight");
  command->add_option("--iterations", o->iterations, "Passes over several periods")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--plot", o->plot, "Also draw the parts of a series: FILE.svg or FILE.png");
  command->add_option("--plot-series", o->plot_series, "The series to draw; default: the first");
  command->add_flag("--json", o->json, "Print JSON");
  SetRun(*command, [o] { return Run(*o); });
}

}  // namespace foreshadow::training
