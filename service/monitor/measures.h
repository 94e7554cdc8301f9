// What instances said of their requests, by account: the primary's side and the shadow's. Pure, any
// thread.
#pragma once

#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "service/learn/observation.h"
#include "service/tick/types.h"

namespace foreshadow {

// An account's requests since the tick before.
struct AccountMeasures {
  bool known = false;
  double age_s = 0;    // of the older side
  double seconds = 0;  // that they are of
  double warmth = 1;   // of the shadow, 0..1, as it says
  Measured primary;
  Measured shadow;
  double primary_in_flight = 0;
  double clients_behind = 0;  // that may still send to where the route before led
};

// [account]; empty when nothing was measured. Known is an account of which one primary and the
// shadow that was decided have told something: of two that claim to be the primary neither is
// believed, and what is told of accounts or shadows that nobody knows is passed over. Where the
// primary is ill the shadow alone counts.
std::vector<AccountMeasures> MeasuresOf(
    const Fleet& fleet, const std::unordered_map<std::string, int32_t>& account_index,
    const std::vector<Shadow>& shadows, std::span<const SideMeasure> sides);

}  // namespace foreshadow
