// Holds the chances of overload against what came, and corrects them, over all cells together.
// The worst step's chance of a normal sum is no calibrated chance of the hour: steps hang together,
// and sums of few accounts are not normal.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "service/plan/chance.h"
#include "service/plan/risk.h"
#include "service/tick/types.h"

namespace foreshadow {

struct RiskCalibration {
  Calibration within_15;
  Calibration within_60;
  struct Said {
    int64_t tick_ms = 0;
    std::shared_ptr<const Fleet> fleet;  // as it was
    std::vector<float> within_15;        // [cell] before correction
    std::vector<float> within_60;
    std::vector<bool> came;  // [cell] since
  };
  std::deque<Said> waiting;  // newest first; until their hour is over
};

// Corrects the chances within 15 minutes and within the hour, not those of single steps, and with
// them whether an overload is expected: where the hour's chance is at least `threshold`, at the
// first step that is as likely, else at the likeliest.
void Correct(const RiskCalibration& calibration, double threshold, int64_t now_ms, int64_t step_ms,
             CellRisk& risk);

// Learns from what came, and remembers what is said now (before correction).
void LearnRisk(const std::vector<CellRisk>& said, std::shared_ptr<const Fleet> fleet,
               HomeDemand& demand, int64_t now_ms, int64_t step_ms, RiskCalibration& calibration);

}  // namespace foreshadow
