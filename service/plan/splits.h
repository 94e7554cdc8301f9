// The split that each shadow should have: the one at which the cells of the account and of the
// shadow are expected to cost least together. At that split a core more in the one cell is as dear
// as in the other, but for the price of serving in two places.
#pragma once

#include <string>
#include <vector>

#include "service/plan/cost.h"
#include "service/plan/demand.h"
#include "service/tick/types.h"

namespace foreshadow {

struct Advice {
  double split = 0;           // of the coming step, if it runs
  double gain_next = 0;       // core-hours saved in the coming step against a split of 0
  double planned = 0;         // best constant split of the time within which a shadow is resumed
  double gain = 0;            // core-hours saved by it, what serving it costs taken off
  bool better_there = false;  // both cells cost less, or are less full, were it moved for good
  bool evacuates = false;     // its cell is drained: all of it goes, whatever that saves
};

struct SplitInput {
  const Fleet& fleet;
  const CostModel& model;
  const CostModel& present;  // for `demand`
  const AccountForecasts& forecasts;
  const AccountsOfCells& accounts_of;
  const std::vector<Shadow>& shadows;
  const std::vector<Resources>& demand;  // [account] now; empty = not known
  double split_max = 1;
  int resume_steps = 1;  // a shadow is resumed when it is of use within so many
};

// One for each shadow, in their order; 0 for those that are not in place. The present and the
// coming steps are weighed apart, and the larger split holds: never less relief than one who only
// looks at the present would give.
std::vector<Advice> AdviseSplits(const SplitInput& input);

}  // namespace foreshadow
