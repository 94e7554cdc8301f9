// The figures of a policy over worlds that differ in their seed alone.
#pragma once

#include <string>
#include <vector>

#include "training/simulate/study.h"

namespace foreshadow::training {

// How many overloads something was in time for. Percents are 0 where there is none to count.
struct Coverage {
  int64_t episodes = 0;
  int64_t in_time = 0;
  int64_t foreseeable = 0;
  int64_t foreseeable_in_time = 0;

  void Add(const Episode& episode, bool was_in_time);
  double percent() const;
  double foreseeable_percent() const;
  double of_foreseeable_percent() const;  // of those alone, how many in time
};

struct Row {
  std::string policy;
  Setting setting;  // its seed has no meaning
  int64_t worlds = 0;
  double cost = 0;  // J, mean of the worlds
  Interval skill;
  double unserved_percent = 0;      // U
  double overload_min = 0;          // OM, per 1,000 cell-hours
  double nearly_min = 0;            // OM90
  double account_overload_min = 0;  // AOM, per 1,000 account-hours
  double tail_percent = 0;          // TAIL
  double episode_p99_min = 0;
  double shadow_percent = 0;     // SH, of the demand in core-hours
  double moves = 0;              // MV, per 100 account-days
  double ping_pong_percent = 0;  // PP
  double false_percent = 0;      // FP
  Coverage recall;               // REC
  Coverage relief;               // REL, of the episodes of none: covered or prevented
  double lead_p10_min = 0;
  double lead_p50_min = 0;
  Reliability within_15;
  Reliability within_60;
  double slowdown_mean = 0;
  double slowdown_p99 = 0;
  double time_over_full_percent = 0;    // SLATAH
  double copy_degradation_percent = 0;  // PDM
  double energy_kwh = 0;
  double esv = 0;  // energy, SLATAH and PDM multiplied, these two as shares
  int64_t created = 0;
  int64_t broken = 0;
  double seconds = 0;
};

// In the order of the results.
std::vector<Row> Summarize(const std::vector<WorldResult>& results);

// Whether the first policy is still cheaper than the second, in the mean of all worlds, with each
// price four times as high and four times as low.
struct PriceCheck {
  int held = 0;
  int of = 0;
};
PriceCheck CheckPrices(const std::vector<WorldResult>& results, const std::string& better,
                       const std::string& worse);

}  // namespace foreshadow::training
