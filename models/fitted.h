// What the models share that are fitted to each series anew: which series they take, and a batch of
// them among threads. Pure functions; any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "models/empirical.h"
#include "models/forecaster.h"
#include "models/parallel.h"

namespace foreshadow::models {

inline constexpr int kFittedStepsMax = 2'016;  // a week of 5 min: as far as the hot window looks

// The series' samples from its first one on; empty, with its status written to `out`, where it has
// none (kNoHistory), fewer than ten or none in the last hour (kCannot).
std::span<const float> UsablePast(std::span<const float> column, int64_t step_ms, int64_t series,
                                  QuantileBlock& out);

// The season known of a series, else a day; 0 or 1 = none at this interval.
int64_t SeasonOf(const History& history, int64_t series);

// work(first, last, scratch) for ranges of at most `chunk` series that cover the history, each
// thread with a Scratch of its own. Errors as CheckHistory's.
template <typename Scratch, typename Work>
absl::Status ForecastFitted(const History& history, int steps, int64_t chunk, int threads,
                            QuantileBlock& out, Work work) {
  if (absl::Status status = CheckHistory(history, steps, kFittedStepsMax); !status.ok()) {
    return status;
  }
  out.Resize(history.values.series, steps);
  std::vector<Scratch> scratch(static_cast<size_t>(threads));
  ForChunks(out.series, chunk, threads,
            [&](int64_t first, int64_t last, int worker) { work(first, last, scratch[worker]); });
  return absl::OkStatus();
}

}  // namespace foreshadow::models
