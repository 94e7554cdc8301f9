// Where machines go: at first, and every 300 s (Beloglazov and Buyya 2012, section 5). A round
// takes machines off overloaded hosts, those of the least memory first (minimum migration time,
// section 5.4), places them where power rises least (power-aware best fit decreasing, section 4 and
// their algorithm 2), and then empties the least used hosts that can be emptied. Pure.
//
// As in CloudSim 3.0.3: a host's power before is that of its last update, so that what a round has
// placed there already makes it dearer; an idle host counts as on; a host that was to be emptied
// and could not is no target in that round either.
#pragma once

#include <vector>

#include "training/cloudsim/centre.h"
#include "training/simulate/rules.h"

namespace foreshadow::training::cloudsim {

struct Move {
  int vm = 0;
  int to = 0;  // host
};

// Every machine with all that its type has; false: one finds no host.
bool PlaceFirst(Centre& centre);

// The moves of a round, in order; a machine may be in two of them, and then ends in the later one.
// `rule` says which hosts are overloaded, by their machines' histories.
std::vector<Move> PlanRound(const Centre& centre, Rule& rule);

}  // namespace foreshadow::training::cloudsim
