// Stage 7: the split of each account's traffic between primary and shadow. Applies what learning
// asked for at the last tick, within the guard rails; the result is what the data plane is told.
#pragma once

#include "service/shadow/lifecycle.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"

namespace foreshadow {

// Guard rails, in this order: a shadow that does not run, or whose cell does not answer, takes
// nothing; the first split is learn.first_split; when the source is over capacity or about to be in
// the next step, the split goes to learn.split_max at once.
void Route(const Outlook& outlook, const LearnSettings& settings, Decisions& decisions,
           Changes& changes);

}  // namespace foreshadow
