#include "service/plan/cost.h"

#include <algorithm>

namespace foreshadow {

double StepCost(const CostModel& model, int32_t cell, const CellForecast& forecast, int step) {
  const Resources& capacity = model.cells[cell].capacity;
  const double cores = capacity[0] > 0 ? capacity[0] : 1;
  double share = 0;   // of the cell, that is asked for in vain
  double chance = 0;  // of any overload, at least that of the worst resource
  for (int r = 0; r < kResources; ++r) {
    if (capacity[r] <= 0) continue;
    const Tail tail = TailOf(capacity[r], forecast.mean[r][step],
                             Deviation(forecast, model.errors, cell, r, step));
    share += tail.excess / capacity[r];
    chance = std::max(chance, tail.chance);
  }
  return model.step_hours * cores *
         (model.settings.unserved_cost * share + model.settings.overloaded_cost * chance);
}

double Cost(const CostModel& model, int32_t cell, const CellForecast& forecast, int first,
            int last) {
  double cost = 0;
  for (int step = first; step < std::min(last, forecast.steps); ++step) {
    cost += StepCost(model, cell, forecast, step);
  }
  return cost;
}

}  // namespace foreshadow
