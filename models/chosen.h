// Some of a history's series in arrays of their own.
#pragma once

#include <cstdint>
#include <vector>

#include "models/forecaster.h"

namespace foreshadow::models {

struct ChosenSeries {
  std::vector<float> values;
  std::vector<SignalKind> signals;
  std::vector<int32_t> periods;
  std::vector<int32_t> applications;
  std::vector<Driver> drivers;
  History history;
};

// `chosen` ascends; a driver that is not among them is left out. `all` must outlive the result,
// which is not to be copied: its history points into it.
void Gather(const History& all, const std::vector<int64_t>& chosen, ChosenSeries& out);

}  // namespace foreshadow::models
