// Exponential smoothing as a Forecaster: simple, damped trend or daily season, chosen per series by
// Akaike's criterion on the errors of the last two days.
#pragma once

#include <memory>

#include "models/forecaster.h"

namespace foreshadow::models {

// "ets"; any sampling interval. The season is the history's, or a day, and taken into account from
// three of it on. The quantiles are those of the series' own errors of the last two days at each
// distance, by the parameters that it is given. A series without a sample gets kNoHistory, one with
// fewer than ten or silent for more than an hour kCannot. `threads` serve one Forecast, 0 = one per
// core.
std::shared_ptr<const Forecaster> MakeEts(int threads);

}  // namespace foreshadow::models
