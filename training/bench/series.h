// The series that the kernels are measured on: made from a seed, shaped like the load of machines,
// so that every peer and every run gets the same. Any thread; values in, values out.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/series.h"

namespace foreshadow::training {

// How large a batch is, and what else the cost of an operation grows with.
struct Shape {
  int64_t series = 1000;
  int64_t steps = 2016;  // a week of five minutes
  int period = 288;      // steps of a day
  int window = 0;        // steps: what it is depends on the operation; 0 = the operation's default
};

// Columns padded to the widest vector, so that a row begins where a vector may.
inline constexpr int64_t kColumnsAlign = 16;

struct SeriesSet {
  int64_t steps = 0;
  int64_t series = 0;
  int64_t stride = 0;
  // Each [steps][stride], time-major.
  std::vector<float> observed;   // a day's profile, a slow wander, noise that lasts, spikes
  std::vector<float> leader;     // runs ahead of the noise in `observed` by kLeadSteps
  std::vector<float> remainder;  // noise and spikes alone

  kernels::StepMajor<const float> view(const std::vector<float>& values) const {
    return {values.data(), steps, series, stride};
  }
};

inline constexpr int kLeadSteps = 3;

// A day in the series lasts `shape.period` steps. The same arguments give the same values.
SeriesSet MakeSeries(const Shape& shape, uint64_t seed);

}  // namespace foreshadow::training
