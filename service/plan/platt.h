// A chance, corrected by what came: a logistic regression of what came on the logit of what was
// said (Platt 1999, "Probabilistic outputs for support vector machines"), learned step by step.
#pragma once

#include <array>

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
  bool operator==(const Calibration&) const = default;
};

}  // namespace foreshadow
