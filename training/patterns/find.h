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
#include "training/io/trace.h"

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

// How the mutation rates of the accounts of an application, taken together, lead a resource.
struct PooledLead {
  std::string application;
  std::string resource;
  kernels::SeriesStatus status = kernels::SeriesStatus::kOk;
  int32_t accounts = 0;  // of whom there was enough to judge
  int32_t lag = 0;       // steps by which the mutation rates are ahead
  float correlation = 0;
  float p_value = 1;
  float heterogeneity = 0;          // Cochran's Q: how far the accounts disagree
  float heterogeneity_p_value = 1;  // of accounts that share one correlation
};

struct TracePatterns {
  std::vector<Patterns> series;    // [account][signal]; leads are of the account's mutation rate
  std::vector<PooledLead> pooled;  // by application and resource; unknown applications left out
};

// One entry a column, in the table's order. NOT_FOUND when the leader is no column.
absl::StatusOr<std::vector<Patterns>> FindPatterns(const WideTable& table,
                                                   const PatternOptions& options);

// A trace as a table of columns "account.signal".
WideTable TableOf(const Trace& trace);

// The same for a trace. With a leader, it alone leads, and nothing is pooled.
absl::StatusOr<TracePatterns> FindPatterns(const Trace& trace, const WideTable& table,
                                           const PatternOptions& options);

}  // namespace foreshadow::training
