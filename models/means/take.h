// Histories at a model's own interval, of the means of finer ones.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/forecaster.h"

namespace foreshadow::models {

// A history and what its spans point into.
struct Means {
  std::vector<float> values;
  std::vector<int32_t> periods;
  std::vector<Driver> drivers;
  History history;
};

// The newest `rows` means of `count` steps each, the last of which ends with the history. `fine`
// must outlive the result.
void TakeMeans(const History& fine, int64_t count, int64_t rows, Means& means);

// [series] the mean of the samples among the `count` steps before the step `end`; NaN = there are
// none.
void TakeMean(kernels::StepMajor<const float> fine, int64_t count, int64_t end,
              std::span<float> mean);

// A driver's lead in means of `count` steps; without a driver where that is none.
Driver InMeans(Driver driver, int64_t count);

// The history without its last steps.
History Without(const History& history, int64_t last_steps);

// Steps that follow the newest end of an interval of `own_ms`, by the clock.
int64_t StepsPastEnd(const History& history, int64_t own_ms);

}  // namespace foreshadow::models
