// What a model carries for all parts of the fleet as one string, which outlives a restart.
#pragma once

#include <cstddef>
#include <string>

#include "absl/status/status.h"
#include "service/forecast/forecast.h"

namespace foreshadow {

// Of model number `index`; "" = it carries nothing, or more than so many bytes.
std::string PackCarried(const models::Forecaster& model, size_t index, const ForecastMemory& memory,
                        size_t bytes_max);

// The first error of a part, which then begins anew; DATA_LOSS where the parts cannot be told from
// each other.
absl::Status UnpackCarried(const models::Forecaster& model, size_t index, const std::string& bytes,
                           ForecastMemory& memory);

}  // namespace foreshadow
