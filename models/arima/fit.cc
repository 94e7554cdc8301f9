#include "models/arima/fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

namespace foreshadow::models {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kFreeMax = 5;    // partials up to 0.9999
constexpr double kNudge = 1e-6;   // of a free parameter, for its derivative
constexpr double kStrideMax = 1;  // of a free parameter in one step
constexpr int kIterationsMax = 60;
// Marquardt's damping, as a share of the diagonal.
constexpr double kDampingLeast = 1e-6;
constexpr double kDampingFirm = 0.1;  // of the first step that is cut
constexpr double kDampingMost = 1e6;
constexpr int64_t kCountMin = 8;    // differenced samples
constexpr double kRounding = 1e-6;  // variation below this share of the level is that of float32
constexpr double kExact = 1e-18;  // mean square, of unit variance, at which nothing is left to fit
constexpr int kLongMax = 24;      // of Hannan and Rissanen's first autoregression

// First coefficients, autoregressive and moving average, of starts far from the origin: the
// likelihood of a slow level under noise has its best hill near a moving average of -1.
constexpr std::array<std::array<double, 2>, kLanes - 3> kFarStarts = {
    {{0.7, -0.97}, {0.2, -0.98}, {0.95, -0.6}, {0.2, -0.7}, {-0.5, 0.5}}};

using Vector = std::array<double, kArimaParametersMax>;
using Matrix = std::array<Vector, kArimaParametersMax>;

// Calls visit(value, whether it is the constant) for each parameter that the order has.
template <typename Visit>
void ForParameters(const ArimaOrder& order, ArimaCoefficients& c, Visit visit) {
  for (int i = 0; i < order.p; ++i) visit(c.ar[i], false);
  for (int i = 0; i < order.q; ++i) visit(c.ma[i], false);
  for (int i = 0; i < order.seasonal_p; ++i) visit(c.seasonal_ar[i], false);
  for (int i = 0; i < order.seasonal_q; ++i) visit(c.seasonal_ma[i], false);
  if (order.constant) visit(c.constant, true);
}

void FromFree(std::span<double> values, double sign) {
  for (double& value : values) value = std::tanh(value);
  FromPartials(values);
  for (double& value : values) value *= sign;
}

ArimaCoefficients FromFree(const ArimaOrder& order, ArimaCoefficients c) {
  FromFree(std::span(c.ar).first(order.p), 1);
  FromFree(std::span(c.ma).first(order.q), -1);
  FromFree(std::span(c.seasonal_ar).first(order.seasonal_p), 1);
  FromFree(std::span(c.seasonal_ma).first(order.seasonal_q), -1);
  return c;
}

// Coefficients whose polynomial is not stable are drawn towards zero until it is.
void ToFree(std::span<double> values, double sign) {
  std::array<double, kArmaMax> kept{};
  for (size_t i = 0; i < values.size(); ++i) kept[i] = sign * values[i];
  double shrink = 1;
  for (int attempt = 0; attempt < 40; ++attempt, shrink *= 0.9) {
    double power = 1;
    for (size_t i = 0; i < values.size(); ++i) values[i] = kept[i] * (power *= shrink);
    if (!ToPartials(values)) continue;
    for (double& value : values) {
      value = std::clamp(std::atanh(std::clamp(value, -0.999, 0.999)), -kFreeMax, kFreeMax);
    }
    return;
  }
  std::ranges::fill(values, 0.0);
}

// Solves A x = b for a symmetric positive definite A (Cholesky); false if it is not.
bool Solve(Matrix a, Vector b, int n, Vector& x) {
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j <= i; ++j) {
      double sum = a[i][j];
      for (int k = 0; k < j; ++k) sum -= a[i][k] * a[j][k];
      if (i == j) {
        if (!(sum > 0)) return false;
        a[i][i] = std::sqrt(sum);
      } else {
        a[i][j] = sum / a[j][j];
      }
    }
  }
  for (int i = 0; i < n; ++i) {
    for (int k = 0; k < i; ++k) b[i] -= a[i][k] * b[k];
    b[i] /= a[i][i];
  }
  for (int i = n - 1; i >= 0; --i) {
    for (int k = i + 1; k < n; ++k) b[i] -= a[k][i] * b[k];
    b[i] /= a[i][i];
  }
  x = b;
  return true;
}

// Twice the negative log likelihood of a lane, less what all lanes share.
double Deviance(const ArimaFilter::Result& result, int lane) {
  const auto n = static_cast<double>(result.count);
  const double squares = std::max(result.Squares(lane), n * kExact * 1e-6);
  const double deviance = n * std::log(squares) + result.log_determinant.lane[lane];
  return std::isfinite(deviance) ? deviance : std::numeric_limits<double>::infinity();
}

// Gauss and Newton's equations, per unit of lane 0's sum of squares: the errors times the n-th root
// of the root of the determinant.
void Equations(const ArimaFilter::Result& result, int n, Matrix& hessian, Vector& gradient) {
  const double whole = result.gram[0].lane[0];
  Vector growth{};  // of that root, from lane 0 to the parameter's lane
  for (int i = 0; i < n; ++i) {
    growth[i] = std::expm1((result.log_determinant.lane[i + 1] - result.log_determinant.lane[0]) /
                           (2 * static_cast<double>(result.count)));
  }
  for (int i = 0; i < n; ++i) {
    const double gi = growth[i];
    const double cross_i = result.gram[0].lane[i + 1];
    gradient[i] = ((1 + gi) * cross_i + gi * whole) / (kNudge * whole);
    for (int j = 0; j < n; ++j) {
      const double gj = growth[j];
      const double cross_j = result.gram[0].lane[j + 1];
      hessian[i][j] = ((1 + gi) * (1 + gj) * result.gram[i + 1].lane[j + 1] +
                       (1 + gi) * gj * cross_i + (1 + gj) * gi * cross_j + gi * gj * whole) /
                      (kNudge * kNudge * whole);
    }
  }
}

}  // namespace

bool ArimaSamples::Prepare(std::span<const double> samples, int d, int seasonal_d, int period) {
  const auto missing = [](double x) { return std::isnan(x); };
  int64_t end = std::ssize(samples);
  while (end > 0 && missing(samples[end - 1])) --end;
  const int64_t levels = d + int64_t{seasonal_d} * period;
  // The first run that is long enough to difference.
  int64_t run = 0;
  first_ = 0;
  for (int64_t t = 0; t < end && run <= levels; ++t) {
    run = missing(samples[t]) ? 0 : run + 1;
    first_ = t + 1 - run;
  }
  if (run <= levels) return false;
  const auto used = samples.subspan(first_, end - first_);
  gaps_ = std::ranges::any_of(used, missing);
  offset_ = levels > 0 ? used[0] : 0;
  scale_ = 1;
  scaled_.resize(used.size());
  double magnitude = 0;
  for (size_t t = 0; t < used.size(); ++t) {
    scaled_[t] = used[t] - offset_;
    if (!missing(used[t])) magnitude = std::max(magnitude, std::abs(used[t]));
  }
  Difference(d, seasonal_d, period);
  center_ = 0;
  count_ = 0;
  for (const double w : differenced_) {
    if (missing(w)) continue;
    center_ += w;
    ++count_;
  }
  if (count_ < kCountMin) return false;
  center_ /= static_cast<double>(count_);
  double largest = 0;
  for (const double w : differenced_) {
    if (!missing(w)) largest = std::max(largest, std::abs(w - center_));
  }
  if (largest <= kRounding * magnitude || largest == 0) return false;
  double squares = 0;
  for (const double w : differenced_) {
    if (!missing(w)) squares += (w - center_) / largest * ((w - center_) / largest);
  }
  scale_ = largest * std::sqrt(squares / static_cast<double>(count_));
  if (levels == 0) offset_ = center_;
  for (size_t t = 0; t < used.size(); ++t) scaled_[t] = (used[t] - offset_) / scale_;
  Difference(d, seasonal_d, period);
  constant_factor_ = seasonal_d > 0 ? period : 1;
  Covariances(kArmaMax + kSeasonalArmaMax * period, levels > 0 ? center_ / scale_ : 0);
  return true;
}

void ArimaSamples::Difference(int d, int seasonal_d, int period) {
  differenced_ = scaled_;
  const auto difference = [&](int64_t lag) {
    for (int64_t t = std::ssize(differenced_) - 1; t >= lag; --t) {
      differenced_[t] -= differenced_[t - lag];
    }
    differenced_.erase(differenced_.begin(), differenced_.begin() + lag);
  };
  for (int i = 0; i < d; ++i) difference(1);
  for (int i = 0; i < seasonal_d; ++i) difference(period);
}

void ArimaSamples::Covariances(int lags, double mean) {
  const int64_t n = std::ssize(differenced_);
  std::vector<double>& w = errors_;  // centred, 0 where missing, until it holds the errors
  w.resize(differenced_.size());
  for (int64_t t = 0; t < n; ++t) {
    w[t] = std::isnan(differenced_[t]) ? 0 : differenced_[t] - mean;
  }
  const auto products = [n](const std::vector<double>& a, const std::vector<double>& b,
                            int64_t lag) {
    double sums[4] = {};
    int64_t t = lag;
    for (; t + 4 <= n; t += 4) {
      for (int k = 0; k < 4; ++k) sums[k] += a[t + k] * b[t + k - lag];
    }
    for (; t < n; ++t) sums[0] += a[t] * b[t - lag];
    return sums[0] + sums[1] + sums[2] + sums[3];
  };
  const int longest = static_cast<int>(std::min<int64_t>(kLongMax, n / 4));
  const int rows = static_cast<int>(std::min<int64_t>(std::max(lags, longest), n - 1));
  own_.assign(static_cast<size_t>(std::max(lags, rows)) + 1, 0.0);
  for (int lag = 0; lag <= rows; ++lag) own_[lag] = products(w, w, lag);
  // Levinson's recursion for the long autoregression.
  std::array<double, kLongMax> predictor{};
  double left = own_[0];
  for (int k = 0; k < longest; ++k) {
    double partial = own_[k + 1];
    for (int j = 0; j < k; ++j) partial -= predictor[j] * own_[k - j];
    partial /= left;
    std::array<double, kLongMax> before = predictor;
    for (int j = 0; j < k; ++j) predictor[j] -= partial * before[k - 1 - j];
    predictor[k] = partial;
    left *= 1 - partial * partial;
    if (!(left > 1e-12 * own_[0])) break;
  }
  std::vector<double>& held = backward_;  // room for the centred samples
  held = w;
  for (int64_t t = n - 1; t >= 0; --t) {
    double error = held[t];
    const auto reach = static_cast<int>(std::min<int64_t>(longest, t));
    for (int j = 0; j < reach; ++j) error -= predictor[j] * held[t - 1 - j];
    errors_[t] = error;
  }
  forward_.assign(own_.size(), 0.0);
  of_errors_.assign(own_.size(), 0.0);
  std::array<double, kStatesMax + 1> back{};
  for (int lag = 0; lag <= std::min(lags, rows); ++lag) {
    forward_[lag] = products(held, errors_, lag);
    of_errors_[lag] = products(errors_, errors_, lag);
    back[lag] = products(errors_, held, lag);
  }
  backward_.assign(own_.size(), 0.0);
  std::copy_n(back.begin(), std::min(lags, rows) + 1, backward_.begin());
}

// Regression on past samples and past errors at the lags of the order (Hannan and Rissanen 1982,
// second step).
ArimaCoefficients ArimaFitter::Start(const ArimaOrder& order, const ArimaSamples& s) const {
  struct Term {
    int lag;
    bool error;
    double* to;
  };
  ArimaCoefficients start;
  std::array<Term, kArimaParametersMax> terms;
  int n = 0;
  for (int i = 0; i < order.p; ++i) terms[n++] = {i + 1, false, &start.ar[i]};
  for (int i = 0; i < order.q; ++i) terms[n++] = {i + 1, true, &start.ma[i]};
  for (int i = 0; i < order.seasonal_p; ++i) {
    terms[n++] = {(i + 1) * order.period, false, &start.seasonal_ar[i]};
  }
  for (int i = 0; i < order.seasonal_q; ++i) {
    terms[n++] = {(i + 1) * order.period, true, &start.seasonal_ma[i]};
  }
  Matrix a{};
  Vector b{};
  for (int i = 0; i < n; ++i) {
    b[i] = terms[i].error ? s.forward_[terms[i].lag] : s.own_[terms[i].lag];
    for (int j = 0; j < n; ++j) {
      // The product of term i and term j a lag of one another; the later one comes first.
      const Term& late = terms[i].lag <= terms[j].lag ? terms[i] : terms[j];
      const Term& early = terms[i].lag <= terms[j].lag ? terms[j] : terms[i];
      const int lag = early.lag - late.lag;
      a[i][j] = late.error ? (early.error ? s.of_errors_[lag] : s.backward_[lag])
                           : (early.error ? s.forward_[lag] : s.own_[lag]);
    }
    a[i][i] += 1e-6 * s.own_[0];
  }
  Vector x{};
  if (n > 0 && Solve(a, b, n, x)) {
    for (int i = 0; i < n; ++i) *terms[i].to = x[i];
  }
  ToFree(std::span(start.ar).first(order.p), 1);
  ToFree(std::span(start.ma).first(order.q), -1);
  ToFree(std::span(start.seasonal_ar).first(order.seasonal_p), 1);
  ToFree(std::span(start.seasonal_ma).first(order.seasonal_q), -1);
  return start;
}

void ArimaFitter::Run(const ArimaOrder& order, const ArimaSamples& samples,
                      std::span<const ArimaCoefficients, kLanes> free) {
  std::array<ArimaCoefficients, kLanes> coefficients;
  for (int lane = 0; lane < kLanes; ++lane) coefficients[lane] = FromFree(order, free[lane]);
  filter_.SetModel(order, coefficients);
  if (samples.gaps_) {
    filter_.RunLevels(samples.scaled_, {}, {});
  } else {
    filter_.RunDifferenced(samples.differenced_, samples.constant_factor_);
  }
}

ArimaFit ArimaFitter::Fit(const ArimaOrder& order, const ArimaSamples& samples,
                          const ArimaFit* neighbour, double tolerance) {
  ArimaFit fit;
  fit.order = order;
  const int n = order.Parameters();
  // The samples are centred where nothing is differenced, so a model without a mean has this one.
  const bool centred = order.Levels() == 0;
  double constant = centred ? 0 : samples.center_ / samples.scale_ / samples.constant_factor_;
  if (!order.constant) constant = centred ? -samples.center_ / samples.scale_ : 0;

  std::array<ArimaCoefficients, kLanes> lanes{};
  lanes[1] = Start(order, samples);
  if (neighbour != nullptr) {
    // Partials beyond the neighbour's order are zero, and the polynomials the same.
    ArimaCoefficients& same = lanes[2];
    same = neighbour->free;
    std::fill(same.ar.begin() + order.p, same.ar.end(), 0.0);
    std::fill(same.ma.begin() + order.q, same.ma.end(), 0.0);
    std::fill(same.seasonal_ar.begin() + order.seasonal_p, same.seasonal_ar.end(), 0.0);
    std::fill(same.seasonal_ma.begin() + order.seasonal_q, same.seasonal_ma.end(), 0.0);
  }
  for (size_t i = 0; i < kFarStarts.size(); ++i) {
    ArimaCoefficients& far = lanes[3 + i];
    if (order.p > 0) far.ar[0] = std::atanh(kFarStarts[i][0]);
    if (order.q > 0) far.ma[0] = std::atanh(-kFarStarts[i][1]);
  }
  for (ArimaCoefficients& lane : lanes) lane.constant = constant;
  if (neighbour != nullptr && order.constant && neighbour->order.constant) {
    lanes[2].constant = neighbour->free.constant;
  }
  if (n > (order.constant ? 1 : 0)) {
    Run(order, samples, lanes);
    ++fit.passes;
    int best = 0;
    for (int lane = 1; lane < kLanes; ++lane) {
      if (Deviance(filter_.result(), lane) < Deviance(filter_.result(), best)) best = lane;
    }
    fit.free = lanes[best];
  } else {
    fit.free = lanes[0];
  }

  // Lane 0 is at the point, each other lane a nudge along its parameter.
  const auto evaluate = [&](const ArimaCoefficients& at) {
    for (int lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = at;
      int index = 0;
      ForParameters(order, lanes[lane], [&](double& value, bool) {
        if (++index == lane) value += kNudge;
      });
    }
    Run(order, samples, lanes);
    ++fit.passes;
  };
  const auto keep = [&] {
    const auto count = static_cast<double>(filter_.result().count);
    const double squares = std::max(filter_.result().Squares(0), count * kExact);
    fit.variance = squares / count;
    fit.log_likelihood = -0.5 * (count * (std::log(2 * std::numbers::pi * fit.variance) + 1) +
                                 filter_.result().log_determinant.lane[0]);
  };
  evaluate(fit.free);
  keep();
  double deviance = Deviance(filter_.result(), 0);
  double damping = kDampingLeast;
  Matrix hessian{};
  Vector gradient{};
  bool fresh = true;
  for (int iteration = 0; iteration < kIterationsMax && n > 0 && damping < kDampingMost;
       ++iteration) {
    const auto count = static_cast<double>(filter_.result().count);
    if (fresh) {
      if (!(filter_.result().Squares(0) > count * kExact) || !std::isfinite(deviance)) break;
      Equations(filter_.result(), n, hessian, gradient);
    }
    fresh = false;
    Matrix damped = hessian;
    for (int i = 0; i < n; ++i) damped[i][i] += damping * (hessian[i][i] + 1e-9);
    Vector stride{};
    if (!Solve(damped, gradient, n, stride)) {
      damping = std::max(kDampingFirm, damping * 10);
      continue;
    }
    ArimaCoefficients tried = fit.free;
    double promised = 0;
    int index = 0;
    ForParameters(order, tried, [&](double& value, bool is_constant) {
      const double before = value;
      if (is_constant) {
        value -= stride[index];
      } else {
        value = std::clamp(value - std::clamp(stride[index], -kStrideMax, kStrideMax), -kFreeMax,
                           kFreeMax);
      }
      promised += gradient[index] * (before - value);
      ++index;
    });
    // Half the promised share of the sum of squares, times the samples, is log likelihood.
    if (promised * count * 0.5 < tolerance) break;
    evaluate(tried);
    const double now = Deviance(filter_.result(), 0);
    // A step that keeps little of its promise was too long even where it improved.
    const double kept = (deviance - now) / (promised * count);
    if (!(kept >= 0.25)) {
      damping = std::max(kDampingFirm, damping * 10);
    } else if (kept > 0.75) {
      damping = std::max(kDampingLeast, damping * 0.1);
    }
    if (now < deviance) {
      fit.free = tried;
      deviance = now;
      keep();
      fresh = true;
    }
  }

  fit.coefficients = FromFree(order, fit.free);
  double& c = fit.coefficients.constant;
  c = order.constant ? c * samples.scale_ + (centred ? samples.center_ : 0) : 0;
  fit.variance *= samples.scale_ * samples.scale_;
  fit.log_likelihood -= static_cast<double>(filter_.result().count) * std::log(samples.scale_);
  // As R's package forecast counts: the variance is a parameter, gaps are samples.
  const double parameters = n + 1;
  const auto length = static_cast<double>(std::ssize(samples.differenced_));
  fit.aicc = length - parameters - 1 > 0
                 ? -2 * fit.log_likelihood + 2 * parameters * length / (length - parameters - 1)
                 : std::numeric_limits<double>::infinity();
  return fit;
}

void ArimaFitter::Forecast(const ArimaFit& fit, const ArimaSamples& samples,
                           std::span<const double> all, int steps, ArimaForecast& out) {
  const auto used = all.subspan(static_cast<size_t>(samples.first_));
  extended_.assign(used.size() + static_cast<size_t>(steps), kNan);
  for (size_t t = 0; t < used.size(); ++t) {
    extended_[t] = (used[t] - samples.offset_) / samples.scale_;
  }
  predicted_.resize(extended_.size());
  variance_.resize(extended_.size());
  std::array<ArimaCoefficients, kLanes> coefficients;
  ArimaCoefficients scaled = FromFree(fit.order, fit.free);
  coefficients.fill(scaled);
  filter_.SetModel(fit.order, coefficients);
  filter_.RunLevels(extended_, predicted_, variance_);
  const double deviation = std::sqrt(fit.variance);
  out.errors.assign(static_cast<size_t>(samples.first_), kNan);
  for (size_t t = 0; t < used.size(); ++t) {
    out.errors.push_back((extended_[t] - predicted_[t]) * samples.scale_ / std::sqrt(variance_[t]));
  }
  out.weights.resize(static_cast<size_t>(steps));
  PsiWeights(Expand(fit.order, scaled), fit.order.ArLength(), fit.order.MaLength(), out.weights);
  const std::vector<double> difference = DifferenceWeights(fit.order);
  for (int step = 1; step < steps; ++step) {
    const int known = std::min(step, fit.order.Levels());
    for (int i = 0; i < known; ++i) out.weights[step] += difference[i] * out.weights[step - 1 - i];
  }
  out.mean.resize(static_cast<size_t>(steps));
  out.deviation.resize(static_cast<size_t>(steps));
  for (int step = 0; step < steps; ++step) {
    const size_t t = used.size() + static_cast<size_t>(step);
    out.mean[step] = samples.offset_ + samples.scale_ * predicted_[t];
    out.deviation[step] = deviation * std::sqrt(variance_[t]);
  }
}

}  // namespace foreshadow::models
