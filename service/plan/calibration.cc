#include "service/plan/calibration.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

namespace foreshadow {
namespace {

constexpr double kLeast = 1e-4;  // chances are never taken as surer than that
constexpr double kCurvatureMin = 1e-3;
constexpr double kSlopeMin = 0.05;
constexpr double kHalfLifeMs = 7 * 86'400'000.0;
constexpr int64_t kQuarterMs = 15 * 60'000;
// Neighbouring ticks say nearly the same of nearly the same hour: together they weigh as one.
constexpr double kOverlap = 1.0 / 6;

double Logistic(double x) { return 1 / (1 + std::exp(-x)); }

Eigen::Vector3d FeaturesOf(double said) {
  const double p = std::clamp(said, kLeast, 1 - kLeast);
  return {1, std::log(p), -std::log1p(-p)};
}

Eigen::Matrix3d Symmetric(const std::array<double, 6>& upper) {
  Eigen::Matrix3d m;
  m << upper[0], upper[1], upper[2], upper[1], upper[3], upper[4], upper[2], upper[4], upper[5];
  return m;
}

}  // namespace

double Calibration::Of(double said) const {
  if (said <= 0) return 0;
  return Logistic(Eigen::Map<const Eigen::Vector3d>(weights.data()).dot(FeaturesOf(said)));
}

void Calibration::Learn(double said, bool came) {
  const Eigen::Vector3d x = FeaturesOf(said);
  Eigen::Map<Eigen::Vector3d> w(weights.data());
  const double p = Logistic(w.dot(x));
  const double curvature = std::max(p * (1 - p), kCurvatureMin) * kOverlap;
  size_t at = 0;
  for (int i = 0; i < 3; ++i) {
    for (int j = i; j < 3; ++j) information[at++] += curvature * x[i] * x[j];
  }
  w += Symmetric(information).llt().solve(x) * ((came - p) * kOverlap);
  // More said is never less meant.
  w[1] = std::max(w[1], kSlopeMin);
  w[2] = std::max(w[2], kSlopeMin);
}

void Calibration::Forget(double kept) {
  const Calibration fresh;
  for (size_t i = 0; i < information.size(); ++i) {
    information[i] = fresh.information[i] + kept * (information[i] - fresh.information[i]);
  }
}

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
  const double kept = std::exp2(-static_cast<double>(step_ms) / kHalfLifeMs);
  calibration.within_15.Forget(kept);
  calibration.within_60.Forget(kept);
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
