// Seasonal-trend decomposition by loess (Cleveland, Cleveland, McRae and Terpenning 1990), steps
// and parameters as in its appendix and in R's stl. A SIMD lane is a series; a group of lanes goes
// through the whole decomposition in memory that fits the core's cache. Series are centred first,
// so that floats keep their precision whatever the level. Missing samples are filled by a line and
// carry the weight zero.
#include "kernels/cpu/stl.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "kernels/algo/loess.h"
#include "kernels/algo/round_up.h"
#include "kernels/algo/stl_plan.h"
#include "kernels/check.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/stl.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/loess-inl.h"
#include "kernels/cpu/select-inl.h"
#include "kernels/cpu/stl_memory.h"

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu {
namespace HWY_NAMESPACE {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

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
    floats += static_cast<size_t>(RoundUp(count, kLanesMax));
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
    memory += RoundUp(count, kLanesMax);
    return taken;
  });
  FillRows(m.trend);
  FillRows(m.low_pass);
  for (const CycleRows& cycles : m.cycles) FillRows(cycles);
  HWY_DYNAMIC_DISPATCH(Decompose)(args, plan, m);
}

}  // namespace foreshadow::kernels::cpu
#endif  // HWY_ONCE
