// Stage 7: the split of each account's traffic between primary and shadow. Applies what learning
// asked for at the last tick, within the guard rails; the result is what the data plane is told.
#pragma once

#include "service/shadow/lifecycle.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"

namespace foreshadow {

// Guard rails, in this order: a shadow that does not run, or whose cell does not answer, takes
// nothing; one whose cell is over capacity or about to be takes nothing, unless the source is as
// badly off, when nothing moves; a source over capacity, or about to be in the next step, gives
// learn.split_max at once; the first split is learn.first_split.
void Route(const Outlook& outlook, const LearnSettings& settings, Decisions& decisions,
           Changes& changes);

}  // namespace foreshadow
