// How much of a decomposed series is season: 1 - variance of the remainder over that of remainder
// and season together, from 0 to 1 (Wang, Smith and Hyndman 2006, section 3.1), over the steps that
// have a remainder.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/algo/portable.h"
#include "kernels/series.h"

namespace foreshadow::kernels {

// The sums of one series, step by step.
struct StrengthSums {
  double count = 0;
  double rest = 0;
  double rest_square = 0;
  double both = 0;
  double both_square = 0;
};

FORESHADOW_PORTABLE inline void AddStrength(double seasonal, double remainder, StrengthSums& sums) {
  if (std::isnan(remainder)) return;
  const double both = remainder + seasonal;
  sums.count += 1;
  sums.rest += remainder;
  sums.rest_square += remainder * remainder;
  sums.both += both;
  sums.both_square += both * both;
}

FORESHADOW_PORTABLE inline double StrengthOf(const StrengthSums& sums) {
  const double rest = sums.rest_square - sums.rest * sums.rest / sums.count;
  const double both = sums.both_square - sums.both * sums.both / sums.count;
  if (!(sums.count > 0 && both > 0)) return 0;
  const double strength = 1 - rest / both;
  return strength > 0 ? strength : 0;
}

inline double SeasonalStrength(StepMajor<const float> seasonal, StepMajor<const float> remainder,
                               int64_t series) {
  StrengthSums sums;
  for (int64_t step = 0; step < remainder.steps; ++step) {
    AddStrength(seasonal.at(step, series), remainder.at(step, series), sums);
  }
  return StrengthOf(sums);
}

}  // namespace foreshadow::kernels
