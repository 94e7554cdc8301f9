#include "models/arima/polynomial.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>

namespace foreshadow::models {
namespace {

// Reflects values[0..k) about their middle, as both directions of the recursion need it.
void Reflect(std::span<double> values, size_t k, double partial, double divisor) {
  for (size_t i = 0, j = k - 1; i <= j && j < k; ++i, --j) {
    const double low = values[i];
    const double high = values[j];
    values[i] = (low - partial * high) / divisor;
    values[j] = (high - partial * low) / divisor;
    if (j == 0) break;
  }
}

constexpr double kPartialMax = 1 - 1e-10;  // rounding may push a product of polynomials over it

}  // namespace

void FromPartials(std::span<double> values) {
  for (size_t k = 1; k < values.size(); ++k) Reflect(values, k, values[k], 1);
}

bool ToPartials(std::span<double> values) {
  for (size_t k = values.size(); k-- > 0;) {
    const double partial = values[k];
    if (!(std::abs(partial) < 1)) return false;
    if (k > 0) Reflect(values, k, -partial, 1 - partial * partial);
  }
  return true;
}

bool RootsBeyond(std::span<const double> values, double radius) {
  std::array<double, kStatesMax> scaled;
  double power = 1;
  for (size_t i = 0; i < values.size(); ++i) {
    power *= radius;
    scaled[i] = values[i] * power;
  }
  return ToPartials(std::span(scaled).first(values.size()));
}

ArmaPolynomials Expand(const ArimaOrder& order, const ArimaCoefficients& c) {
  ArmaPolynomials out;
  std::copy_n(c.ar.begin(), order.p, out.ar.begin());
  std::copy_n(c.ma.begin(), order.q, out.ma.begin());
  for (int s = 0; s < order.seasonal_p; ++s) {
    const int lag = (s + 1) * order.period;
    out.ar[lag - 1] += c.seasonal_ar[s];
    for (int i = 0; i < order.p; ++i) out.ar[lag + i] -= c.seasonal_ar[s] * c.ar[i];
  }
  for (int s = 0; s < order.seasonal_q; ++s) {
    const int lag = (s + 1) * order.period;
    out.ma[lag - 1] += c.seasonal_ma[s];
    for (int i = 0; i < order.q; ++i) out.ma[lag + i] += c.seasonal_ma[s] * c.ma[i];
  }
  return out;
}

std::vector<double> DifferenceWeights(const ArimaOrder& order) {
  // (1 - B)^d (1 - B^period)^D, from lag 0.
  std::vector<double> factors(static_cast<size_t>(order.Levels()) + 1, 0.0);
  factors[0] = 1;
  const auto multiply = [&](int lag) {
    for (int i = order.Levels(); i >= lag; --i) factors[i] -= factors[i - lag];
  };
  for (int i = 0; i < order.d; ++i) multiply(1);
  for (int i = 0; i < order.seasonal_d; ++i) multiply(order.period);
  std::vector<double> weights;
  for (int i = 0; i < order.Levels(); ++i) weights.push_back(-factors[i + 1]);
  return weights;
}

void PsiWeights(const ArmaPolynomials& poly, int ar, int ma, std::span<double> psi) {
  psi[0] = 1;
  for (int j = 1; j < std::ssize(psi); ++j) {
    double sum = j <= ma ? poly.ma[j - 1] : 0;
    for (int i = 1; i <= std::min(j, ar); ++i) sum += poly.ar[i - 1] * psi[j - i];
    psi[j] = sum;
  }
}

void Autocovariances(const ArmaPolynomials& poly, int ar, int ma, std::span<double> gamma) {
  // Of the autoregression alone: its best predictors of every order give the variance (product of
  // 1 - partial^2) and, by the last Yule-Walker equation of each order, one more autocovariance.
  std::array<double, 2 * kStatesMax + 2> u{};
  std::array<double, kStatesMax> partials = poly.ar;
  const auto count = static_cast<size_t>(ar);
  ToPartials(std::span(partials).first(count));
  u[0] = 1;
  for (size_t k = 0; k < count; ++k) {
    partials[k] = std::clamp(partials[k], -kPartialMax, kPartialMax);
    u[0] /= 1 - partials[k] * partials[k];
  }
  std::array<double, kStatesMax> predictor{};
  const int needed = static_cast<int>(gamma.size()) + ma;
  for (int h = 1; h < needed; ++h) {
    if (h <= ar) {
      if (h > 1) Reflect(predictor, static_cast<size_t>(h - 1), partials[h - 1], 1);
      predictor[h - 1] = partials[h - 1];
    }
    double sum = 0;
    for (int j = 1; j <= std::min(h, ar); ++j) sum += predictor[j - 1] * u[h - j];
    u[h] = sum;
  }
  // Then filtered by the moving average.
  std::array<double, kStatesMax + 1> products{};
  for (int k = 0; k <= ma; ++k) {
    products[k] = k == 0 ? 1 : poly.ma[k - 1];
    for (int i = 0; i + k < ma; ++i) products[k] += poly.ma[i] * poly.ma[i + k];
  }
  for (int h = 0; h < std::ssize(gamma); ++h) {
    double sum = products[0] * u[h];
    for (int k = 1; k <= ma; ++k) sum += products[k] * (u[h + k] + u[std::abs(h - k)]);
    gamma[h] = sum;
  }
}

}  // namespace foreshadow::models
