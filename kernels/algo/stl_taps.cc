#include "kernels/algo/stl_taps.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/check.h"

namespace foreshadow::kernels {
namespace {

struct Loess {
  int64_t n;
  int64_t window;
  int degree;
};

// The points that a fit at step i rests on, 1-based as in the paper.
struct Neighbours {
  int64_t left;
  int64_t right;
};

Neighbours Near(const Loess& l, int64_t i) {
  if (l.window >= l.n) return {1, l.n};
  const int64_t half = (l.window + 1) / 2;
  const int64_t left = std::clamp<int64_t>(i - half + 1, 1, l.n - l.window + 1);
  return {left, left + l.window - 1};
}

// Tricube weights around x times the line through them: the row of the smoother at x. Empty where
// all weights are zero.
std::vector<double> RowAt(const Loess& l, double x, Neighbours near) {
  const auto left = static_cast<double>(near.left);
  double h = std::max(x - left, static_cast<double>(near.right) - x);
  if (l.window > l.n) h += static_cast<double>((l.window - l.n) / 2);
  std::vector<double> row(static_cast<size_t>(near.right - near.left + 1));
  double sum = 0;
  double center = 0;
  for (size_t j = 0; j < row.size(); ++j) {
    const double at = left + static_cast<double>(j);
    const double r = std::abs(at - x);
    const double q = r / h;
    row[j] = r <= 0.001 * h ? 1 : r <= 0.999 * h ? std::pow(1 - q * q * q, 3) : 0;
    sum += row[j];
    center += row[j] * at;
  }
  if (sum <= 0) return {};
  center /= sum;
  double spread = 0;
  for (size_t j = 0; j < row.size(); ++j) {
    row[j] /= sum;
    spread += row[j] * std::pow(left + static_cast<double>(j) - center, 2);
  }
  if (l.degree > 0 && std::sqrt(spread) > 0.001 * static_cast<double>(l.n - 1)) {
    for (size_t j = 0; j < row.size(); ++j) {
      row[j] *= 1 + (x - center) / spread * (left + static_cast<double>(j) - center);
    }
  }
  return row;
}

// y += row(x)^T g; a row without weight is the identity at `otherwise`.
void AddTransposedFit(const Loess& l, double x, Neighbours near, double g, int64_t otherwise,
                      std::span<double> y) {
  const std::vector<double> row = RowAt(l, x, near);
  if (row.empty()) y[static_cast<size_t>(otherwise - 1)] += g;
  for (size_t j = 0; j < row.size(); ++j) y[static_cast<size_t>(near.left - 1) + j] += g * row[j];
}

// y += Smooth^T g: fits every jump steps and at the end, lines between.
void AddTransposedSmooth(const Loess& l, int64_t jump_asked, std::span<const double> g,
                         std::span<double> y) {
  if (l.n < 2) {
    y[0] += g[0];
    return;
  }
  const int64_t jump = std::min(jump_asked, l.n - 1);
  std::vector<int64_t> knots;
  for (int64_t i = 1; i <= l.n; i += jump) knots.push_back(i);
  const Neighbours last = Near(l, knots.back());
  if (knots.back() != l.n) knots.push_back(l.n);
  for (size_t k = 0; k < knots.size(); ++k) {
    const auto share = [&](int64_t step, int64_t other) {
      return static_cast<double>(std::abs(step - other)) /
             static_cast<double>(std::abs(knots[k] - other));
    };
    double weight = g[static_cast<size_t>(knots[k] - 1)];
    for (int64_t i = k == 0 ? 1 : knots[k - 1] + 1; i < knots[k]; ++i) {
      weight += share(i, knots[k - 1]) * g[static_cast<size_t>(i - 1)];
    }
    const int64_t end = k + 1 == knots.size() ? knots[k] : knots[k + 1];
    for (int64_t i = knots[k] + 1; i < end; ++i) {
      weight += share(i, end) * g[static_cast<size_t>(i - 1)];
    }
    // The last step is fitted on the neighbours of the knot before it, as the original does.
    const Neighbours near = knots[k] == l.n ? last : Near(l, knots[k]);
    if (weight != 0) {
      AddTransposedFit(l, static_cast<double>(knots[k]), near, weight, knots[k], y);
    }
  }
}

// The transpose of smoothing the cycle-subseries, [steps + 2 period] to [steps].
std::vector<double> TransposedCycles(const StlPlan& plan, std::span<const double> g) {
  std::vector<double> y(static_cast<size_t>(plan.steps));
  for (int64_t phase = 0; phase < plan.period; ++phase) {
    const int64_t count = (plan.steps - phase - 1) / plan.period + 1;
    const Loess l{count, plan.seasonal_window, plan.seasonal_degree};
    const auto at = [&](int64_t i) { return static_cast<size_t>(i * plan.period + phase); };
    std::vector<double> smooth(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) smooth[static_cast<size_t>(i)] = g[at(i + 1)];
    std::vector<double> sub(static_cast<size_t>(count));
    const int64_t reach = std::min(plan.seasonal_window, count);
    // A step beyond an end whose weights are all zero repeats that end.
    const auto extend = [&](double x, Neighbours near, double gradient, size_t end) {
      if (RowAt(l, x, near).empty()) {
        smooth[end] += gradient;
      } else {
        AddTransposedFit(l, x, near, gradient, 1, sub);
      }
    };
    extend(0, {1, reach}, g[at(0)], 0);
    extend(static_cast<double>(count + 1), {count - reach + 1, count}, g[at(count + 1)],
           static_cast<size_t>(count - 1));
    AddTransposedSmooth(l, plan.seasonal_jump, smooth, sub);
    for (int64_t i = 0; i < count; ++i) y[at(i)] = sub[static_cast<size_t>(i)];
  }
  return y;
}

std::vector<double> TransposedAverage(std::span<const double> g, int64_t length) {
  std::vector<double> x(g.size() + static_cast<size_t>(length) - 1);
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    if (i < g.size()) sum += g[i];
    if (i >= static_cast<size_t>(length)) sum -= g[i - static_cast<size_t>(length)];
    x[i] = sum / static_cast<double>(length);
  }
  return x;
}

// The functional <trend, T> + <seasonal, S> of the components, as one of the samples.
std::vector<double> Transposed(const StlPlan& plan, std::vector<double> trend,
                               std::vector<double> seasonal) {
  const auto n = static_cast<size_t>(plan.steps);
  std::vector<double> samples(n);
  for (int pass = 0; pass < plan.inner; ++pass) {
    std::vector<double> rest(n);
    AddTransposedSmooth({plan.steps, plan.trend_window, plan.trend_degree}, plan.trend_jump, trend,
                        rest);
    for (size_t i = 0; i < n; ++i) {
      samples[i] += rest[i];
      seasonal[i] -= rest[i];
    }
    std::vector<double> low(n);
    AddTransposedSmooth({plan.steps, plan.low_pass_window, plan.low_pass_degree},
                        plan.low_pass_jump, seasonal, low);
    std::vector<double> cycles =
        TransposedAverage(TransposedAverage(TransposedAverage(low, 3), plan.period), plan.period);
    for (double& value : cycles) value = -value;
    for (size_t i = 0; i < n; ++i) cycles[i + static_cast<size_t>(plan.period)] += seasonal[i];
    const std::vector<double> detrended = TransposedCycles(plan, cycles);
    for (size_t i = 0; i < n; ++i) {
      samples[i] += detrended[i];
      trend[i] = -detrended[i];
    }
    seasonal.assign(n, 0);
  }
  return samples;
}

}  // namespace

StlTaps LastStepTaps(const StlPlan& plan) {
  FORESHADOW_CHECK(plan.outer == 0);
  const auto n = static_cast<size_t>(plan.steps);
  const std::vector<double> nothing(n);
  std::vector<double> trend_last = nothing;
  trend_last[n - 1] = 1;
  std::vector<double> seasonal_last = nothing;
  if (plan.periodic) {
    const auto period = static_cast<size_t>(plan.period);
    const auto count = static_cast<double>((n - 1) / period + 1);
    for (size_t i = (n - 1) % period; i < n; i += period) seasonal_last[i] = 1 / count;
  } else {
    seasonal_last[n - 1] = 1;
  }
  StlTaps taps{Transposed(plan, trend_last, nothing), Transposed(plan, nothing, seasonal_last)};
  std::reverse(taps.trend.begin(), taps.trend.end());
  std::reverse(taps.seasonal.begin(), taps.seasonal.end());
  return taps;
}

}  // namespace foreshadow::kernels
