// Holds the chances of overload against what came, and corrects them: a logistic regression of what
// came on the logit of what was said (Platt 1999), over all cells together, learned step by step.
// The worst step's chance of a normal sum is no calibrated chance of the hour: steps hang together,
// and sums of few accounts are not normal.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "service/plan/risk.h"
#include "service/tick/types.h"

namespace foreshadow {

// P(overload) = logistic(offset + slope * logit(said)). Starts at what was said itself.
struct Calibration {
  std::array<double, 2> weights{0, 1};                   // offset, slope
  std::array<double, 3> information{kPrior, 0, kPrior};  // of the two: xx, xy, yy
  static constexpr double kPrior = 20;                   // as good as so many even chances

  double Of(double said) const;
  // One Newton step on what came; what was learned before weighs `kept` times as much.
  void Learn(double said, bool came);
  void Forget(double kept);
};

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
