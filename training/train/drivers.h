// Which series' moves show in another one later: the mutation rate of each account against its
// other signals.
#pragma once

#include <cstdint>
#include <vector>

#include "models/forecaster.h"
#include "training/train/series_set.h"

namespace foreshadow::training {

inline constexpr int64_t kDriverMemoryMs = 7 * 86'400'000;  // of samples that a lead is found in

// Drivers of all series, [series], from the week of samples before the step `end` alone. Leads of a
// step to an hour whose correlation chance makes once in a thousand series (kernels::Ops::lags, on
// the samples' differences, which daily rhythms hardly touch).
std::vector<models::Driver> FindDrivers(const SeriesSet& set, int64_t end);

}  // namespace foreshadow::training
