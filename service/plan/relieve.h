// The shadows that take a cell out of danger. Of service/plan alone.
#pragma once

#include <cstdint>

#include "service/plan/room.h"

namespace foreshadow {

// Adds to the plan, one shadow at a time and then by local search, what brings the cell's chance of
// overload down to plan.risk_target, or as far as it pays; an alert where it stays in danger.
void Relieve(Planner& p, int32_t source);

}  // namespace foreshadow
