// Which ARIMA model a series gets: Hyndman and Khandakar (2008, "Automatic time series forecasting:
// the forecast package for R", section 3), with the exact likelihood throughout.
#pragma once

#include <span>

#include "models/arima/fit.h"

namespace foreshadow::models {

// Statistic of Kwiatkowski, Phillips, Schmidt and Shin (1992) for a level, with Bartlett weights
// over trunc(3 sqrt(n) / 13) lags, as forecast::ndiffs takes it. Missing samples are left out.
double KpssStatistic(std::span<const double> samples);

// How often to difference: until the test no longer rejects at 5 %, at most twice.
int Differences(std::span<const double> samples);

struct ArimaChoice {
  ArimaFit fit;
  bool found = false;
  int models = 0;  // that were fitted
};

// The model of the least corrected Akaike criterion that a walk over neighbouring orders meets,
// among those whose autoregressive roots keep a hundredth off the unit circle. `prepared` is left
// as the choice needs it. period 0 = no season; with seasonal_d one seasonal difference is taken.
ArimaChoice ChooseArima(std::span<const double> samples, int period, int seasonal_d,
                        ArimaFitter& fitter, ArimaSamples& prepared);

}  // namespace foreshadow::models
