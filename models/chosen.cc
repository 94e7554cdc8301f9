#include "models/chosen.h"

#include <algorithm>
#include <span>

namespace foreshadow::models {
namespace {

// What is not known at all stays so.
template <typename T>
std::vector<T> Pick(std::span<const T> all, const std::vector<int64_t>& chosen) {
  std::vector<T> picked;
  for (const int64_t s : chosen) {
    if (!all.empty()) picked.push_back(all[s]);
  }
  return picked;
}

// The drivers by their place among the chosen, which they may not be among.
std::vector<Driver> PickDrivers(const History& history, const std::vector<int64_t>& chosen) {
  std::vector<Driver> drivers = Pick(history.drivers, chosen);
  for (Driver& driver : drivers) {
    const auto at = std::lower_bound(chosen.begin(), chosen.end(), driver.series);
    const bool there = at != chosen.end() && *at == driver.series;
    driver = there ? Driver{static_cast<int32_t>(at - chosen.begin()), driver.lead_steps,
                            driver.correlation}
                   : Driver{};
  }
  return drivers;
}

}  // namespace

void Gather(const History& all, const std::vector<int64_t>& chosen, ChosenSeries& out) {
  const auto count = std::ssize(chosen);
  out.values.resize(static_cast<size_t>(all.values.steps * count));
  for (int64_t step = 0; step < all.values.steps; ++step) {
    for (int64_t i = 0; i < count; ++i) {
      out.values[step * count + i] = all.values.at(step, chosen[i]);
    }
  }
  out.signals = Pick(all.signals, chosen);
  out.periods = Pick(all.periods, chosen);
  out.applications = Pick(all.applications, chosen);
  out.drivers = PickDrivers(all, chosen);
  out.history = {all.end_ms,
                 all.step_ms,
                 {out.values.data(), all.values.steps, count, count},
                 out.signals,
                 out.periods,
                 out.applications,
                 all.application_names,
                 out.drivers};
}

}  // namespace foreshadow::models
