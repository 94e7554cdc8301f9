#include "training/decompose/decompose.h"

#include <fmt/core.h>

#include <charconv>
#include <cmath>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "kernels/ops.h"
#include "training/command.h"
#include "training/io/csv.h"
#include "training/patterns/print.h"
#include "training/workspace.h"

namespace foreshadow::training {
namespace {

using kernels::SeriesStatus;
using kernels::StepMajor;

struct Options {
  std::string input;
  std::string seasonal = "periodic";
  kernels::StlParams params;
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

// The parts of all series, with the memory they lie in.
struct Parts {
  std::vector<float> seasonal, trend, remainder, weights;
  std::vector<SeriesStatus> status;
};

Parts Decompose(const WideTable& table, const kernels::StlParams& params) {
  const kernels::Ops& ops = kernels::CpuOps();
  Parts parts;
  const auto series = static_cast<size_t>(table.series());
  for (auto* part : {&parts.seasonal, &parts.trend, &parts.remainder, &parts.weights}) {
    part->resize(table.values.size());
  }
  parts.status.resize(series);
  const auto view = [&](std::vector<float>& values) {
    return StepMajor<float>{values.data(), table.steps, table.series(), table.series()};
  };
  Workspace workspace(ops.stl_workspace_bytes(params, table.steps, table.series()));
  ops.stl({params, table.view(), view(parts.seasonal), view(parts.trend), view(parts.remainder),
           view(parts.weights), parts.status, workspace.span()});
  return parts;
}

std::string Field(float value) { return std::isnan(value) ? "" : fmt::format("{:.9g}", value); }

void PrintCsv(const WideTable& table, const Parts& parts) {
  fmt::print("series,index,observed,seasonal,trend,remainder,weight\n");
  for (int64_t s = 0; s < table.series(); ++s) {
    const std::string name = CsvField(table.names[s]);
    for (int64_t i = 0; i < table.steps; ++i) {
      const auto at = static_cast<size_t>(i * table.series() + s);
      fmt::print("{},{},{},{},{},{},{}\n", name, i, Field(table.values[at]),
                 Field(parts.seasonal[at]), Field(parts.trend[at]), Field(parts.remainder[at]),
                 Field(parts.weights[at]));
    }
  }
}

void PrintJson(const WideTable& table, const Parts& parts) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (int64_t s = 0; s < table.series(); ++s) {
    const auto column = [&](const std::vector<float>& values) {
      nlohmann::ordered_json list = nlohmann::ordered_json::array();
      for (int64_t i = 0; i < table.steps; ++i) {
        const float value = values[static_cast<size_t>(i * table.series() + s)];
        list.push_back(std::isnan(value) ? nlohmann::ordered_json()
                                         : nlohmann::ordered_json(value));
      }
      return list;
    };
    all.push_back({{"series", table.names[s]},
                   {"status", Words(parts.status[s])},
                   {"observed", column(table.values)},
                   {"seasonal", column(parts.seasonal)},
                   {"trend", column(parts.trend)},
                   {"remainder", column(parts.remainder)},
                   {"weight", column(parts.weights)}});
  }
  fmt::print("{}\n", all.dump());
}

absl::Status Run(const Options& options) {
  const auto table = ReadWideCsv(options.input);
  if (!table.ok()) return table.status();
  kernels::StlParams params = options.params;
  if (absl::Status status = ReadSeasonal(options.seasonal, params); !status.ok()) return status;
  const std::string wrong(kernels::CpuOps().stl_check(params, table->steps));
  if (!wrong.empty()) {
    return UsageError(fmt::format("{} ({} steps in {})", wrong, table->steps, options.input));
  }
  const Parts parts = Decompose(*table, params);
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
  return absl::OkStatus();
}

}  // namespace

void AddDecompose(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "decompose", "Split each column into season, trend and remainder (STL, with R's defaults)");
  auto o = std::make_shared<Options>();
  kernels::StlParams& p = o->params;
  command->add_option("input", o->input, "Wide CSV: a header, a column a series, empty = missing")
      ->required();
  command->add_option("--period", p.period, "Samples a season")->required();
  command->add_option("--seasonal", o->seasonal, "Loess window in seasons, odd, or 'periodic'")
      ->capture_default_str();
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
  command->add_flag("--json", o->json, "Print JSON");
  SetRun(*command, [o] { return Run(*o); });
}

}  // namespace foreshadow::training
