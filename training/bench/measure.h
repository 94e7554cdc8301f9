// Times an operation: medians over repetitions, on one core or several. One measurement at a time.
#pragma once

#include <span>

#include "training/bench/cases.h"

namespace foreshadow::training {

struct MeasureOptions {
  int cores = 1;         // threads over disjoint series, a workspace each
  int repetitions = 5;   // the median counts
  double least_s = 0.2;  // a repetition runs the operation as often as that takes
};

struct Timing {
  double wall_s = 0;  // of one run over all series
  // Of all threads together. What other programs do on the machine hardly moves it; on a GPU it is
  // only the time to queue the work.
  double cpu_s = 0;
  int64_t failed = 0;  // series that were refused
};

Timing Measure(const kernels::Ops& ops, const Case& which, const Shape& shape, const Inputs& inputs,
               const MeasureOptions& options);

// The middle value, or the mean of the middle two. Of no values: NaN.
double Median(std::span<const double> values);

// y = factor * x^exponent, by least squares in the logarithms. x and y positive; NaN when x does
// not vary.
struct PowerLaw {
  double exponent = 0;
  double factor = 0;
};
PowerLaw FitPowerLaw(std::span<const double> x, std::span<const double> y);

// The CPU seconds that the calling thread has used.
double ThreadCpuSeconds();

}  // namespace foreshadow::training
