// The upper tail of the chi-square distribution.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/algo/portable.h"

namespace foreshadow::kernels {

// Logarithm of the gamma function, a > 0: Stirling's series (NIST's DLMF 5.11.1) after as many
// steps of the recurrence as give it ten digits. The C library's writes to a global.
FORESHADOW_PORTABLE inline double LogGamma(double a) {
  double product = 1;
  for (; a < 10; a += 1) product *= a;
  const double r = 1 / (a * a);
  const double tail = (1.0 / 12 - r * (1.0 / 360 - r * (1.0 / 1260 - r / 1680))) / a;
  return (a - 0.5) * std::log(a) - a + 0.91893853320467274178 + tail - std::log(product);
}

// Chance that a chi-square variable of so many degrees of freedom is at least x: the regularised
// incomplete gamma function, by its series (DLMF 8.11.4) below the mean and its continued fraction
// (DLMF 8.9.2, evaluated after Lentz) above.
FORESHADOW_PORTABLE inline double ChiSquareTail(double x, int64_t degrees) {
  if (degrees <= 0 || !(x > 0)) return 1;
  constexpr double kPrecise = 1e-12;
  constexpr int kTermsMax = 100'000;  // some square roots of the degrees are enough
  const double a = static_cast<double>(degrees) / 2;
  const double half = x / 2;
  const double scale = std::exp(a * std::log(half) - half - LogGamma(a));
  if (half < a + 1) {
    double term = 1 / a;
    double sum = term;
    for (int n = 1; n < kTermsMax && term > kPrecise * sum; ++n) {
      term *= half / (a + n);
      sum += term;
    }
    const double below = scale * sum;
    return below < 1 ? 1 - below : 0;
  }
  double b = half + 1 - a;
  double c = 1e300;
  double d = 1 / b;
  double fraction = d;
  for (int n = 1; n < kTermsMax; ++n) {
    const double step = n * (a - n);
    b += 2;
    d = 1 / (step * d + b);
    c = b + step / c;
    const double change = c * d;
    fraction *= change;
    if (std::abs(change - 1) < kPrecise) break;
  }
  return scale * fraction;
}

}  // namespace foreshadow::kernels
