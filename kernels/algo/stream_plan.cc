#include "kernels/algo/stream_plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <span>

#include "kernels/algo/stl_plan.h"
#include "kernels/algo/stl_taps.h"
#include "kernels/algo/stream.h"
#include "kernels/check.h"

namespace foreshadow::kernels {
namespace {

using Modes = std::array<double, kStreamModes>;

// The functionals of the last step, by lag, taken apart.
struct Parts {
  std::vector<double> trend;
  std::vector<double> level;  // of the season, without
  std::vector<double> comb;   // what a phase's own samples weigh more than their neighbours
};

Parts TakeApart(const StlTaps& taps, const StreamModel& m) {
  Parts parts{taps.trend, taps.seasonal, {}};
  const auto n = static_cast<int64_t>(taps.seasonal.size());
  const auto tap = [&](int64_t lag) { return taps.seasonal[static_cast<size_t>(lag)]; };
  for (int64_t lag = 0; lag < n; lag += m.period) {
    // What it would weigh like its neighbours: told by the two before it in time, as those after
    // it lie beyond an edge (EdgeGain).
    const bool room = m.period > 2 && lag + 2 < n;
    const double beside =
        room ? 2 * tap(lag + 1) - tap(lag + 2) : tap(lag + 1 < n ? lag + 1 : lag - 1);
    parts.comb.push_back(tap(lag) - beside);
    parts.level[static_cast<size_t>(lag)] = beside;
  }
  return parts;
}

// The modes' answer to a sample, lag by lag: Laguerre functions, orthonormal over all lags
// (Wahlberg 1991, section II).
std::vector<Modes> Laguerre(double pole, int64_t lags) {
  std::vector<Modes> modes(static_cast<size_t>(lags));
  Modes x{};
  for (size_t lag = 0; lag < modes.size(); ++lag) {
    double input = 0;
    double input_before = lag == 0 ? std::sqrt(1 - pole * pole) : 0;
    for (int k = 0; k < kStreamModes; ++k) {
      const double before = x[k];
      x[k] = pole * (before - input) + input_before;
      input = x[k];
      input_before = before;
    }
    modes[lag] = x;
  }
  return modes;
}

double Dot(const Modes& a, const Modes& b) {
  double sum = 0;
  for (int k = 0; k < kStreamModes; ++k) sum += a[k] * b[k];
  return sum;
}

// Weighted least squares on the modes of one pole. Lags within a period weigh most: none of the
// samples since a start is older while the bound holds.
class Fit {
 public:
  Fit(const StreamModel& m, double pole) : period_(m.period), modes_(Laguerre(pole, m.window)) {
    for (size_t lag = 0; lag < modes_.size(); ++lag) {
      for (int i = 0; i < kStreamModes; ++i) {
        for (int j = 0; j <= i; ++j) lower_[i][j] += Weight(lag) * modes_[lag][i] * modes_[lag][j];
      }
    }
    for (int i = 0; i < kStreamModes; ++i) {  // Cholesky
      lower_[i][i] += 1e-12;
      for (int j = 0; j <= i; ++j) {
        for (int k = 0; k < j; ++k) lower_[i][j] -= lower_[i][k] * lower_[j][k];
        lower_[i][j] = i == j ? std::sqrt(lower_[i][i]) : lower_[i][j] / lower_[j][j];
      }
    }
    // All-passes pass a constant unchanged: every mode sums to the same.
    sums_.fill(std::sqrt((1 + pole) / (1 - pole)));
    to_sum_ = Solve(sums_);
  }

  // Coefficients for the taps, whose answer to a constant is exactly `sum`.
  Modes Coefficients(std::span<const double> taps, double sum) const {
    Modes right{};
    for (size_t lag = 0; lag < modes_.size(); ++lag) {
      for (int k = 0; k < kStreamModes; ++k) right[k] += Weight(lag) * taps[lag] * modes_[lag][k];
    }
    Modes x = Solve(right);
    const double lacking = (sum - Dot(x, sums_)) / Dot(to_sum_, sums_);
    for (int k = 0; k < kStreamModes; ++k) x[k] += lacking * to_sum_[k];
    return x;
  }
  // What the bound will be, with a little for what comes after the horizon.
  double Cost(std::span<const double> taps, const Modes& x) const {
    double cost = 0;
    for (size_t lag = 0; lag < modes_.size(); ++lag) {
      cost += (lag < period_ ? 1 : 0.003) * std::abs(taps[lag] - Dot(x, modes_[lag]));
    }
    return cost;
  }

 private:
  double Weight(size_t lag) const { return lag < period_ ? 1 : 0.0025; }
  Modes Solve(Modes x) const {
    for (int i = 0; i < kStreamModes; ++i) {
      for (int k = 0; k < i; ++k) x[i] -= lower_[i][k] * x[k];
      x[i] /= lower_[i][i];
    }
    for (int i = kStreamModes - 1; i >= 0; --i) {
      for (int k = i + 1; k < kStreamModes; ++k) x[i] -= lower_[k][i] * x[k];
      x[i] /= lower_[i][i];
    }
    return x;
  }

  size_t period_;
  std::vector<Modes> modes_;
  std::array<Modes, kStreamModes> lower_{};
  Modes sums_{};
  Modes to_sum_{};
};

// A phase's memory: exact over the first period, then as if its weights went on geometrically.
void SetComb(const Parts& parts, StreamModel& m) {
  m.comb_now = static_cast<float>(parts.comb[0]);
  m.comb_next = static_cast<float>(parts.comb[1]);
  const double keep = 1 - parts.comb[1] / (1 - parts.comb[0]);
  m.comb_keep = static_cast<float>(keep > 0 && keep < 1 ? keep : 0);
}

// When a sample turns another period old, its weight jumps by about the same share of the phase's
// own weight each time. The share, by least squares:
double EdgeGain(const std::vector<double>& taps, const Parts& parts, int64_t period) {
  double product = 0;
  double square = 0;
  for (size_t c = 1; c < parts.comb.size(); ++c) {
    const size_t lag = c * static_cast<size_t>(period);
    product += (taps[lag] - taps[lag - 1]) * parts.comb[c];
    square += parts.comb[c] * parts.comb[c];
  }
  return square > 0 ? product / square : 0;
}

double Pole(double period, double share) { return std::exp(-1 / std::max(0.5, share * period)); }

// What an edge of gain one says lag by lag after a new sample.
std::vector<double> EdgeTaps(const StreamModel& m, double pole) {
  std::vector<double> taps(static_cast<size_t>(m.window));
  double edge = 0;
  double memory = m.comb_next;
  for (size_t lag = 1; lag < taps.size(); ++lag) {
    edge *= pole;
    if (lag % static_cast<size_t>(m.period) == 0) {
      edge += memory;
      memory *= double{m.comb_keep};
    }
    taps[lag] = edge;
  }
  return taps;
}

// Poles by search on a grid, coefficients by least squares.
void SetFilters(const Parts& parts, StreamModel& m) {
  const auto period = static_cast<double>(m.period);
  const double edge_trend = EdgeGain(parts.trend, parts, m.period);
  const double edge_seasonal = EdgeGain(parts.level, parts, m.period);
  // The answers to a constant: of a memory, here; of the whole, one from the trend, none else.
  const double memory_sum = m.comb_next / (1 - double{m.comb_keep});
  double least = std::numeric_limits<double>::infinity();
  for (const double edge_share : {0.2, 0.35, 0.5, 0.8}) {
    const double edge_pole = Pole(period, edge_share);
    const double edge_sum = memory_sum / (1 - edge_pole);
    std::vector<double> trend_rest = parts.trend;
    std::vector<double> level_rest = parts.level;
    const std::vector<double> edge = EdgeTaps(m, edge_pole);
    for (size_t lag = 0; lag < edge.size(); ++lag) {
      trend_rest[lag] -= edge_trend * edge[lag];
      level_rest[lag] -= edge_seasonal * edge[lag];
    }
    for (double share = 1.0 / 12; share < 0.45; share *= 1.15) {
      const double pole = Pole(period, share);
      const Fit fit(m, pole);
      const Modes trend = fit.Coefficients(trend_rest, 1 - edge_trend * edge_sum);
      const Modes level =
          fit.Coefficients(level_rest, -m.comb_now - memory_sum - edge_seasonal * edge_sum);
      const double cost = fit.Cost(trend_rest, trend) + fit.Cost(level_rest, level);
      if (cost >= least) continue;
      least = cost;
      m.pole = static_cast<float>(pole);
      m.gain = static_cast<float>(std::sqrt(1 - pole * pole));
      m.edge_pole = static_cast<float>(edge_pole);
      m.edge_trend = static_cast<float>(edge_trend);
      m.edge_seasonal = static_cast<float>(edge_seasonal);
      std::copy(trend.begin(), trend.end(), m.trend_modes);
      std::copy(level.begin(), level.end(), m.seasonal_modes);
    }
  }
}

// Sum over lags below k of what the modes make wrong of a new sample.
void StrayOfNew(std::span<const double> taps, const float* coefficients, const StreamModel& m,
                float* stray) {
  Modes x{};
  std::copy(coefficients, coefficients + kStreamModes, x.begin());
  const std::vector<Modes> modes = Laguerre(double{m.pole}, m.horizon);
  double sum = 0;
  stray[0] = 0;
  for (int64_t lag = 0; lag < m.horizon; ++lag) {
    const auto i = static_cast<size_t>(lag);
    sum += std::abs(taps[i] - Dot(x, modes[i]));
    stray[lag + 1] = static_cast<float>(sum);
  }
}

// What the window says k steps after its end, as weights of its samples: [k][samples ago]. The part
// that the edge will say is left out, as the knots leave it out.
std::vector<std::vector<float>> WindowWeights(std::span<const double> taps, const Parts& parts,
                                              const StreamModel& m, double edge_gain) {
  const auto n = static_cast<size_t>(m.window);
  const auto period = static_cast<size_t>(m.period);
  std::vector<double> edge(n);
  std::vector<std::vector<float>> weights;
  const auto rows = static_cast<size_t>(m.horizon + m.knot_steps);
  for (size_t k = 0; k <= rows; ++k) {
    if (k > 0) {
      for (double& of_sample : edge) of_sample *= double{m.edge_pole};
      const size_t turns = (k - 1) / period;  // of the memory since the start
      const double gain = edge_gain * std::pow(double{m.comb_keep}, static_cast<double>(turns));
      for (size_t c = 1; c < parts.comb.size(); ++c) {
        const size_t ago = (c + turns) * period - k;
        if (ago < n) edge[ago] += gain * parts.comb[c];
      }
    }
    std::vector<float> row(n);
    for (size_t ago = 0; ago < n; ++ago) {
      const double tap = k + ago < n ? taps[k + ago] : 0;
      row[ago] = static_cast<float>(tap - edge[ago]);
    }
    weights.push_back(std::move(row));
  }
  return weights;
}

float LineError(const std::vector<float>& before, const std::vector<float>& after, float share,
                const std::vector<float>& exact) {
  constexpr size_t kLanes = 16;  // sums side by side, for SIMD
  std::array<float, kLanes> sums{};
  const auto error = [&](size_t i) {
    return std::abs(before[i] + share * (after[i] - before[i]) - exact[i]);
  };
  size_t i = 0;
  for (; i + kLanes <= exact.size(); i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) sums[lane] += error(i + lane);
  }
  for (; i < exact.size(); ++i) sums[0] += error(i);
  float sum = 0;
  for (const float lane : sums) sum += lane;
  return sum;
}

// The largest error of the lines between knots k steps after a start, wherever the knots lie: they
// are at fixed ticks, a start at any.
void StrayOfOld(const std::vector<std::vector<float>>& weights, const StreamModel& m,
                float* stray) {
  const auto spacing = static_cast<size_t>(m.knot_steps);
  std::fill(stray, stray + m.horizon + 1, 0.0f);
  const auto consider = [&](size_t before, size_t after, size_t k) {
    if (k > static_cast<size_t>(m.horizon)) return;
    const float share = static_cast<float>(k - before) / static_cast<float>(after - before);
    stray[k] = std::max(stray[k], LineError(weights[before], weights[after], share, weights[k]));
  };
  for (size_t after = 1; after <= spacing; ++after) {
    for (size_t k = 1; k < after; ++k) consider(0, after, k);
  }
  for (size_t k = 1; k <= static_cast<size_t>(m.horizon); ++k) {
    for (size_t back = 1; back < spacing && back < k; ++back) {
      consider(k - back, k - back + spacing, k);
    }
  }
}

}  // namespace

std::string_view CheckStream(const StlParams& params, int64_t window) {
  const std::string_view wrong = CheckStl(params, window);
  if (!wrong.empty()) return wrong;
  if (PlanStl(params, window).outer > 0) return "a stream follows STL without robustness only";
  if (window > int64_t{1} << 24) return "the window is too long";
  return "";
}

StreamPlan PlanStream(const StlParams& params, int64_t window, int64_t horizon) {
  FORESHADOW_CHECK(CheckStream(params, window).empty());
  FORESHADOW_CHECK(horizon >= 0 && horizon <= params.period);
  StreamPlan plan;
  StreamModel& m = plan.model;
  m.period = params.period;
  m.window = static_cast<int32_t>(window);
  m.horizon = horizon == 0 ? params.period : static_cast<int32_t>(horizon);
  // From the first knot, up to a spacing before the start, the last one is beyond a period.
  constexpr int kSegments = kStreamKnots - 2;
  m.knot_steps = (m.period + kSegments - 1) / kSegments;

  const Parts parts = TakeApart(LastStepTaps(PlanStl(params, window)), m);
  SetComb(parts, m);
  SetFilters(parts, m);

  plan.tables.resize(static_cast<size_t>(StreamTableFloats(m)));
  float* table = plan.tables.data();
  std::copy(parts.trend.begin(), parts.trend.end(), table);
  std::copy(parts.level.begin(), parts.level.end(), table + StreamLags(m));
  std::copy(parts.comb.begin(), parts.comb.end(), table + 2 * StreamLags(m));
  float* stray = table + 2 * StreamLags(m) + StreamCombs(m);
  const int64_t row = int64_t{m.horizon} + 1;
  StrayOfNew(parts.trend, m.trend_modes, m, stray);
  StrayOfNew(parts.level, m.seasonal_modes, m, stray + row);
  StrayOfOld(WindowWeights(parts.trend, parts, m, double{m.edge_trend}), m, stray + 2 * row);
  StrayOfOld(WindowWeights(parts.level, parts, m, double{m.edge_seasonal}), m, stray + 3 * row);
  return plan;
}

}  // namespace foreshadow::kernels
