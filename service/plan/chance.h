// A chance, corrected by what came, in two stages that are learned step by step. First a logistic
// regression of what came on the logarithms of the chance and of its complement (beta calibration:
// Kull, Silva Filho and Flach, AISTATS 2017) and on which side of an even chance it is, and how
// far: that little is said of what nobody can foresee takes nothing from what is said of the
// likely. Then, for what no such curve can follow, the mean of what came in each tenth of the first
// stage's chances, in order (pool adjacent violators: Ayer et al. 1955).
#pragma once

#include <array>
#include <cstdint>

namespace foreshadow {

inline constexpr int kChanceTerms = 4;
inline constexpr int kChanceBins = 10;

// First stage: P = logistic(offset + rise ln(said) - fall ln(1 - said) + bend tanh(2 logit(said))).
// Starts at what was said itself.
struct Calibration {
  std::array<double, kChanceTerms> weights{0, 1, 1, 0};  // offset, rise, fall, bend
  // Of these, about the prior: upper triangle, row by row.
  std::array<double, kChanceTerms*(kChanceTerms + 1) / 2> information{};
  struct Bin {
    double weight = 0;
    double said = 0;  // sums, by the first stage
    double came = 0;
    bool operator==(const Bin&) const = default;
  };
  std::array<Bin, kChanceBins> bins{};

  double Of(double said) const;
  // One Newton step on what came.
  void Learn(double said, bool came);
  // What was learned until so long ago weighs less: the curve's half in a week, the bins' in a
  // day.
  void Forget(int64_t elapsed_ms);
  bool operator==(const Calibration&) const = default;
};

}  // namespace foreshadow
