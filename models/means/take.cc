#include "models/means/take.h"

#include <algorithm>
#include <limits>

namespace foreshadow::models {

void TakeMean(kernels::StepMajor<const float> fine, int64_t count, int64_t end,
              std::span<float> mean) {
  constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> seen(mean.size());
  std::ranges::fill(mean, 0.0f);
  for (int64_t t = end - count; t < end; ++t) {
    const float* const samples = &fine.at(t, 0);
    for (size_t s = 0; s < mean.size(); ++s) {
      const bool there = samples[s] == samples[s];
      mean[s] += there ? samples[s] : 0.0f;
      seen[s] += there ? 1.0f : 0.0f;
    }
  }
  for (size_t s = 0; s < mean.size(); ++s) mean[s] = seen[s] > 0 ? mean[s] / seen[s] : kMissing;
}

void TakeMeans(const History& fine, int64_t count, int64_t rows, Means& means) {
  const int64_t series = fine.values.series;
  means.values.resize(static_cast<size_t>(rows * series));
  for (int64_t row = 0; row < rows; ++row) {
    TakeMean(fine.values, count, fine.values.steps - (rows - 1 - row) * count,
             {means.values.data() + row * series, static_cast<size_t>(series)});
  }
  means.periods.clear();
  for (const int32_t period : fine.periods) {
    means.periods.push_back(static_cast<int32_t>((period + count / 2) / count));
  }
  means.drivers.clear();
  for (const Driver& driver : fine.drivers) means.drivers.push_back(InMeans(driver, count));
  means.history = fine;
  means.history.step_ms = fine.step_ms * count;
  means.history.values = {means.values.data(), rows, series, series};
  means.history.periods = means.periods;
  means.history.drivers = means.drivers;
}

Driver InMeans(Driver driver, int64_t count) {
  driver.lead_steps = static_cast<int32_t>((driver.lead_steps + count / 2) / count);
  return driver.lead_steps > 0 ? driver : Driver{};
}

History Without(const History& history, int64_t last_steps) {
  History before = history;
  before.values.steps -= last_steps;
  before.end_ms -= last_steps * history.step_ms;
  return before;
}

int64_t StepsPastEnd(const History& history, int64_t own_ms) {
  return (history.end_ms % own_ms + own_ms) % own_ms / history.step_ms;
}

}  // namespace foreshadow::models
