// What a decomposition looks like: CSV, JSON, a picture.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "kernels/series.h"
#include "training/io/csv.h"

namespace foreshadow::training {

// The parts of all series of a table, each [steps][series] like the table's own values.
struct Parts {
  std::vector<int> periods;
  std::vector<std::vector<float>> seasonal;  // one a period
  std::vector<float> trend, remainder, weight;
  std::vector<kernels::SeriesStatus> status;  // [series]
};

// Prints to stdout, a row a series and step. The season is the column `seasonal`, or `seasonal_P`
// for each of several periods P.
void PrintCsv(const WideTable& table, const Parts& parts);
// Prints an array to stdout, an object a series.
void PrintJson(const WideTable& table, const Parts& parts);

// Draws each part of the series `name`, or of the first that was decomposed where it is empty.
absl::Status PlotParts(const WideTable& table, const Parts& parts, const std::string& name,
                       const std::string& path);

}  // namespace foreshadow::training
