// ARIMA as a Forecaster: the order is chosen per series, seasons longer than a day of hours are
// taken out by STL first.
#pragma once

#include <memory>

#include "models/forecaster.h"

namespace foreshadow::models {

// "arima"; any sampling interval. The season is the history's, or a day. Up to 24 steps of it are
// modelled by seasonal orders; a longer one is taken out by STL where it is strong, the rest
// forecast and its last cycle added, as R's forecast::stlm does. The quantiles are those of the
// series' own errors of one step, widened with the distance as the model says. A series without a
// sample gets kNoHistory, one with fewer than ten or silent for more than an hour kCannot.
// `threads` serve one Forecast, 0 = one per core.
std::shared_ptr<const Forecaster> MakeArima(int threads);

}  // namespace foreshadow::models
