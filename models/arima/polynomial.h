// The lag polynomials of an ARMA model: partial autocorrelations, products, autocovariances. Pure
// functions over the caller's memory; any thread.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "models/arima/order.h"

namespace foreshadow::models {

// As R writes them: value(t) = sum ar value(t-i) + error(t) + sum ma error(t-j).
struct ArimaCoefficients {
  std::array<double, kArmaMax> ar{};
  std::array<double, kArmaMax> ma{};
  std::array<double, kSeasonalArmaMax> seasonal_ar{};
  std::array<double, kSeasonalArmaMax> seasonal_ma{};
  double constant = 0;  // the mean, or the drift a step
};

// Both sides multiplied out; zero beyond ArLength() and MaLength().
struct ArmaPolynomials {
  std::array<double, kStatesMax> ar{};  // [0] at lag 1
  std::array<double, kStatesMax> ma{};
};

// Autoregressive coefficients of partial autocorrelations, which are free in (-1, 1) (Durbin and
// Levinson; Monahan 1984). In place.
void FromPartials(std::span<double> values);

// The other way, in place. False if the polynomial has a root on or inside the unit circle.
bool ToPartials(std::span<double> values);

// Whether all roots of 1 - sum values[i] z^(i+1) lie outside the circle of that radius. At most
// kStatesMax values.
bool RootsBeyond(std::span<const double> values, double radius);

ArmaPolynomials Expand(const ArimaOrder& order, const ArimaCoefficients& coefficients);

// value(t) = differenced(t) + sum over i of weights[i] value(t - 1 - i), [order.Levels()].
std::vector<double> DifferenceWeights(const ArimaOrder& order);

// Weights of past errors, psi[0] = 1, as many as fit, and autocovariances at lags 0, 1, ... as many
// as fit (at most kStatesMax + 1), for errors of variance one. The autoregression is stationary.
void PsiWeights(const ArmaPolynomials& polynomials, int ar, int ma, std::span<double> psi);
void Autocovariances(const ArmaPolynomials& polynomials, int ar, int ma, std::span<double> gamma);

}  // namespace foreshadow::models
