// The exact Gaussian likelihood of an ARIMA model, for eight vectors of parameters at once: a SIMD
// lane is a vector of parameters, not a series, so that each series goes its own way through the
// orders and one pass gives the likelihood and its derivatives. Double precision.
//
// State space in innovations form (Hyndman, Koehler, Ord and Snyder 2008, chapter 11): the state is
// the forecasts of the next samples (Akaike 1974), the error of a step moves it by the psi weights,
// and its covariance falls to zero where the past is known. Differencing adds the last samples
// themselves ("levels").
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "models/arima/polynomial.h"

namespace foreshadow::models {

inline constexpr int kLanes = 8;

struct alignas(64) Octet {
  std::array<double, kLanes> lane{};
};

// Scratch of one thread: grows to the largest model, allocates nothing after that.
class ArimaFilter {
 public:
  // Lane i follows coefficients[i]; the levels' weights come from the order.
  void SetModel(const ArimaOrder& order, std::span<const ArimaCoefficients, kLanes> coefficients);

  // All samples are there and differenced already: `constant_factor` is what differencing has made
  // of the constant's regressor. Costs 2 States() multiplications a step and lane (Chandrasekhar
  // recursions, Morf, Sidhu and Kailath 1974, until the gain has settled).
  void RunDifferenced(std::span<const double> samples, double constant_factor);

  // Samples as they are, NaN = missing; the first Levels() are there, and known. Kalman filter
  // (Durbin and Koopman 2012, section 4.3), shortened where the covariance has vanished. If they
  // are not empty, lane 0's forecast of each step and its variance, in that of the errors, go to
  // `predicted` and `variance`; the first Levels() are NaN.
  void RunLevels(std::span<const double> samples, std::span<double> predicted,
                 std::span<double> variance);

  // Of the last run. Standardised errors r, variance of each one: gram[0][0] is the sum of r^2 of
  // lane 0; gram[i][j] of d_i d_j, where d_i = r_i - r_0, and of r_0 in d_0's place.
  struct Result {
    std::array<Octet, kLanes> gram;
    Octet log_determinant;  // sum over steps of the log of the forecast's variance
    int64_t count = 0;      // samples that were scored
    double Squares(int lane) const;
  };
  const Result& result() const { return result_; }

  // What the passes work on; theirs alone.
  struct Memory {
    int states = 0;  // of the ARMA part
    int ar = 0;      // length of the autoregression
    int levels = 0;
    bool trend_regressor = false;    // the constant is a drift: its regressor is the time
    std::vector<Octet> phi;          // [states], zero beyond ar
    std::vector<Octet> psi;          // [states + 1], from lag 0
    std::vector<Octet> gamma;        // [states + 1], from lag 0
    std::vector<double> difference;  // [levels] value(t) = differenced + sum of these
    Octet constant;
    std::vector<Octet> state;      // [states + levels]
    std::vector<Octet> gain;       // likewise
    std::vector<Octet> direction;  // likewise
    std::vector<Octet> rows;       // two matrices of [states + levels] squared
    std::vector<Octet> covariance;
  };

 private:
  Memory memory_;
  Result result_;
};

}  // namespace foreshadow::models
