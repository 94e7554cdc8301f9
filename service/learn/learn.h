// Stage 9: how the split should move next. A plain rule for now - additive increase, multiplicative
// decrease (Chiu and Jain 1989): raised by a step while the source is in danger, cut when the
// target is, lowered slowly once the source is safe, but not before `hold_ms`: what comes home at
// the first quiet step goes out again at the next busy one. What it asks for is routed at the next
// tick.
#pragma once

#include <vector>

#include "service/plan/plan.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"

namespace foreshadow {

void Learn(const Plan& plan, const Fleet& fleet, double risk_threshold,
           const LearnSettings& settings, int64_t now_ms, std::vector<Shadow>& shadows);

}  // namespace foreshadow
