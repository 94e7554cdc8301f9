// A chance, corrected by what came: beta calibration (Kull, Silva Filho and Flach, AISTATS 2017), a
// logistic regression of what came on the logarithms of the chance and of its complement, learned
// step by step. Two slopes: that little is said of what nobody can foresee takes nothing from what
// is said of the likely.
#pragma once

#include <array>

namespace foreshadow {

// P(overload) = logistic(offset + rise ln(said) - fall ln(1 - said)). Starts at what was said
// itself.
struct Calibration {
  std::array<double, 3> weights{0, 1, 1};  // offset, rise, fall
  // Of the three: upper triangle, row by row.
  std::array<double, 6> information{kPrior, 0, 0, kPrior, 0, kPrior};
  static constexpr double kPrior = 20;  // as good as so many even chances

  double Of(double said) const;
  // One Newton step on what came.
  void Learn(double said, bool came);
  // What was learned so far weighs `kept` times as much.
  void Forget(double kept);
  bool operator==(const Calibration&) const = default;
};

}  // namespace foreshadow
