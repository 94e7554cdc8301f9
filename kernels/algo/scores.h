// How good quantile forecasts were. Time-major batches; NaN actuals and forecasts are left out and
// a series of which nothing is left scores NaN. Plain functions, callable from any thread; nothing
// is allocated.
#pragma once

#include <span>

#include "kernels/series.h"

namespace foreshadow::kernels {

// Loss of one forecast quantile, Koenker and Bassett (1978): level 0.9 costs nine times as much
// when the value lands above as when it lands below.
constexpr double Pinball(double actual, double forecast, double level) {
  const double off = actual - forecast;
  return off >= 0 ? level * off : (level - 1) * off;
}

// Mean pinball loss of each series over the steps, into loss[series]. Level in 0..1.
void PinballLoss(StepMajor<const float> actual, StepMajor<const float> forecast, double level,
                 std::span<float> loss);

// Mean absolute change over `season` steps, into scale[series]: what the seasonal naive forecast
// errs by in the past, the denominator of MASE (Hyndman and Koehler 2006, section 3). 0 = constant.
void NaiveScale(StepMajor<const float> past, int season, std::span<float> scale);

// Mean absolute error over the scale, into mase[series]; NaN where the scale is 0 or NaN.
void Mase(StepMajor<const float> actual, StepMajor<const float> forecast,
          std::span<const float> scale, std::span<float> mase);

}  // namespace foreshadow::kernels
