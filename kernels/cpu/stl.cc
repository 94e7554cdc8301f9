// Seasonal-trend decomposition by loess (Cleveland, Cleveland, McRae and Terpenning 1990), steps
// and parameters as in its appendix and in R's stl. A SIMD lane is a series; a group of lanes goes
// through the whole decomposition in memory that fits the core's cache. Series are centred first,
// so that floats keep their precision whatever the level. Missing samples are filled by a line and
// carry the weight zero.
#include "kernels/cpu/stl.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/algo/loess.h"
#include "kernels/algo/stl_plan.h"
#include "kernels/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/stl.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#ifndef FORESHADOW_KERNELS_CPU_STL_ONCE
#define FORESHADOW_KERNELS_CPU_STL_ONCE
namespace foreshadow::kernels::cpu {

inline constexpr int kLanesMax = 16;
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
inline constexpr float kInf = std::numeric_limits<float>::infinity();
// Rows of a filter that fill more floats than this are computed when they are needed: a window as
// wide as a long series has a row for each of its points.
inline constexpr int64_t kRowFloatsMax = 1 << 20;

// The rows of one filter, in memory of the workspace: all of them where there is room, else one
// that is written again and again.
struct Rows {
  LoessShape shape;
  RowMap map;
  float* plain;    // [PlainKept][width]
  float* moments;  // [MomentsKept][3][width]
};

inline int64_t PlainKept(const LoessShape& shape) {
  const int64_t rows = MapRows(shape).rows;
  return rows * RowWidth(shape) <= kRowFloatsMax ? rows : 1;
}

inline int64_t MomentsKept(const LoessShape& shape) {
  const int64_t rows = MapRows(shape).rows;
  return rows * RowWidth(shape) * 3 <= kRowFloatsMax ? rows : 1;
}

inline const float* PlainFor(const Rows& rows, int64_t fit) {
  const int64_t width = RowWidth(rows.shape);
  if (PlainKept(rows.shape) == rows.map.rows) return rows.plain + RowOf(rows.map, fit) * width;
  PlainRow(rows.shape, FitAt(rows.shape, fit), rows.plain);
  return rows.plain;
}

inline MomentRow MomentsAt(const Rows& rows, int64_t row) {
  const int64_t width = RowWidth(rows.shape);
  float* first = rows.moments + row * 3 * width;
  return {first, first + width, first + 2 * width};
}

inline MomentRow MomentsFor(const Rows& rows, int64_t fit) {
  if (MomentsKept(rows.shape) == rows.map.rows) return MomentsAt(rows, RowOf(rows.map, fit));
  FillMoments(rows.shape, FitAt(rows.shape, fit), MomentsAt(rows, 0));
  return MomentsAt(rows, 0);
}

// The cycle-subseries have two lengths at most. Each also has a fit one step before its first point
// and one after its last: the rows `ends`.
struct CycleRows {
  Rows rows;
  LoessFit ends[2];
  float* end_plain[2];
  MomentRow end_moments[2];
};

// Everything of one call. Arrays of samples hold a vector of lanes for each step.
struct Memory {
  Rows trend;
  Rows low_pass;
  CycleRows cycles[2];  // of the longer and the shorter subseries
  float* observed;      // [steps] centred, filled where missing
  float* season;        // [steps]
  float* level;         // [steps] the trend of the centred series
  float* present;       // [steps] 1, or 0 where missing
  float* weights;       // [steps] robustness times present
  float* work;          // [steps]
  float* weighted;      // [steps]
  float* extended;      // [steps + 2 period]
  float* averaged;      // [steps + 2 period]
  float* knots;         // [steps] values of fits
  float* sub;           // [longest subseries] each of four
  float* sub_weights;
  float* sub_weighted;
  float* sub_smooth;
};

// The same walk sizes the memory and hands it out: `take` gets floats and returns their place.
template <typename Take>
Memory Carve(const StlPlan& plan, Take take) {
  Memory m{};
  const auto rows = [&](Rows& r, const LoessShape& shape) {
    r.shape = shape;
    r.map = MapRows(shape);
    r.plain = take(PlainKept(shape) * RowWidth(shape));
    r.moments = take(MomentsKept(shape) * RowWidth(shape) * 3);
  };
  rows(m.trend, TrendShape(plan));
  rows(m.low_pass, LowPassShape(plan));
  for (int k = 0; k < 2; ++k) {
    CycleRows& c = m.cycles[k];
    rows(c.rows, SeasonalShape(plan, k == 0 ? CycleLong(plan) : CycleShort(plan)));
    const int64_t width = RowWidth(c.rows.shape);
    const int64_t n = c.rows.shape.n;
    c.ends[0] = {0, 1, width};
    c.ends[1] = {n + 1, n - width + 1, n};
    for (int e = 0; e < 2; ++e) {
      c.end_plain[e] = take(width);
      c.end_moments[e] = {take(width), take(width), take(width)};
    }
  }
  const int64_t lanes = kLanesMax;
  for (float** part :
       {&m.observed, &m.season, &m.level, &m.present, &m.weights, &m.work, &m.weighted, &m.knots}) {
    *part = take(plan.steps * lanes);
  }
  for (float** part : {&m.extended, &m.averaged}) {
    *part = take((plan.steps + 2 * plan.period) * lanes);
  }
  for (float** part : {&m.sub, &m.sub_weights, &m.sub_weighted, &m.sub_smooth}) {
    *part = take((CycleLong(plan) + 2) * lanes);
  }
  return m;
}

inline void FillRows(const Rows& rows) {
  const LoessShape& shape = rows.shape;
  for (int64_t row = 0; row < rows.map.rows; ++row) {
    const LoessFit fit = FitAt(shape, FitOfRow(rows.map, row));
    if (row < PlainKept(shape)) PlainRow(shape, fit, rows.plain + row * RowWidth(shape));
    if (row < MomentsKept(shape)) FillMoments(shape, fit, MomentsAt(rows, row));
  }
}

inline void FillRows(const CycleRows& cycles) {
  FillRows(cycles.rows);
  for (int e = 0; e < 2; ++e) {
    PlainRow(cycles.rows.shape, cycles.ends[e], cycles.end_plain[e]);
    FillMoments(cycles.rows.shape, cycles.ends[e], cycles.end_moments[e]);
  }
}

}  // namespace foreshadow::kernels::cpu
#endif  // FORESHADOW_KERNELS_CPU_STL_ONCE

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, kLanesMax>;
using V = hn::Vec<D>;
using M = hn::Mask<D>;
using I = hn::Vec<hn::RebindToSigned<D>>;

HWY_INLINE int64_t N() { return static_cast<int64_t>(hn::Lanes(D())); }
HWY_INLINE V At(const float* array, int64_t step) { return hn::Load(D(), array + step * N()); }
HWY_INLINE void Put(V v, float* array, int64_t step) { hn::Store(v, D(), array + step * N()); }
HWY_INLINE V Const(double value) { return hn::Set(D(), static_cast<float>(value)); }

// Sum of row[j] y[j] over the width.
HWY_INLINE V Apply(const float* row, int64_t width, const float* y) {
  V sum[4] = {Const(0), Const(0), Const(0), Const(0)};
  int64_t j = 0;
  for (; j + 4 <= width; j += 4) {
    sum[0] = hn::MulAdd(Const(row[j]), At(y, j), sum[0]);
    sum[1] = hn::MulAdd(Const(row[j + 1]), At(y, j + 1), sum[1]);
    sum[2] = hn::MulAdd(Const(row[j + 2]), At(y, j + 2), sum[2]);
    sum[3] = hn::MulAdd(Const(row[j + 3]), At(y, j + 3), sum[3]);
  }
  for (; j < width; ++j) sum[0] = hn::MulAdd(Const(row[j]), At(y, j), sum[0]);
  return hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3]));
}

// The same for eight neighbouring points with one row: each sample loaded serves several of them.
HWY_INLINE void ApplyToEight(const float* row, int64_t width, const float* y, float* out) {
  V sum0 = Const(0), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  V sum4 = sum0, sum5 = sum0, sum6 = sum0, sum7 = sum0;
  int64_t j = 0;
  for (; j + 4 <= width; j += 4) {
    const V w0 = Const(row[j]), w1 = Const(row[j + 1]);
    const V w2 = Const(row[j + 2]), w3 = Const(row[j + 3]);
    V y0 = At(y, j), y1 = At(y, j + 1), y2 = At(y, j + 2), y3 = At(y, j + 3);
    const auto slide = [&](V& sum, V& oldest, V second, V third, V fourth, int64_t next) HWY_ATTR {
      sum = hn::MulAdd(w0, oldest, sum);
      sum = hn::MulAdd(w1, second, sum);
      sum = hn::MulAdd(w2, third, sum);
      sum = hn::MulAdd(w3, fourth, sum);
      oldest = At(y, j + next);
    };
    slide(sum0, y0, y1, y2, y3, 4);
    slide(sum1, y1, y2, y3, y0, 5);
    slide(sum2, y2, y3, y0, y1, 6);
    slide(sum3, y3, y0, y1, y2, 7);
    slide(sum4, y0, y1, y2, y3, 8);
    slide(sum5, y1, y2, y3, y0, 9);
    slide(sum6, y2, y3, y0, y1, 10);
    sum7 = hn::MulAdd(w0, y3, sum7);
    sum7 = hn::MulAdd(w1, y0, sum7);
    sum7 = hn::MulAdd(w2, y1, sum7);
    sum7 = hn::MulAdd(w3, y2, sum7);
  }
  for (; j < width; ++j) {
    const V w = Const(row[j]);
    sum0 = hn::MulAdd(w, At(y, j), sum0);
    sum1 = hn::MulAdd(w, At(y, j + 1), sum1);
    sum2 = hn::MulAdd(w, At(y, j + 2), sum2);
    sum3 = hn::MulAdd(w, At(y, j + 3), sum3);
    sum4 = hn::MulAdd(w, At(y, j + 4), sum4);
    sum5 = hn::MulAdd(w, At(y, j + 5), sum5);
    sum6 = hn::MulAdd(w, At(y, j + 6), sum6);
    sum7 = hn::MulAdd(w, At(y, j + 7), sum7);
  }
  Put(sum0, out, 0);
  Put(sum1, out, 1);
  Put(sum2, out, 2);
  Put(sum3, out, 3);
  Put(sum4, out, 4);
  Put(sum5, out, 5);
  Put(sum6, out, 6);
  Put(sum7, out, 7);
}

// Four points with rows of their own that rest on the same samples, as those near an end do.
HWY_INLINE void ApplyFourRows(const float* row, int64_t width, const float* y, float* out) {
  V sum0 = Const(0), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  for (int64_t j = 0; j < width; ++j) {
    const V sample = At(y, j);
    sum0 = hn::MulAdd(Const(row[j]), sample, sum0);
    sum1 = hn::MulAdd(Const(row[j + width]), sample, sum1);
    sum2 = hn::MulAdd(Const(row[j + 2 * width]), sample, sum2);
    sum3 = hn::MulAdd(Const(row[j + 3 * width]), sample, sum3);
  }
  Put(sum0, out, 0);
  Put(sum1, out, 1);
  Put(sum2, out, 2);
  Put(sum3, out, 3);
}

// A fit with weights of each lane's own, by moments around its point. A lane whose weights are all
// zero keeps `otherwise`.
HWY_INLINE V ApplyWeighted(const LoessShape& shape, const LoessFit& fit, const MomentRow& row,
                           const float* weights, const float* weighted, V otherwise) {
  V s0 = Const(0), s1 = s0, s2 = s0, t0 = s0, t1 = s0;
  const int64_t width = RowWidth(shape);
  for (int64_t j = 0; j < width; ++j) {
    const V w = At(weights, fit.left - 1 + j);
    const V wy = At(weighted, fit.left - 1 + j);
    const V zeroth = Const(row.zeroth[j]);
    s0 = hn::MulAdd(zeroth, w, s0);
    t0 = hn::MulAdd(zeroth, wy, t0);
    if (shape.degree > 0) {
      const V first = Const(row.first[j]);
      s1 = hn::MulAdd(first, w, s1);
      t1 = hn::MulAdd(first, wy, t1);
      s2 = hn::MulAdd(Const(row.second[j]), w, s2);
    }
  }
  const M any = hn::Gt(s0, Const(0));
  const V share = hn::Div(Const(1), hn::IfThenElse(any, s0, Const(1)));
  const V mean = hn::Mul(t0, share);
  V fitted = mean;
  if (shape.degree > 0) {
    const double h = Bandwidth(shape, fit);
    const V center = hn::Mul(s1, share);
    const V spread = hn::NegMulAdd(center, center, hn::Mul(s2, share));
    const M line = hn::Gt(spread, Const(SpreadMin(shape) / (h * h)));
    const V product = hn::NegMulAdd(center, mean, hn::Mul(t1, share));
    const V slope = hn::Div(product, hn::IfThenElse(line, spread, Const(1)));
    fitted = hn::IfThenElse(line, hn::NegMulAdd(center, slope, mean), mean);
  }
  return hn::IfThenElse(any, fitted, otherwise);
}

// What a filter smooths: the samples, or their robustness weights and the samples times these.
struct Input {
  const float* samples;
  const float* weights;  // nullptr: all ones
  const float* weighted;
};

// The values of all fits.
HWY_INLINE void Fit(const Rows& rows, const Input& in, float* knots) {
  const LoessShape& shape = rows.shape;
  const int64_t fits = FitCount(shape);
  const int64_t width = RowWidth(shape);
  const bool neighbours = JumpOf(shape) == 1;
  const bool all_kept = PlainKept(shape) == rows.map.rows;
  for (int64_t fit = 0; fit < fits; ++fit) {
    const LoessFit at = FitAt(shape, fit);
    if (in.weights != nullptr) {
      Put(ApplyWeighted(shape, at, MomentsFor(rows, fit), in.weights, in.weighted,
                        At(in.samples, at.x - 1)),
          knots, fit);
      continue;
    }
    const float* row = PlainFor(rows, fit);
    const float* from = in.samples + (at.left - 1) * N();
    const bool has_own = fit < rows.map.before || fit >= rows.map.first_after;
    if (neighbours && !has_own && fit + 8 <= rows.map.first_after) {
      ApplyToEight(row, width, from, knots + fit * N());
      fit += 7;
    } else if (all_kept && has_own && fit + 4 <= (fit < rows.map.before ? rows.map.before : fits) &&
               FitAt(shape, fit + 3).left == at.left) {
      ApplyFourRows(row, width, from, knots + fit * N());
      fit += 3;
    } else {
      Put(Apply(row, width, from), knots, fit);
    }
  }
}

// Calls use(i, value) for every point, lines drawn between the fits.
template <typename Use>
HWY_INLINE void Draw(const LoessShape& shape, const float* knots, Use use) {
  const int64_t fits = FitCount(shape);
  V from = At(knots, 0);
  int64_t x = 1;
  for (int64_t fit = 1; fit < fits; ++fit) {
    const V to = At(knots, fit);
    const int64_t next = FitAt(shape, fit).x;
    const V delta = hn::Mul(hn::Sub(to, from), Const(1.0 / static_cast<double>(next - x)));
    for (int64_t j = x; j < next; ++j) {
      use(j - 1, hn::MulAdd(Const(static_cast<double>(j - x)), delta, from));
    }
    from = to;
    x = next;
  }
  use(x - 1, from);
}

// Smooths each cycle-subseries and extends it by a period at both ends, into m.extended.
HWY_INLINE void SmoothCycles(const StlPlan& plan, bool weighted, Memory& m) {
  const int64_t period = plan.period;
  for (int64_t phase = 0; phase < period; ++phase) {
    const int64_t count = (plan.steps - phase - 1) / period + 1;
    const CycleRows& cycles = m.cycles[count == m.cycles[0].rows.shape.n ? 0 : 1];
    const LoessShape& shape = cycles.rows.shape;
    for (int64_t i = 0; i < count; ++i) {
      const int64_t step = i * period + phase;
      const V detrended = hn::Sub(At(m.observed, step), At(m.level, step));
      Put(detrended, m.sub, i);
      if (!weighted) continue;
      const V w = At(m.weights, step);
      Put(w, m.sub_weights, i);
      Put(hn::Mul(w, detrended), m.sub_weighted, i);
    }
    const Input in{m.sub, weighted ? m.sub_weights : nullptr, m.sub_weighted};
    Fit(cycles.rows, in, m.knots);
    Draw(shape, m.knots,
         [&](int64_t i, V value) HWY_ATTR { Put(value, m.extended, (i + 1) * period + phase); });
    for (int e = 0; e < 2; ++e) {
      const int64_t nearest = e == 0 ? 1 : count;
      const V value =
          weighted ? ApplyWeighted(shape, cycles.ends[e], cycles.end_moments[e], m.sub_weights,
                                   m.sub_weighted, At(m.extended, nearest * period + phase))
                   : Apply(cycles.end_plain[e], RowWidth(shape),
                           m.sub + (cycles.ends[e].left - 1) * N());
      Put(value, m.extended, (e == 0 ? 0 : count + 1) * period + phase);
    }
  }
}

HWY_INLINE V SumOf(const float* x, int64_t from, int64_t count) {
  V sum = Const(0);
  for (int64_t i = 0; i < count; ++i) sum = hn::Add(sum, At(x, from + i));
  return sum;
}

// Moving averages of a period, a period and three steps, one after the other: m.extended has n + 2
// period steps, m.averaged gets n. Running sums start afresh now and then, or they would drift.
HWY_INLINE void MovingAverages(const StlPlan& plan, Memory& m) {
  const int64_t period = plan.period;
  const V share = Const(1.0 / static_cast<double>(period));
  const V third = Const(1.0 / 3);
  float* const once = m.extended;  // overwritten behind the reader
  const int64_t afresh = 8 * period;
  const int64_t firsts = plan.steps + period + 1;
  V sum = Const(0);
  V leaving = Const(0);
  for (int64_t i = 0; i < firsts; ++i) {
    sum = i % afresh == 0 ? SumOf(m.extended, i, period)
                          : hn::Sub(hn::Add(sum, At(m.extended, i + period - 1)), leaving);
    leaving = At(m.extended, i);
    Put(hn::Mul(sum, share), once, i);
  }
  V second = Const(0);
  V third_last = Const(0);
  V last = Const(0);
  for (int64_t i = 0; i < plan.steps + 2; ++i) {
    second = i % afresh == 0 ? SumOf(once, i, period)
                             : hn::Sub(hn::Add(second, At(once, i + period - 1)), At(once, i - 1));
    const V twice = hn::Mul(second, share);
    if (i >= 2) Put(hn::Mul(hn::Add(hn::Add(third_last, last), twice), third), m.averaged, i - 2);
    third_last = last;
    last = twice;
  }
}

// Notes the season of a step, and what is left for the trend.
HWY_INLINE void Deseason(int64_t step, V season, bool weighted, Memory& m) {
  Put(season, m.season, step);
  const V rest = hn::Sub(At(m.observed, step), season);
  Put(rest, m.work, step);
  if (weighted) Put(hn::Mul(rest, At(m.weights, step)), m.weighted, step);
}

// The season where each phase has one value; see SeasonIsMean. False, and nothing done, where a
// phase of some lane has no weight.
HWY_INLINE bool AveragePhases(const StlPlan& plan, bool weighted, Memory& m) {
  V total = Const(0);
  for (int64_t phase = 0; phase < plan.period; ++phase) {
    V sum = Const(0);
    V weight = Const(0);
    for (int64_t i = phase; i < plan.steps; i += plan.period) {
      const V detrended = hn::Sub(At(m.observed, i), At(m.level, i));
      const V w = weighted ? At(m.weights, i) : Const(1);
      sum = hn::MulAdd(w, detrended, sum);
      weight = hn::Add(weight, w);
    }
    if (!hn::AllTrue(D(), hn::Gt(weight, Const(0)))) return false;
    const V mean = hn::Div(sum, weight);
    Put(mean, m.extended, phase);
    total = hn::Add(total, mean);
  }
  const V mean = hn::Mul(total, Const(1.0 / plan.period));
  for (int64_t first = 0; first < plan.steps; first += plan.period) {
    const int64_t phases = std::min<int64_t>(plan.period, plan.steps - first);
    for (int64_t phase = 0; phase < phases; ++phase) {
      Deseason(first + phase, hn::Sub(At(m.extended, phase), mean), weighted, m);
    }
  }
  return true;
}

// One inner loop: the six steps of section 2.2 of the paper.
HWY_INLINE void InnerLoop(const StlPlan& plan, bool weighted, Memory& m) {
  if (!SeasonIsMean(plan) || !AveragePhases(plan, weighted, m)) {
    SmoothCycles(plan, weighted, m);
    // The averages overwrite the cycles, which are needed once more.
    std::memcpy(m.season, m.extended + plan.period * N(),
                static_cast<size_t>(plan.steps * N()) * sizeof(float));
    MovingAverages(plan, m);
    Fit(m.low_pass, {m.averaged, nullptr, nullptr}, m.knots);
    Draw(m.low_pass.shape, m.knots, [&](int64_t i, V low) HWY_ATTR {
      Deseason(i, hn::Sub(At(m.season, i), low), weighted, m);
    });
  }
  Fit(m.trend, {m.work, weighted ? m.weights : nullptr, m.weighted}, m.knots);
  Draw(m.trend.shape, m.knots, [&](int64_t i, V value) HWY_ATTR { Put(value, m.level, i); });
}

// The k-th smallest (from 0) of each lane's values and the one after it, k of each lane's own.
// Values are not negative, so that they order as the integers their bits are. A bracket closes
// around the k-th by counting: by turns where the counts point to, and in the middle.
struct Pair {
  V first;
  V second;
};

HWY_INLINE Pair Select(const float* values, int64_t n, I k, V largest, I count) {
  const hn::RebindToSigned<D> di;
  I low = hn::Set(di, -1);            // below_low values are not above it: k or fewer
  I high = hn::BitCast(di, largest);  // below_high: more than k
  I below_low = hn::Zero(di);
  I below_high = count;
  const I one = hn::Set(di, 1);
  for (int round = 0;; ++round) {
    const auto open = hn::And(hn::Lt(below_low, k), hn::Gt(hn::Sub(high, low), one));
    if (hn::AllFalse(di, open)) break;
    const I middle = hn::Add(low, hn::ShiftRight<1>(hn::Sub(high, low)));
    I probe = middle;
    if (round % 3 != 2) {
      const V from = hn::BitCast(D(), hn::Max(low, hn::Zero(di)));
      const V to = hn::BitCast(D(), high);
      const V share = hn::Div(hn::ConvertTo(D(), hn::Sub(k, below_low)),
                              hn::ConvertTo(D(), hn::Sub(below_high, below_low)));
      const V pointed = hn::MulAdd(hn::Sub(to, from), share, from);
      probe = hn::Max(hn::Add(low, one), hn::Min(hn::BitCast(di, pointed), hn::Sub(high, one)));
    }
    I below = hn::Set(di, static_cast<int32_t>(n));
    for (int64_t i = 0; i < n; ++i) {
      const I value = hn::BitCast(di, At(values, i));
      below = hn::Add(below, hn::VecFromMask(di, hn::Gt(value, probe)));  // a true lane is -1
    }
    const auto enough = hn::Gt(below, k);
    high = hn::IfThenElse(enough, probe, high);
    below_high = hn::IfThenElse(enough, below, below_high);
    low = hn::IfThenElse(enough, low, probe);
    below_low = hn::IfThenElse(enough, below_low, below);
  }
  // Either k values are not above `low`, and the two smallest above it are the answer; or equal
  // values stand in the way and the k-th is `high`.
  const auto apart = hn::Eq(below_low, k);
  const I above = hn::IfThenElse(apart, low, high);
  const V inf = hn::Set(D(), kInf);
  V first = inf;
  V second = inf;
  for (int64_t i = 0; i < n; ++i) {
    const V value = At(values, i);
    const auto is_above = hn::RebindMask(D(), hn::Gt(hn::BitCast(di, value), above));
    const V kept = hn::IfThenElse(is_above, value, inf);
    second = hn::Min(second, hn::Max(first, kept));
    first = hn::Min(first, kept);
  }
  const V tied = hn::BitCast(D(), high);
  const auto next_tied = hn::Gt(below_high, hn::Add(k, one));
  const M is_apart = hn::RebindMask(D(), apart);
  return {hn::IfThenElse(is_apart, first, tied),
          hn::IfThenElse(is_apart, second,
                         hn::IfThenElse(hn::RebindMask(D(), next_tied), tied, first))};
}

// Bisquare weights from the residuals, six of their median wide.
HWY_INLINE void Robustness(const StlPlan& plan, const int32_t* present, bool missing, Memory& m) {
  const hn::RebindToSigned<D> di;
  const V inf = hn::Set(D(), kInf);
  V largest = Const(0);
  for (int64_t i = 0; i < plan.steps; ++i) {
    V r = hn::Abs(hn::Sub(hn::Sub(At(m.observed, i), At(m.season, i)), At(m.level, i)));
    largest = hn::Max(largest, missing ? hn::Mul(r, At(m.present, i)) : r);
    if (missing) r = hn::IfThenElse(hn::Gt(At(m.present, i), Const(0)), r, inf);
    Put(r, m.work, i);
  }
  const I count = hn::LoadU(di, present);
  const I k = hn::ShiftRight<1>(hn::Sub(count, hn::Set(di, 1)));
  const Pair middle = Select(m.work, plan.steps, k, largest, count);
  const auto even = hn::RebindMask(D(), hn::Eq(hn::And(count, hn::Set(di, 1)), hn::Zero(di)));
  const V median =
      hn::Mul(Const(0.5), hn::Add(middle.first, hn::IfThenElse(even, middle.second, middle.first)));
  const V width = hn::Mul(Const(6), median);
  const V inner = hn::Mul(Const(0.001), width);
  const V outer = hn::Mul(Const(0.999), width);
  const V share = hn::Div(Const(1), hn::Max(width, Const(std::numeric_limits<float>::min())));
  for (int64_t i = 0; i < plan.steps; ++i) {
    const V r = At(m.work, i);
    const V q = hn::Mul(r, share);
    const V rest = hn::NegMulAdd(q, q, Const(1));
    const V bisquare = hn::IfThenElseZero(hn::Le(r, outer), hn::Mul(rest, rest));
    const V weight = hn::IfThenElse(hn::Le(r, inner), Const(1), bisquare);
    Put(hn::IfThenElseZero(hn::Lt(r, inf), weight), m.weights, i);
  }
}

// One group of lanes on its way in and out.
struct Group {
  int64_t first;
  int lanes;                   // that carry a series; the others are zero
  float center[kLanesMax];     // taken off before, given back to the trend
  int32_t present[kLanesMax];  // samples
  bool missing;                // some lane has gaps
};

// Fills the gaps of a lane by lines between the samples beside them.
HWY_INLINE void FillGaps(const StlPlan& plan, int lane, Memory& m) {
  const int64_t n = N();
  int64_t before = -1;
  for (int64_t i = 0; i <= plan.steps; ++i) {
    if (i < plan.steps && m.present[i * n + lane] == 0) continue;
    for (int64_t gap = before + 1; gap < i; ++gap) {
      const float left = before < 0 ? m.observed[i * n + lane] : m.observed[before * n + lane];
      const float right = i < plan.steps ? m.observed[i * n + lane] : left;
      const float share =
          before < 0 ? 0 : static_cast<float>(gap - before) / static_cast<float>(i - before);
      m.observed[gap * n + lane] = left + share * (right - left);
    }
    before = i;
  }
}

// Reads a step of the group's series; lanes without one are zero.
HWY_INLINE V Read(StepMajor<const float> from, int64_t step, const Group& group) {
  const float* row = from.data + step * from.stride + group.first;
  if (group.lanes == N()) return hn::LoadU(D(), row);
  HWY_ALIGN float padded[kLanesMax] = {};
  std::memcpy(padded, row, static_cast<size_t>(group.lanes) * sizeof(float));
  return hn::Load(D(), padded);
}

HWY_INLINE void Write(V v, StepMajor<float> to, int64_t step, const Group& group) {
  float* row = to.data + step * to.stride + group.first;
  if (group.lanes == N()) {
    hn::StoreU(v, D(), row);
    return;
  }
  HWY_ALIGN float padded[kLanesMax];
  hn::Store(v, D(), padded);
  std::memcpy(row, padded, static_cast<size_t>(group.lanes) * sizeof(float));
}

HWY_INLINE void Load(const StlArgs& args, const StlPlan& plan, Group& group, Memory& m) {
  V low = hn::Set(D(), kInf);
  V high = hn::Set(D(), -kInf);
  V count = Const(0);
  for (int64_t i = 0; i < plan.steps; ++i) {
    const V value = Read(args.observed, i, group);
    Put(value, m.observed, i);
    const M there = hn::Eq(value, value);
    low = hn::IfThenElse(there, hn::Min(low, value), low);
    high = hn::IfThenElse(there, hn::Max(high, value), high);
    count = hn::Add(count, hn::IfThenElseZero(there, Const(1)));
  }
  HWY_ALIGN float lowest[kLanesMax];
  HWY_ALIGN float highest[kLanesMax];
  HWY_ALIGN float counted[kLanesMax];
  HWY_ALIGN float used[kLanesMax] = {};
  hn::Store(low, D(), lowest);
  hn::Store(high, D(), highest);
  hn::Store(count, D(), counted);
  group.missing = false;
  for (int lane = 0; lane < N(); ++lane) {
    group.center[lane] = 0;
    group.present[lane] = static_cast<int32_t>(plan.steps);
    if (lane >= group.lanes) continue;
    const SeriesStatus status = JudgeExtremes(lowest[lane], highest[lane]);
    args.status[group.first + lane] = status;
    if (status != SeriesStatus::kOk) continue;
    used[lane] = 1;
    group.center[lane] = lowest[lane] + (highest[lane] - lowest[lane]) / 2;
    group.present[lane] = static_cast<int32_t>(counted[lane]);
    group.missing |= group.present[lane] < plan.steps;
  }
  // Lanes that are not decomposed go along as zeros.
  const V center = hn::LoadU(D(), group.center);
  const M is_used = hn::Gt(hn::Load(D(), used), Const(0));
  for (int64_t i = 0; i < plan.steps; ++i) {
    const V value = At(m.observed, i);
    const M there = hn::Eq(value, value);
    Put(hn::IfThenElseZero(hn::And(there, is_used), hn::Sub(value, center)), m.observed, i);
    const V present = hn::IfThenElse(hn::AndNot(there, is_used), Const(0), Const(1));
    Put(present, m.present, i);
    Put(present, m.weights, i);
  }
  if (!group.missing) return;
  for (int lane = 0; lane < group.lanes; ++lane) {
    if (group.present[lane] < plan.steps) FillGaps(plan, lane, m);
  }
}

HWY_INLINE void Store(const StlArgs& args, const StlPlan& plan, const Group& group,
                      const Memory& m) {
  HWY_ALIGN float ok[kLanesMax] = {};
  for (int lane = 0; lane < group.lanes; ++lane) {
    ok[lane] = args.status[group.first + lane] == SeriesStatus::kOk ? 0 : kNan;
  }
  const V spoil = hn::Load(D(), ok);  // NaN where the series is not decomposed
  const V center = hn::LoadU(D(), group.center);
  const V nan = hn::Set(D(), kNan);
  for (int64_t i = 0; i < plan.steps; ++i) {
    const V season = At(m.season, i);
    const V level = At(m.level, i);
    V rest = hn::Sub(hn::Sub(At(m.observed, i), season), level);
    if (group.missing) {
      const V value = Read(args.observed, i, group);
      rest = hn::IfThenElse(hn::Eq(value, value), rest, nan);
    }
    Write(hn::Add(season, spoil), args.seasonal, i, group);
    Write(hn::Add(hn::Add(level, center), spoil), args.trend, i, group);
    Write(hn::Add(rest, spoil), args.remainder, i, group);
    if (args.weights.data != nullptr) {
      Write(hn::Add(At(m.weights, i), spoil), args.weights, i, group);
    }
  }
}

// R's treatment of s.window = "periodic": the mean of each phase.
HWY_INLINE void MakePeriodic(const StlPlan& plan, Memory& m) {
  for (int64_t phase = 0; phase < plan.period; ++phase) {
    V sum = Const(0);
    int64_t count = 0;
    for (int64_t i = phase; i < plan.steps; i += plan.period, ++count) {
      sum = hn::Add(sum, At(m.season, i));
    }
    const V mean = hn::Mul(sum, Const(1.0 / static_cast<double>(count)));
    for (int64_t i = phase; i < plan.steps; i += plan.period) Put(mean, m.season, i);
  }
}

void Decompose(const StlArgs& args, const StlPlan& plan, Memory& m) {
  for (int64_t first = 0; first < args.observed.series; first += N()) {
    Group group{};
    group.first = first;
    group.lanes = static_cast<int>(std::min(N(), args.observed.series - first));
    Load(args, plan, group, m);
    std::memset(m.level, 0, static_cast<size_t>(plan.steps * N()) * sizeof(float));
    bool weighted = group.missing;
    for (int pass = 0;; ++pass) {
      for (int i = 0; i < plan.inner; ++i) InnerLoop(plan, weighted, m);
      if (pass == plan.outer) break;
      Robustness(plan, group.present, group.missing, m);
      weighted = true;
    }
    if (plan.periodic) MakePeriodic(plan, m);
    Store(args, plan, group, m);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace foreshadow::kernels::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foreshadow::kernels::cpu {
HWY_EXPORT(Decompose);

size_t StlWorkspaceBytes(const StlParams& params, int64_t steps, int64_t) {
  size_t floats = 0;
  Carve(PlanStl(params, steps), [&](int64_t count) {
    floats += static_cast<size_t>((count + kLanesMax - 1) / kLanesMax * kLanesMax);
    return static_cast<float*>(nullptr);
  });
  return floats * sizeof(float);
}

void Stl(const StlArgs& args) {
  const int64_t series = args.observed.series;
  FORESHADOW_CHECK(CheckStl(args.params, args.observed.steps).empty());
  FORESHADOW_CHECK(args.status.size() == static_cast<size_t>(series));
  FORESHADOW_CHECK(args.workspace.size() >=
                   StlWorkspaceBytes(args.params, args.observed.steps, series));
  const StlPlan plan = PlanStl(args.params, args.observed.steps);
  auto* memory = reinterpret_cast<float*>(args.workspace.data());
  Memory m = Carve(plan, [&](int64_t count) {
    float* taken = memory;
    memory += (count + kLanesMax - 1) / kLanesMax * kLanesMax;
    return taken;
  });
  FillRows(m.trend);
  FillRows(m.low_pass);
  for (const CycleRows& cycles : m.cycles) FillRows(cycles);
  HWY_DYNAMIC_DISPATCH(Decompose)(args, plan, m);
}

}  // namespace foreshadow::kernels::cpu
#endif  // HWY_ONCE
