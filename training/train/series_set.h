// Many series on one time grid, in memory: what training and backtests work on. Plain data.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/series.h"
#include "models/forecaster.h"

namespace foreshadow::training {

struct SeriesSet {
  int64_t start_ms = 0;  // Unix time of the first step
  int64_t step_ms = 0;
  int64_t steps = 0;
  std::vector<models::SignalKind> signals;  // [series]
  std::vector<std::string> accounts;        // [series]
  std::vector<int32_t> applications;        // [series] in the names, -1 = unknown
  std::vector<std::string> application_names;
  std::vector<float> values;         // [steps][series], NaN = missing
  std::vector<int64_t> file_starts;  // [file] first step of each trace read

  int64_t series() const { return static_cast<int64_t>(signals.size()); }
  int64_t TimeMs(int64_t step) const { return start_ms + step * step_ms; }

  // The steps [begin, end), without a copy.
  kernels::StepMajor<const float> Slice(int64_t begin, int64_t end) const {
    return {values.data() + begin * series(), end - begin, series(), series()};
  }
};

// Reads traces that follow each other in time as one; steps between them and series that one of
// them lacks are missing, series without any sample are left out. Errors as ReadTrace's, and
// INVALID_ARGUMENT naming the file whose step differs, or that starts before its predecessor ends.
absl::StatusOr<SeriesSet> ReadSeries(std::span<const std::string> paths);

// Reads traces into as few sets as they make: one that goes on after the one before it, with at
// least one of its accounts, continues that set, any other begins a new one. Errors as ReadTrace's,
// and INVALID_ARGUMENT naming the file whose step differs.
absl::StatusOr<std::vector<SeriesSet>> ReadSeriesSets(std::span<const std::string> paths);

}  // namespace foreshadow::training
