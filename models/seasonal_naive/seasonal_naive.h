// Seasonal naive: the same time one season ago. The season is the history's, or a day where none
// is known; the quantiles come from the series' own errors of that rule over the last seasons.
#pragma once

#include <memory>

#include "models/forecaster.h"

namespace foreshadow::models {

// "seasonal-naive"; any sampling interval. A series without a sample gets kNoHistory, one without
// a sample at the same time of the last seven seasons kCannot.
std::shared_ptr<const Forecaster> MakeSeasonalNaive();

}  // namespace foreshadow::models
