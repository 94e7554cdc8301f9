// Stage 8: the split of each account's traffic between primary and shadow, and the share of its
// requests that is refused. Applies what learning asks for, within the guard rails; the result is
// what the data plane is told.
#pragma once

#include "service/shadow/lifecycle.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"

namespace foreshadow {

// Guard rails, in this order: a shadow whose cell does not answer takes nothing; one whose
// account's primary is ill takes all; where the coming step is at stake, the split is the one at
// which both cells are expected to cost least (plan/splits.h), at once; else the first split is
// learn.first_split, and from there on it follows what is planned no faster than learning allows.
// It does not sink to 0 before learn.hold_ms.
void Route(const Outlook& outlook, const LearnSettings& settings, Decisions& decisions,
           Changes& changes);

}  // namespace foreshadow
