// Open-loop load: calls begin at fixed times, whatever became of those before, and each is timed
// from when it was meant to begin. A server that stalls is so charged for every call that it kept
// waiting, and not only for the one that it was at (coordinated omission).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace foreshadow::training {

struct LoadOptions {
  double per_s = 1;      // calls, at the beginning
  double per_s_end = 0;  // at the end, in between along a line; 0 = the same
  double seconds = 1;    // of calls begun; those under way are waited for
  double warm_up_s = 0;  // first, and not counted
};

struct LoadResult {
  std::string name;
  std::string what;
  double offered_per_s = 0;
  double achieved_per_s = 0;  // answered well, over the time from the first to the last answer
  int64_t calls = 0;
  int64_t failed = 0;
  std::string first_error;
  std::vector<double> latencies_ms;  // ascending, of the calls answered well
  double late_ms = 0;                // what the load tool itself was behind its schedule, at most
  double bytes_per_call = 0;         // of an answer
  double samples_per_s = 0;          // acknowledged; 0 = none were sent

  // The least latency that this share of the calls did not exceed, by the nearest rank; NaN of
  // none.
  double Percentile(double percent) const;
};

// Told once for each call, from any thread.
struct Answered {
  bool ok = false;
  std::string error;
  int64_t bytes = 0;
};
using AnswerTo = std::function<void(const Answered&)>;

// `begin(i, answer)` begins call i and returns at once; it is called on one thread, in order.
LoadResult RunOpenLoop(const LoadOptions& options,
                       const std::function<void(int64_t, AnswerTo)>& begin);

}  // namespace foreshadow::training
