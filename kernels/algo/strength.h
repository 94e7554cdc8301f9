// How much of a decomposed series is season.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/series.h"

namespace foreshadow::kernels {

// 0 = none, 1 = nothing but season: 1 - variance of the remainder over that of remainder and season
// together (Wang, Smith and Hyndman 2006, section 3.1), over the steps that have a remainder.
inline double SeasonalStrength(StepMajor<const float> seasonal, StepMajor<const float> remainder,
                               int64_t series) {
  double count = 0;
  double sums[2] = {};
  double squares[2] = {};
  for (int64_t step = 0; step < remainder.steps; ++step) {
    const double rest = remainder.at(step, series);
    if (std::isnan(rest)) continue;
    const double both = rest + seasonal.at(step, series);
    count += 1;
    sums[0] += rest;
    squares[0] += rest * rest;
    sums[1] += both;
    squares[1] += both * both;
  }
  const auto variance = [&](int i) { return squares[i] - sums[i] * sums[i] / count; };
  return count > 0 && variance(1) > 0 ? std::max(0.0, 1 - variance(0) / variance(1)) : 0;
}

}  // namespace foreshadow::kernels
