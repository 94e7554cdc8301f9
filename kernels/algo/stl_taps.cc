#include "kernels/algo/stl_taps.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/algo/loess.h"
#include "kernels/check.h"

namespace foreshadow::kernels {
namespace {

// y += row^T g, where row is that of a fit.
void AddTransposedFit(const LoessShape& shape, const LoessFit& fit, double g, std::span<double> y) {
  std::vector<double> row(static_cast<size_t>(RowWidth(shape)));
  PlainRow(shape, fit, row.data());
  for (size_t j = 0; j < row.size(); ++j) y[static_cast<size_t>(fit.left - 1) + j] += g * row[j];
}

// y += Smooth^T g: fits at every jump-th step and at the last, lines between.
void AddTransposedSmooth(const LoessShape& shape, std::span<const double> g, std::span<double> y) {
  const int64_t fits = FitCount(shape);
  for (int64_t k = 0; k < fits; ++k) {
    const LoessFit fit = FitAt(shape, k);
    const auto share = [&](int64_t step, int64_t other) {
      return static_cast<double>(std::abs(step - other)) /
             static_cast<double>(std::abs(fit.x - other));
    };
    double weight = g[static_cast<size_t>(fit.x - 1)];
    const int64_t before = k == 0 ? fit.x : FitAt(shape, k - 1).x;
    for (int64_t i = before + 1; i < fit.x; ++i) {
      weight += share(i, before) * g[static_cast<size_t>(i - 1)];
    }
    const int64_t after = k + 1 == fits ? fit.x : FitAt(shape, k + 1).x;
    for (int64_t i = fit.x + 1; i < after; ++i) {
      weight += share(i, after) * g[static_cast<size_t>(i - 1)];
    }
    if (weight != 0) AddTransposedFit(shape, fit, weight, y);
  }
}

// The transpose of smoothing the cycle-subseries, [steps + 2 period] to [steps].
std::vector<double> TransposedCycles(const StlPlan& plan, std::span<const double> g) {
  std::vector<double> y(static_cast<size_t>(plan.steps));
  for (int64_t phase = 0; phase < plan.period; ++phase) {
    const int64_t count = (plan.steps - phase - 1) / plan.period + 1;
    const LoessShape shape = SeasonalShape(plan, count);
    const auto at = [&](int64_t i) { return static_cast<size_t>(i * plan.period + phase); };
    std::vector<double> smooth(static_cast<size_t>(count));
    for (int64_t i = 0; i < count; ++i) smooth[static_cast<size_t>(i)] = g[at(i + 1)];
    std::vector<double> sub(static_cast<size_t>(count));
    for (const int end : {0, 1}) {
      const LoessFit beyond = EndFit(shape, end);
      AddTransposedFit(shape, beyond, g[at(beyond.x)], sub);
    }
    AddTransposedSmooth(shape, smooth, sub);
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
    AddTransposedSmooth(TrendShape(plan), trend, rest);
    for (size_t i = 0; i < n; ++i) {
      samples[i] += rest[i];
      seasonal[i] -= rest[i];
    }
    std::vector<double> low(n);
    AddTransposedSmooth(LowPassShape(plan), seasonal, low);
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
