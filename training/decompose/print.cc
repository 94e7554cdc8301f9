#include "training/decompose/print.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "training/io/gnuplot.h"
#include "training/patterns/print.h"

namespace foreshadow::training {
namespace {

using kernels::SeriesStatus;

// A part with the name of its column.
struct Column {
  std::string name;
  const std::vector<float>* values;
};

std::vector<Column> ColumnsOf(const WideTable& table, const Parts& parts) {
  std::vector<Column> columns = {{"observed", &table.values}};
  for (size_t k = 0; k < parts.periods.size(); ++k) {
    const bool single = parts.periods.size() == 1;
    columns.push_back(
        {single ? "seasonal" : fmt::format("seasonal_{}", parts.periods[k]), &parts.seasonal[k]});
  }
  columns.push_back({"trend", &parts.trend});
  columns.push_back({"remainder", &parts.remainder});
  columns.push_back({"weight", &parts.weight});
  return columns;
}

std::string Field(float value) { return std::isnan(value) ? "" : fmt::format("{:.9g}", value); }

// Without robustness and gaps all weights are 1: nothing to draw.
bool IsFlat(const Column& column, int64_t s, int64_t series) {
  for (size_t i = static_cast<size_t>(s); i < column.values->size();
       i += static_cast<size_t>(series)) {
    if ((*column.values)[i] != 1) return false;
  }
  return true;
}

// The series to draw.
std::optional<int64_t> Choose(const WideTable& table, const Parts& parts, const std::string& name) {
  for (int64_t s = 0; s < table.series(); ++s) {
    if (!name.empty() && table.names[s] != name) continue;
    if (parts.status[s] == SeriesStatus::kOk) return s;
  }
  return std::nullopt;
}

}  // namespace

void PrintCsv(const WideTable& table, const Parts& parts) {
  const std::vector<Column> columns = ColumnsOf(table, parts);
  std::string header = "series,index";
  for (const Column& column : columns) header += "," + column.name;
  fmt::print("{}\n", header);
  for (int64_t s = 0; s < table.series(); ++s) {
    const std::string name = CsvField(table.names[s]);
    for (int64_t i = 0; i < table.steps; ++i) {
      std::string row = fmt::format("{},{}", name, i);
      for (const Column& column : columns) {
        row += "," + Field((*column.values)[static_cast<size_t>(i * table.series() + s)]);
      }
      fmt::print("{}\n", row);
    }
  }
}

void PrintJson(const WideTable& table, const Parts& parts) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (int64_t s = 0; s < table.series(); ++s) {
    nlohmann::ordered_json one = {{"series", table.names[s]}, {"status", Words(parts.status[s])}};
    for (const Column& column : ColumnsOf(table, parts)) {
      nlohmann::ordered_json list = nlohmann::ordered_json::array();
      for (int64_t i = 0; i < table.steps; ++i) {
        const float value = (*column.values)[static_cast<size_t>(i * table.series() + s)];
        list.push_back(std::isnan(value) ? nlohmann::ordered_json()
                                         : nlohmann::ordered_json(value));
      }
      one[column.name] = std::move(list);
    }
    all.push_back(std::move(one));
  }
  fmt::print("{}\n", all.dump());
}

absl::Status PlotParts(const WideTable& table, const Parts& parts, const std::string& name,
                       const std::string& path) {
  const std::optional<int64_t> s = Choose(table, parts, name);
  if (!s) {
    return absl::InvalidArgumentError(
        name.empty()
            ? fmt::format("--plot {}: no series could be decomposed", path)
            : fmt::format("--plot-series {}: no such series, or it is not decomposed", name));
  }
  std::vector<Column> columns = ColumnsOf(table, parts);
  if (IsFlat(columns.back(), *s, table.series())) columns.pop_back();
  std::string script = fmt::format(
      "set multiplot layout {},1 title {} noenhanced\nset lmargin 12\nset ytics font ',9'\nunset "
      "key\n",
      columns.size(), GnuplotText(table.names[*s]));
  for (const Column& column : columns) {
    const bool is_remainder = column.name == "remainder";
    script += fmt::format("set ylabel {} noenhanced\n$data << EOD\n", GnuplotText(column.name));
    for (int64_t i = 0; i < table.steps; ++i) {
      const float value = (*column.values)[static_cast<size_t>(i * table.series() + *s)];
      script += std::isnan(value) ? "\n" : fmt::format("{} {:.9g}\n", i, value);
    }
    script += fmt::format("EOD\nplot [0:{}] $data with {} linecolor rgb '#1f5fa8'\n", table.steps,
                          is_remainder ? "impulses" : "lines");
  }
  script += "unset multiplot\n";
  return DrawPicture("--plot", path, 1200, 180 * columns.size(), script);
}

}  // namespace foreshadow::training
