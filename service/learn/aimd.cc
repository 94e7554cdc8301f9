#include "service/learn/aimd.h"

#include <algorithm>

namespace foreshadow {
namespace {

// Below half the threshold a cell counts as safe; in between the split sinks slowly, so that it
// does not swing around one value and yet no shadow stays for ever.
constexpr double kSafeShare = 0.5;
constexpr double kSinkShare = 0.25;  // of a raising step

}  // namespace

double AimdSplit(const AimdView& view, double risk_threshold, const LearnSettings& settings) {
  const double safe = kSafeShare * risk_threshold;
  const bool target_endangered = view.target_risk >= risk_threshold;
  if (target_endangered || (!view.held && view.source_risk_without < safe)) {
    const double lowered = view.split * settings.decrease_factor;
    return lowered < settings.first_split / 2 ? 0 : lowered;
  }
  if (view.source_risk_without >= risk_threshold) {
    return std::min(settings.split_max, view.split + settings.split_step);
  }
  if (view.held || view.source_risk >= safe) return view.split;
  const double sunk = view.split - kSinkShare * settings.split_step;
  return sunk < settings.first_split / 2 ? 0 : sunk;
}

}  // namespace foreshadow
