// How good forecasts were, one series at a time. NaN actuals and forecasts are left out; a series
// of which nothing is left scores NaN.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/algo/portable.h"
#include "kernels/ops.h"

namespace foreshadow::kernels {

// Loss of one forecast quantile, Koenker and Bassett (1978): level 0.9 costs nine times as much
// when the value lands above as when it lands below.
FORESHADOW_PORTABLE constexpr double Pinball(double actual, double forecast, double level) {
  const double off = actual - forecast;
  return off >= 0 ? level * off : (level - 1) * off;
}

// Mean of term(step) over the steps where it is not NaN.
template <typename Term>
FORESHADOW_PORTABLE float MeanOf(int64_t steps, Term term) {
  double sum = 0;
  int64_t count = 0;
  for (int64_t step = 0; step < steps; ++step) {
    const double value = term(step);
    if (std::isnan(value)) continue;
    sum += value;
    ++count;
  }
  return count > 0 ? static_cast<float>(sum / static_cast<double>(count))
                   : std::numeric_limits<float>::quiet_NaN();
}

FORESHADOW_PORTABLE inline float PinballOf(const PinballArgs& args, int64_t s) {
  return MeanOf(args.actual.steps, [&](int64_t step) {
    return Pinball(args.actual.at(step, s), args.forecast.at(step, s), args.level);
  });
}

// Mean absolute change over a season: what the seasonal naive forecast errs by in the past, the
// denominator of MASE (Hyndman and Koehler 2006, section 3). 0 = constant.
FORESHADOW_PORTABLE inline float NaiveScaleOf(const NaiveScaleArgs& args, int64_t s) {
  return MeanOf(args.past.steps - args.season, [&](int64_t step) {
    return std::abs(double{args.past.at(step + args.season, s)} - double{args.past.at(step, s)});
  });
}

// Mean absolute error over the scale; NaN where the scale is 0 or NaN.
FORESHADOW_PORTABLE inline float MaseOf(const MaseArgs& args, int64_t s) {
  if (!(args.scale[s] > 0)) return std::numeric_limits<float>::quiet_NaN();
  return MeanOf(
             args.actual.steps,
             [&](int64_t step) {
               return std::abs(double{args.actual.at(step, s)} - double{args.forecast.at(step, s)});
             }) /
         args.scale[s];
}

}  // namespace foreshadow::kernels
