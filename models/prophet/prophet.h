// Additive model as a Forecaster: a trend that bends at change points plus Fourier seasons, fitted
// anew to each series at its most probable parameters (Taylor and Letham 2018).
#pragma once

#include <memory>

#include "models/forecaster.h"
#include "models/prophet/extras.h"

namespace foreshadow::models {

// "prophet"; any sampling interval. A day and a week are seasons from two of them on, as is the
// history's own period if it is neither. The quantiles are those of the series' own errors in the
// last fifth of its history, each by a fit that had not seen it, widened with the distance by the
// bends that may come. A series without a sample gets kNoHistory, one with fewer than ten or silent
// for more than a day kCannot. `threads` serve one Forecast, 0 = one per core.
std::shared_ptr<const Forecaster> MakeProphet(int threads, ProphetExtras extras = {});

}  // namespace foreshadow::models
