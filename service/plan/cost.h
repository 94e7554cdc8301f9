// What a cell is expected to cost in the coming steps, in core-hours of a shadow: demand that it
// cannot serve, and the time in which it is overloaded. Plans and splits weigh moves against it.
#pragma once

#include "service/plan/demand.h"
#include "service/plan/risk.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"

namespace foreshadow {

struct CostModel {
  const std::vector<Cell>& cells;  // as they count: what is drained has next to nothing
  const CellErrorMemory& errors;
  const PlanSettings& settings;
  double step_hours = 0;
};

// Of one step of one cell. What exceeds memory, network or storage counts as the cores that go with
// it: the cell's cores, if it has any limit of them, times the exceeding share.
double StepCost(const CostModel& model, int32_t cell, const CellForecast& forecast, int step);

// The steps of [first, last) together.
double Cost(const CostModel& model, int32_t cell, const CellForecast& forecast, int first,
            int last);

}  // namespace foreshadow
