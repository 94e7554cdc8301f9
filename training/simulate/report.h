// Tables, JSON and the page of a study.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "training/simulate/study.h"

namespace foreshadow::training {

struct ReportContext {
  std::vector<std::string> traces;
  int64_t accounts = 0;
  int64_t steps = 0;
  int64_t step_ms = 0;
  int64_t first_step = 0;
  int64_t cells = 0;
  std::vector<std::string> notes;
};

void PrintTable(const ReportContext& context, const std::vector<WorldResult>& results);
std::string ReportJson(const ReportContext& context, const std::vector<WorldResult>& results);
// Self-contained, with the pictures inside; needs gnuplot.
absl::Status WritePage(const ReportContext& context, const std::vector<WorldResult>& results,
                       const std::string& path);

}  // namespace foreshadow::training
