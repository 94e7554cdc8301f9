// What is found in each column of a wide table: periods, spikes beyond season and trend, shifts of
// the level, and how far one column runs ahead of the others. Main thread only; values in, values
// out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/ops.h"
#include "training/io/csv.h"

namespace foreshadow::training {

struct PatternOptions {
  int max_periods = 3;
  int max_period = 0;                // steps; 0 = half the length
  double significance = 0.01;        // chance that noise alone yields a period
  double false_alarms = 1e-4;        // chance that a step of noise is called a spike
  double shift_false_alarms = 0.01;  // chance that a column of noise shows a level shift; 0 = none
  std::string leader;                // column held against all others; empty = no correlation
  int max_lag = 12;                  // steps
};

struct Period {
  int32_t steps = 0;
  float strength = 0;  // autocorrelation at the period
};

// How the leader's past correlates with a column.
struct Lead {
  kernels::SeriesStatus status = kernels::SeriesStatus::kOk;
  int32_t lag = 0;  // steps by which the leader is ahead
  float correlation = 0;
  float p_value = 1;
};

struct Patterns {
  std::string name;
  kernels::SeriesStatus status = kernels::SeriesStatus::kOk;        // of the search for periods
  kernels::SeriesStatus noise_status = kernels::SeriesStatus::kOk;  // of the search for events
  std::vector<Period> periods;                                      // strongest first
  float scale = 0;                     // robust standard deviation of what season and trend leave
  float threshold = 0;                 // height that counts as a spike
  std::vector<kernels::Event> events;  // in order of onset
  bool has_lead = false;
  Lead lead;
};

// One entry a column, in the table's order. NOT_FOUND when the leader is no column.
absl::StatusOr<std::vector<Patterns>> FindPatterns(const WideTable& table,
                                                   const PatternOptions& options);

}  // namespace foreshadow::training
