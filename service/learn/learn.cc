#include "service/learn/learn.h"

#include "service/learn/aimd.h"

namespace foreshadow {

void Learn(const Plan& plan, const Fleet& fleet, double risk_threshold,
           const LearnSettings& settings, int64_t now_ms, std::vector<Shadow>& shadows) {
  for (Shadow& shadow : shadows) {
    if (shadow.state != ShadowState::kSharing) continue;
    const int32_t source = fleet.accounts[shadow.account].cell;
    const AimdView view = {
        .split = shadow.split,
        .source_risk_without = plan.risks_without[source].probability,
        .source_risk = plan.risks[source].probability,
        .target_risk = plan.risks[shadow.target].probability,
        .held = now_ms - shadow.since_ms < settings.hold_ms,  // sharing since
    };
    shadow.wanted_split = AimdSplit(view, risk_threshold, settings);
  }
}

}  // namespace foreshadow
