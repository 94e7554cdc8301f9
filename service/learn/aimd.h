// The plain rule for the split - additive increase, multiplicative decrease (Chiu and Jain 1989):
// raised by a step while the source is in danger, cut when the target is, lowered slowly once the
// source is safe, but not before `hold_ms`: what comes home at the first quiet step goes out again
// at the next busy one. Pure, any thread.
#pragma once

#include "service/tick/settings.h"

namespace foreshadow {

struct AimdView {
  double split = 0;
  double source_risk_without = 0;  // P(overload within the horizon), had nothing been moved
  double source_risk = 0;          // with the splits in force
  double target_risk = 0;
  bool held = false;  // shares for less than hold_ms
};

double AimdSplit(const AimdView& view, double risk_threshold, const LearnSettings& settings);

}  // namespace foreshadow
