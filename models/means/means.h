// A model of one sampling interval at finer ones that divide it: at each step it is shown the means
// over its own interval that end there, and what it says of an interval to come is said of each
// step in it, as far wider as the last hour's samples stray from such means.
#pragma once

#include <cstdint>
#include <memory>

#include "models/forecaster.h"

namespace foreshadow::models {

// Intervals down to a tenth of the model's own.
inline constexpr int64_t kStepsOfMeanMax = 10;

// `model` answers at `step_ms` only, and there it is asked as it is.
std::shared_ptr<const Forecaster> OverMeans(std::shared_ptr<const Forecaster> model,
                                            int64_t step_ms);

}  // namespace foreshadow::models
