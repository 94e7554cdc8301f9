#include "service/plan/calibration.h"

#include <algorithm>

namespace foreshadow {
namespace {

constexpr int64_t kQuarterMs = 15 * 60'000;

}  // namespace

void Correct(const RiskCalibration& calibration, double threshold, int64_t now_ms, int64_t step_ms,
             CellRisk& risk) {
  risk.within_15 = calibration.within_15.Of(risk.within_15);
  risk.probability = std::max(risk.within_15, calibration.within_60.Of(risk.probability));
  if (risk.probability < threshold || risk.probability == 0) {
    risk.expected_ms = 0;
  } else if (risk.expected_ms == 0) {
    const auto begin = risk.step_probability.begin();
    const auto worst = std::max_element(begin, begin + risk.steps) - begin;
    risk.expected_ms = now_ms + (worst + 1) * step_ms;
  }
}

void LearnRisk(const std::vector<CellRisk>& said, std::shared_ptr<const Fleet> fleet,
               HomeDemand& demand, int64_t now_ms, int64_t step_ms, RiskCalibration& calibration) {
  calibration.within_15.Forget(step_ms);
  calibration.within_60.Forget(step_ms);
  const int64_t quarter_ms = std::max(step_ms, kQuarterMs / step_ms * step_ms);
  const int64_t hour_ms = std::max(step_ms, kHorizonMs / step_ms * step_ms);
  for (RiskCalibration::Said& past : calibration.waiting) {
    const std::vector<Resources>& cells = demand.Of(*past.fleet);
    for (size_t c = 0; c < cells.size(); ++c) {
      if (Exceeds(cells[c], past.fleet->cells[c].capacity)) past.came[c] = true;
      if (past.tick_ms + quarter_ms == now_ms) {
        calibration.within_15.Learn(past.within_15[c], past.came[c]);
      }
      if (past.tick_ms + hour_ms == now_ms) {
        calibration.within_60.Learn(past.within_60[c], past.came[c]);
      }
    }
  }
  std::erase_if(calibration.waiting,
                [&](const auto& past) { return past.tick_ms + hour_ms <= now_ms; });
  RiskCalibration::Said now{
      now_ms, std::move(fleet), {}, {}, std::vector<bool>(said.size(), false)};
  for (const CellRisk& risk : said) {
    now.within_15.push_back(static_cast<float>(risk.within_15));
    now.within_60.push_back(static_cast<float>(risk.probability));
  }
  calibration.waiting.push_front(std::move(now));
}

}  // namespace foreshadow
