// What a surprise leaves behind. An account that has just risen above all that was foreseen of it
// is taken by the forecasts for one whose rises end as they always did; where crowds come out of
// nothing and stay for a while, they are wrong every time anew. What surprises left, beyond what
// was foreseen when they came, is learned over all accounts together and added to the forecasts of
// those that stand.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "service/forecast/forecast.h"
#include "service/plan/demand.h"
#include "service/tick/types.h"

namespace foreshadow {

// Learned anew after a restart: until then the forecasts are believed, as where nothing surprises.
struct SurpriseMemory {
  struct Surprise {
    int32_t account = 0;
    int32_t resource = 0;
    int64_t since_ms = 0;         // the step in which it came
    double base = 0;              // the median that was foreseen for that step
    double rise = 0;              // what came, less that
    std::vector<float> foreseen;  // [step] after it, the mean when it came
  };
  std::vector<Surprise> open;  // not yet as old as the horizon, oldest first
  // Over surprises, newer ones weighing more. [resource][steps after it, less 1]
  struct Sums {
    double left = 0;    // what came beyond what was foreseen
    double rise = 0;    // of the same surprises
    double square = 0;  // of their rises: how many they are, were they alike
  };
  std::array<std::array<Sums, kHorizonStepsMax>, kResources> sums{};
  // What was said at `made_at_ms` of the step after it. [account * kResources + resource]
  std::vector<float> median;
  std::vector<float> highest;  // the 0.99 quantile; NaN = nothing, or a point
  int64_t made_at_ms = 0;
};

// Share of a rise that is there so many steps (1..) after it beyond what was foreseen: 0..1, 0
// where nothing is known.
double ShareLeft(const SurpriseMemory& memory, int resource, int steps_after);

// Learns from the demand of `now_ms`, [account], and notes whom it surprised; `table` is what is
// foreseen now. A point surprises nobody: whoever gives it does not say how far off it may be; nor
// does a rise that is next to nothing to its cell.
void FollowSurprises(const Fleet& fleet, const std::vector<Resources>& demand,
                     const ForecastTable& table, int64_t now_ms, int64_t step_ms,
                     SurpriseMemory& memory);

// Raises the forecasts of accounts whose surprise stands, by what such surprises leave, but never
// beyond what came. Returns these accounts, ascending.
std::vector<int32_t> AddSurprises(const SurpriseMemory& memory,
                                  const std::vector<Resources>& demand, int64_t now_ms,
                                  int64_t step_ms, AccountForecasts& forecasts);

}  // namespace foreshadow
