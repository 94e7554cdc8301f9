// Maximum likelihood for one ARIMA model of one series, and its forecasts. Gauss and Newton's
// method on the standardised errors, damped (Levenberg 1944, Marquardt 1963); the determinant is
// folded into them (Box, Jenkins and Reinsel 2008, section 7.1.4). Nothing is conditional on the
// first samples: the likelihood is exact, that of differenced samples where there is differencing
// (as with a diffuse prior).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/arima/filter.h"
#include "models/arima/order.h"
#include "models/arima/polynomial.h"

namespace foreshadow::models {

// A series made ready for all orders of the same differencing. Reused from series to series.
class ArimaSamples {
 public:
  // False where no model can be fitted: too few samples, no run long enough to difference, or no
  // variation beyond rounding. `samples` may have gaps (NaN) and must outlive this.
  bool Prepare(std::span<const double> samples, int d, int seasonal_d, int period);

  int64_t count() const { return count_; }  // differenced samples that are there

 private:
  friend class ArimaFitter;
  void Difference(int d, int seasonal_d, int period);
  void Covariances(int lags, double mean);

  // samples = offset + scale * scaled, from `first` on and up to the last one that is there.
  double offset_ = 0;
  double scale_ = 1;
  double center_ = 0;  // mean of the differenced, in their unit
  double constant_factor_ = 1;
  int64_t first_ = 0;
  int64_t count_ = 0;
  bool gaps_ = false;
  std::vector<double> scaled_;
  std::vector<double> differenced_;
  // Hannan and Rissanen (1982): errors of a long autoregression stand in for the true ones.
  // Covariances of samples and errors at lags 0, 1, ...
  std::vector<double> errors_;
  std::vector<double> own_;        // sample(t) sample(t - lag)
  std::vector<double> forward_;    // sample(t) error(t - lag)
  std::vector<double> backward_;   // error(t) sample(t - lag)
  std::vector<double> of_errors_;  // error(t) error(t - lag)
};

struct ArimaFit {
  ArimaOrder order;
  ArimaCoefficients coefficients;
  ArimaCoefficients free;  // what the search moves: inverse hyperbolic tangents of partials
  double variance = 0;     // of the errors, sum of squares over samples, as R's sigma2
  double log_likelihood = 0;
  double aicc = 0;
  int passes = 0;  // of the filter
};

struct ArimaForecast {
  // Of one step, NaN where there is none. Where the past is not yet known, at the start and behind
  // gaps, in proportion smaller, so that all have the variance of the errors.
  std::vector<double> errors;
  std::vector<double> weights;    // [steps] of past errors in a sample, by distance; 1 first
  std::vector<double> mean;       // [steps]
  std::vector<double> deviation;  // [steps]
};

inline constexpr double kFitTolerance = 1e-6;     // of the log likelihood, for the one that is kept
inline constexpr double kChoiceTolerance = 1e-2;  // while orders are compared

// Scratch of one thread.
class ArimaFitter {
 public:
  // The best of the starts that Hannan and Rissanen, a few far points and, if not null, `neighbour`
  // give, improved until a step promises less than `tolerance` of log likelihood. order.d and
  // seasonal_d are those that `samples` was prepared with; order.Parameters() <=
  // kArimaParametersMax.
  ArimaFit Fit(const ArimaOrder& order, const ArimaSamples& samples, const ArimaFit* neighbour,
               double tolerance);

  // Of the steps behind the last of `all`, the samples that `samples` was prepared from.
  void Forecast(const ArimaFit& fit, const ArimaSamples& samples, std::span<const double> all,
                int steps, ArimaForecast& out);

 private:
  ArimaCoefficients Start(const ArimaOrder& order, const ArimaSamples& samples) const;
  void Run(const ArimaOrder& order, const ArimaSamples& samples,
           std::span<const ArimaCoefficients, kLanes> free);

  ArimaFilter filter_;
  std::vector<double> extended_;
  std::vector<double> predicted_;
  std::vector<double> variance_;
};

}  // namespace foreshadow::models
