// The models that carry one level forward: the last value, or the last hour's mean or median. The
// latter two are hard to beat on noisy series. The median of every step is the level itself, the
// other quantiles come from the series' own errors at that distance over the last day.
#pragma once

#include <memory>

#include "models/forecaster.h"

namespace foreshadow::models {

enum class LevelKind : uint8_t { kLastValue, kLastHourMean, kLastHourMedian };

// "last-value", "last-hour-mean" or "last-hour-median"; any sampling interval. A series without a
// sample gets kNoHistory, one that fell silent more than a day ago kCannot.
std::shared_ptr<const Forecaster> MakeLevel(LevelKind kind);

}  // namespace foreshadow::models
