// Seasonal-trend decomposition by loess (Cleveland, Cleveland, McRae and Terpenning 1990), steps
// and parameters as in its appendix and in R's stl. Points are evenly spaced, so without robustness
// weights the loess weights of a point are the same for all series: they are computed once for the
// lanes. Missing samples are filled by a line and carry the weight zero.
#include "kernels/cpu/stl.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/algo/stl_plan.h"
#include "kernels/check.h"

// One text for every instruction set; the loader picks the best at start. Sanitizers start before
// the loader is ready for that.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FORESHADOW_CLONES \
  __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FORESHADOW_CLONES
#endif

namespace foreshadow::kernels::cpu {
namespace {

constexpr int kLanes = 16;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
// Sums of doubles: a series keeps its float precision whatever its level.
using Lane = double[kLanes];

// Scratch of one group of lanes.
struct Scratch {
  Lane* observed;     // [steps], filled where missing
  Lane* present;      // [steps] 1, or 0 where missing
  Lane* weights;      // [steps] robustness times present
  Lane* seasonal;     // [steps]
  Lane* trend;        // [steps]
  Lane* a;            // [steps + 2 period]
  Lane* b;            // [steps + 2 period]
  Lane* c;            // [steps + 2 period]
  Lane* sub;          // [steps / period + 3] one cycle-subseries
  Lane* sub_weights;  // likewise
  Lane* sub_smooth;   // likewise
  double* kernel;     // [steps] loess weights of one point
  float* residuals;   // [steps] of one lane, for its median
};

int64_t SubLength(const StlPlan& plan) { return plan.steps / plan.period + 3; }

size_t LaneCount(const StlPlan& plan) {
  return static_cast<size_t>(5 * plan.steps + 3 * (plan.steps + 2 * plan.period) +
                             3 * SubLength(plan));
}

Scratch Carve(const StlPlan& plan, std::byte* memory) {
  auto* lanes = reinterpret_cast<Lane*>(memory);
  const auto take = [&](int64_t count) {
    Lane* taken = lanes;
    lanes += count;
    return taken;
  };
  Scratch s{};
  for (Lane** part : {&s.observed, &s.present, &s.weights, &s.seasonal, &s.trend}) {
    *part = take(plan.steps);
  }
  for (Lane** part : {&s.a, &s.b, &s.c}) *part = take(plan.steps + 2 * plan.period);
  for (Lane** part : {&s.sub, &s.sub_weights, &s.sub_smooth}) *part = take(SubLength(plan));
  s.kernel = reinterpret_cast<double*>(lanes);
  s.residuals = reinterpret_cast<float*>(s.kernel + plan.steps);
  return s;
}

struct Loess {
  const Lane* y;
  const Lane* weights;  // nullptr: all ones
  int64_t n;
  int64_t window;
  int degree;
  double* kernel;  // scratch
};

// Tricube weights of the points left..right around x (1-based, as in the paper). Returns their sum.
double Tricube(const Loess& l, double x, int64_t left, int64_t right) {
  double h = std::max(x - static_cast<double>(left), static_cast<double>(right) - x);
  if (l.window > l.n) h += static_cast<double>((l.window - l.n) / 2);
  double sum = 0;
  for (int64_t j = left; j <= right; ++j) {
    const double r = std::abs(static_cast<double>(j) - x);
    double w = 0;
    if (r <= 0.999 * h) {
      const double q = r / h;
      const double cube = 1 - q * q * q;
      w = r <= 0.001 * h ? 1 : cube * cube * cube;
    }
    l.kernel[j - left] = w;
    sum += w;
  }
  return sum;
}

// The local fit at x; false when every weight is zero. All lanes share the weights.
FORESHADOW_CLONES bool FitShared(const Loess& l, double x, int64_t left, int64_t right,
                                 Lane& fitted) {
  const double sum = Tricube(l, x, left, right);
  if (sum <= 0) return false;
  const int64_t count = right - left + 1;
  double center = 0;
  for (int64_t j = 0; j < count; ++j) {
    l.kernel[j] /= sum;
    center += l.kernel[j] * static_cast<double>(left + j);
  }
  if (l.degree > 0) {
    double spread = 0;
    for (int64_t j = 0; j < count; ++j) {
      const double d = static_cast<double>(left + j) - center;
      spread += l.kernel[j] * d * d;
    }
    if (std::sqrt(spread) > 0.001 * static_cast<double>(l.n - 1)) {
      const double slope = (x - center) / spread;
      for (int64_t j = 0; j < count; ++j) {
        l.kernel[j] *= slope * (static_cast<double>(left + j) - center) + 1;
      }
    }
  }
  Lane total = {};
  for (int64_t j = 0; j < count; ++j) {
    const double w = l.kernel[j];
    const Lane& y = l.y[left - 1 + j];
    for (int k = 0; k < kLanes; ++k) total[k] += w * y[k];
  }
  std::memcpy(fitted, total, sizeof(Lane));
  return true;
}

// The local fit at x with weights of each lane's own, by moments around x. A lane whose weights are
// all zero keeps `otherwise`.
FORESHADOW_CLONES void FitWeighted(const Loess& l, double x, int64_t left, int64_t right,
                                   const Lane& otherwise, Lane& fitted) {
  Tricube(l, x, left, right);
  Lane s0 = {};
  Lane s1 = {};
  Lane s2 = {};
  Lane t0 = {};
  Lane t1 = {};
  for (int64_t j = left; j <= right; ++j) {
    const double d = static_cast<double>(j) - x;
    const Lane& y = l.y[j - 1];
    const Lane& weights = l.weights[j - 1];
    for (int k = 0; k < kLanes; ++k) {
      const double w = l.kernel[j - left] * weights[k];
      s0[k] += w;
      s1[k] += w * d;
      s2[k] += w * d * d;
      t0[k] += w * y[k];
      t1[k] += w * y[k] * d;
    }
  }
  const double range = 0.001 * static_cast<double>(l.n - 1);
  for (int k = 0; k < kLanes; ++k) {
    if (s0[k] <= 0) {
      fitted[k] = otherwise[k];
      continue;
    }
    const double center = s1[k] / s0[k];
    const double mean = t0[k] / s0[k];
    const double spread = s2[k] / s0[k] - center * center;
    fitted[k] = mean;
    if (l.degree > 0 && spread > range * range) {
      fitted[k] -= center * (t1[k] / s0[k] - center * mean) / spread;
    }
  }
}

void Fit(const Loess& l, double x, int64_t left, int64_t right, const Lane& otherwise,
         Lane& fitted) {
  if (l.weights != nullptr) {
    FitWeighted(l, x, left, right, otherwise, fitted);
  } else if (!FitShared(l, x, left, right, fitted)) {
    std::memcpy(fitted, otherwise, sizeof(Lane));
  }
}

struct Neighbours {
  int64_t left;
  int64_t right;
};

// The points that a fit at i rests on: the nearest ones, as many as the window has.
Neighbours Near(int64_t i, int64_t n, int64_t window) {
  if (window >= n) return {1, n};
  const int64_t half = (window + 1) / 2;
  if (i < half) return {1, window};
  if (i >= n - half + 1) return {n - window + 1, n};
  return {i - half + 1, window + i - half};
}

FORESHADOW_CLONES void Interpolate(Lane* smooth, int64_t from, int64_t to) {
  for (int64_t j = from + 1; j < to; ++j) {
    const double share = static_cast<double>(j - from) / static_cast<double>(to - from);
    for (int k = 0; k < kLanes; ++k) {
      smooth[j - 1][k] = smooth[from - 1][k] + share * (smooth[to - 1][k] - smooth[from - 1][k]);
    }
  }
}

// Loess at every jump-th point, lines in between.
void Smooth(const Loess& l, int64_t jump_asked, Lane* smooth) {
  if (l.n < 2) {
    std::memcpy(smooth[0], l.y[0], sizeof(Lane));
    return;
  }
  const int64_t jump = std::min(jump_asked, l.n - 1);
  Neighbours near{1, l.n};
  int64_t last = 1;
  for (int64_t i = 1; i <= l.n; i += jump) {
    near = Near(i, l.n, l.window);
    Fit(l, static_cast<double>(i), near.left, near.right, l.y[i - 1], smooth[i - 1]);
    if (i > 1) Interpolate(smooth, last, i);
    last = i;
  }
  if (last == l.n) return;
  // The last point is fitted on the neighbours of the one before, as the original does.
  Fit(l, static_cast<double>(l.n), near.left, near.right, l.y[l.n - 1], smooth[l.n - 1]);
  Interpolate(smooth, last, l.n);
}

// Smooths each cycle-subseries and extends it by one period at both ends: [steps + 2 period].
void SmoothCycles(const StlPlan& plan, const Lane* detrended, const Lane* weights, Scratch& s,
                  Lane* extended) {
  for (int64_t phase = 0; phase < plan.period; ++phase) {
    const int64_t count = (plan.steps - phase - 1) / plan.period + 1;
    for (int64_t i = 0; i < count; ++i) {
      std::memcpy(s.sub[i], detrended[i * plan.period + phase], sizeof(Lane));
      if (weights != nullptr) {
        std::memcpy(s.sub_weights[i], weights[i * plan.period + phase], sizeof(Lane));
      }
    }
    const Loess l{s.sub,
                  weights != nullptr ? s.sub_weights : nullptr,
                  count,
                  plan.seasonal_window,
                  plan.seasonal_degree,
                  s.kernel};
    Smooth(l, plan.seasonal_jump, s.sub_smooth + 1);
    const int64_t reach = std::min(plan.seasonal_window, count);
    Fit(l, 0, 1, reach, s.sub_smooth[1], s.sub_smooth[0]);
    Fit(l, static_cast<double>(count + 1), count - reach + 1, count, s.sub_smooth[count],
        s.sub_smooth[count + 1]);
    for (int64_t i = 0; i < count + 2; ++i) {
      std::memcpy(extended[i * plan.period + phase], s.sub_smooth[i], sizeof(Lane));
    }
  }
}

FORESHADOW_CLONES void MovingAverage(const Lane* x, int64_t n, int64_t length, Lane* average) {
  Lane sum = {};
  for (int64_t i = 0; i < length; ++i) {
    for (int k = 0; k < kLanes; ++k) sum[k] += x[i][k];
  }
  const double share = 1.0 / static_cast<double>(length);
  for (int64_t i = 0; i <= n - length; ++i) {
    if (i > 0) {
      for (int k = 0; k < kLanes; ++k) sum[k] += x[i + length - 1][k] - x[i - 1][k];
    }
    for (int k = 0; k < kLanes; ++k) average[i][k] = sum[k] * share;
  }
}

FORESHADOW_CLONES void Subtract(const Lane* x, const Lane* y, int64_t n, Lane* difference) {
  for (int64_t i = 0; i < n; ++i) {
    for (int k = 0; k < kLanes; ++k) difference[i][k] = x[i][k] - y[i][k];
  }
}

// One inner loop: the six steps of section 2.2 of the paper.
void InnerLoop(const StlPlan& plan, const Lane* weights, Scratch& s) {
  const int64_t n = plan.steps;
  const int64_t extended = n + 2 * plan.period;
  Subtract(s.observed, s.trend, n, s.a);
  SmoothCycles(plan, s.a, weights, s, s.b);
  MovingAverage(s.b, extended, plan.period, s.a);
  MovingAverage(s.a, extended - plan.period + 1, plan.period, s.c);
  MovingAverage(s.c, extended - 2 * plan.period + 2, 3, s.a);
  const Loess low_pass{s.a, nullptr, n, plan.low_pass_window, plan.low_pass_degree, s.kernel};
  Smooth(low_pass, plan.low_pass_jump, s.c);
  Subtract(s.b + plan.period, s.c, n, s.seasonal);
  Subtract(s.observed, s.seasonal, n, s.a);
  const Loess trend{s.a, weights, n, plan.trend_window, plan.trend_degree, s.kernel};
  Smooth(trend, plan.trend_jump, s.trend);
}

// Bisquare weights from the residuals of one lane, six median absolute residuals wide.
void RobustWeights(const StlPlan& plan, int lane, Scratch& s) {
  int64_t count = 0;
  for (int64_t i = 0; i < plan.steps; ++i) {
    if (s.present[i][lane] == 0) continue;
    s.residuals[count++] =
        static_cast<float>(std::abs(s.observed[i][lane] - s.seasonal[i][lane] - s.trend[i][lane]));
  }
  float* middle = s.residuals + count / 2;
  std::nth_element(s.residuals, middle, s.residuals + count);
  double median = *middle;
  if (count % 2 == 0) {
    median = (median + double{*std::max_element(s.residuals, middle)}) / 2;
  }
  const double width = 6 * median;
  for (int64_t i = 0; i < plan.steps; ++i) {
    const double r = std::abs(s.observed[i][lane] - s.seasonal[i][lane] - s.trend[i][lane]);
    const double q = r / width;
    const double bisquare = (1 - q * q) * (1 - q * q);
    s.weights[i][lane] = s.present[i][lane] * (r <= 0.001 * width   ? 1
                                               : r <= 0.999 * width ? bisquare
                                                                    : 0);
  }
}

// Reads one lane, fills its gaps by lines, and says whether it can be decomposed.
SeriesStatus LoadLane(const StlArgs& args, const StlPlan& plan, int64_t series, int lane,
                      Scratch& s) {
  int64_t before = -1;
  float low = std::numeric_limits<float>::infinity();
  float high = -low;
  for (int64_t i = 0; i < plan.steps; ++i) {
    const float value = args.observed.at(i, series);
    if (std::isinf(value)) return SeriesStatus::kNotFinite;
    s.present[i][lane] = std::isnan(value) ? 0 : 1;
    if (std::isnan(value)) continue;
    low = std::min(low, value);
    high = std::max(high, value);
    for (int64_t gap = before + 1; gap < i; ++gap) {
      const double share =
          before < 0 ? 1 : static_cast<double>(gap - before) / static_cast<double>(i - before);
      const double from = before < 0 ? double{value} : s.observed[before][lane];
      s.observed[gap][lane] = from + share * (double{value} - from);
    }
    s.observed[i][lane] = value;
    before = i;
  }
  if (before < 0) return SeriesStatus::kNoData;
  for (int64_t i = before + 1; i < plan.steps; ++i) {
    s.observed[i][lane] = s.observed[before][lane];
  }
  // Less than a thousand float steps between lowest and highest: the shape is lost in rounding. And
  // a fit may reach beyond the samples: near the largest float it would overflow.
  constexpr float kLargest = std::numeric_limits<float>::max() / 1'024;
  const float magnitude = std::max(std::abs(low), std::abs(high));
  const bool lost =
      high > low && high - low < 1'000 * std::numeric_limits<float>::epsilon() * magnitude;
  return lost || magnitude > kLargest ? SeriesStatus::kPrecision : SeriesStatus::kOk;
}

void ClearLane(const StlPlan& plan, int lane, Scratch& s) {
  for (int64_t i = 0; i < plan.steps; ++i) {
    s.observed[i][lane] = 0;
    s.present[i][lane] = 1;
  }
}

// R's treatment of s.window = "periodic": the mean of each phase.
void AveragePhases(const StlPlan& plan, Scratch& s) {
  for (int64_t phase = 0; phase < plan.period; ++phase) {
    Lane sum = {};
    int64_t count = 0;
    for (int64_t i = phase; i < plan.steps; i += plan.period, ++count) {
      for (int k = 0; k < kLanes; ++k) sum[k] += s.seasonal[i][k];
    }
    for (int64_t i = phase; i < plan.steps; i += plan.period) {
      for (int k = 0; k < kLanes; ++k) s.seasonal[i][k] = sum[k] / static_cast<double>(count);
    }
  }
}

void StoreLane(const StlArgs& args, const StlPlan& plan, int64_t series, int lane, bool weighted,
               const Scratch& s) {
  const bool ok = args.status[series] == SeriesStatus::kOk;
  for (int64_t i = 0; i < plan.steps; ++i) {
    const auto seasonal = static_cast<float>(s.seasonal[i][lane]);
    const auto trend = static_cast<float>(s.trend[i][lane]);
    const auto rest =
        static_cast<float>(s.observed[i][lane] - s.seasonal[i][lane] - s.trend[i][lane]);
    args.seasonal.at(i, series) = ok ? seasonal : kNan;
    args.trend.at(i, series) = ok ? trend : kNan;
    args.remainder.at(i, series) = ok && s.present[i][lane] != 0 ? rest : kNan;
    if (args.weights.data != nullptr) {
      args.weights.at(i, series) =
          ok ? static_cast<float>(weighted ? s.weights[i][lane] : s.present[i][lane]) : kNan;
    }
  }
}

void DecomposeGroup(const StlArgs& args, const StlPlan& plan, int64_t first, int lanes,
                    Scratch& s) {
  bool missing = false;
  for (int lane = 0; lane < kLanes; ++lane) {
    if (lane < lanes) {
      args.status[first + lane] = LoadLane(args, plan, first + lane, lane, s);
    }
    if (lane >= lanes || args.status[first + lane] != SeriesStatus::kOk) ClearLane(plan, lane, s);
    for (int64_t i = 0; i < plan.steps; ++i) missing |= s.present[i][lane] == 0;
  }
  std::memset(s.trend, 0, sizeof(Lane) * static_cast<size_t>(plan.steps));
  std::memcpy(s.weights, s.present, sizeof(Lane) * static_cast<size_t>(plan.steps));
  bool weighted = missing;
  for (int pass = 0;; ++pass) {
    for (int i = 0; i < plan.inner; ++i) InnerLoop(plan, weighted ? s.weights : nullptr, s);
    if (pass == plan.outer) break;
    for (int lane = 0; lane < kLanes; ++lane) RobustWeights(plan, lane, s);
    weighted = true;
  }
  if (plan.periodic) AveragePhases(plan, s);
  for (int lane = 0; lane < lanes; ++lane) {
    StoreLane(args, plan, first + lane, lane, weighted, s);
  }
}

}  // namespace

size_t StlWorkspaceBytes(const StlParams& params, int64_t steps, int64_t) {
  const StlPlan plan = PlanStl(params, steps);
  return LaneCount(plan) * sizeof(Lane) +
         static_cast<size_t>(steps) * (sizeof(double) + sizeof(float));
}

void Stl(const StlArgs& args) {
  const int64_t series = args.observed.series;
  FORESHADOW_CHECK(CheckStl(args.params, args.observed.steps).empty());
  FORESHADOW_CHECK(args.status.size() == static_cast<size_t>(series));
  FORESHADOW_CHECK(args.workspace.size() >=
                   StlWorkspaceBytes(args.params, args.observed.steps, series));
  const StlPlan plan = PlanStl(args.params, args.observed.steps);
  Scratch scratch = Carve(plan, args.workspace.data());
  for (int64_t first = 0; first < series; first += kLanes) {
    DecomposeGroup(args, plan, first, static_cast<int>(std::min<int64_t>(kLanes, series - first)),
                   scratch);
  }
}

}  // namespace foreshadow::kernels::cpu
