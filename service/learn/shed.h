// Load shedding: which share of all requests is refused, so that the others are served. Where more
// is asked for than primary and shadow carry together, or the shadow alone after a fail-over, no
// split helps: the lines grow until every request waits too long. Pure, any thread.
#pragma once

#include "service/learn/guard.h"
#include "service/learn/observation.h"

namespace foreshadow {

// 0..settings.shed_max. Nothing is refused unless more is asked for than is carried, and requests
// surely fail, and surely more of them come to harm than would be refused, those that fail counted
// twice. Then so many are that the rest is settings.ready_share of what is carried: what is said,
// or what is served where that is less and all who are asked are full; from then on more while the
// rest is served well, and less while it is not. It ends once less is asked for than that. Where
// measurements are stale it stays as it is.
//
// `verdict` is of the Remember just before; `memory` learns.
double ShedShare(const SplitObservation& observation, const GuardSettings& settings,
                 ShadowVerdict verdict, GuardMemory& memory);

// What both sides are asked for once such a share is refused.
SplitObservation Admitted(const SplitObservation& observation, double shed);

}  // namespace foreshadow
