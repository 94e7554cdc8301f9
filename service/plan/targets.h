// Who may leave a cell, and where to. Of service/plan alone.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "service/plan/room.h"

namespace foreshadow {

// An account that may leave, and what that saves in its cell, its price taken off, were its shadow
// created as in any cell.
struct Leaver {
  int32_t account = 0;
  double saved = 0;
};

// Those that may leave the cell and save most by it, of the least important ones that save
// anything; of a cell that is drained, all that may. `resource` and `step` are where the cell is in
// most danger.
std::vector<Leaver> Leavers(const Planner& p, int32_t source, int resource, int step);

// Cells that may take a shadow of the account, the one with the most room first.
struct Targets {
  std::vector<int32_t> cells;
  int32_t barred = -1;  // one that may not, and why
  std::string why_barred;
};
Targets TargetsOf(const Planner& p, int32_t account);

// Where to, and what is gained, its price taken off.
struct Choice {
  int32_t target = -1;
  double gain = 0;
  double lead_ms = 0;
  Urgency urgency = Urgency::kRoutine;
  double utilisation_before = 0;
  double utilisation_after = 0;
};

// The cell in which the account is expected to cost least; none where a rail forbids it, the gain
// is too small or the cell would go over its headroom. One that leaves a drained cell need not gain
// its price. Of equals, the one with the most room. Why not goes into `refused`.
Choice ChooseTarget(const Planner& p, int32_t account, const Targets& targets,
                    std::vector<Alternative>& refused);

}  // namespace foreshadow
