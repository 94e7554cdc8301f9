#include "kernels/algo/autoregression.h"

#include <algorithm>
#include <type_traits>

#include "kernels/cpu/numbers.h"
#include "kernels/cpu/wide.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/autoregression.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/columns-inl.h"
#include "kernels/cpu/shifted_sums-inl.h"

#ifndef FORESHADOW_KERNELS_CPU_AUTOREGRESSION_SCRATCH
#define FORESHADOW_KERNELS_CPU_AUTOREGRESSION_SCRATCH
namespace foreshadow::kernels::cpu {

struct ArScratch {
  float* packed;  // [kPackSeries / lanes][steps][lanes]
  // Of one vector of series:
  double* values;  // [steps][lanes]
  double* later;   // [steps][lanes] one column, zero where the row is not whole
  double* whole;   // [steps][lanes] 1 where the row is whole, else 0
  double* sums;    // [pairs][lanes] of distances
  double* gram;    // [GramSize][lanes]
  int32_t* gaps;   // [steps]
  uint8_t* there;  // [steps + 7] a byte a step, a bit a lane
};

}  // namespace foreshadow::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu::HWY_NAMESPACE {
namespace {

// A vector of series as SolveGram's number.
struct WideReal {
  Wide v;
  WideReal(Wide value) : v(value) {}
  explicit WideReal(double value) : v(hn::Set(Doubles(), value)) {}
};
HWY_INLINE WideReal operator+(WideReal a, WideReal b) { return hn::Add(a.v, b.v); }
HWY_INLINE WideReal operator-(WideReal a, WideReal b) { return hn::Sub(a.v, b.v); }
HWY_INLINE WideReal operator*(WideReal a, WideReal b) { return hn::Mul(a.v, b.v); }
HWY_INLINE WideReal operator/(WideReal a, WideReal b) { return hn::Div(a.v, b.v); }
HWY_INLINE WideReal SquareRoot(WideReal a) { return hn::Sqrt(a.v); }
HWY_INLINE WideReal Larger(WideReal a, WideReal b) { return hn::Max(a.v, b.v); }
HWY_INLINE WideReal Smaller(WideReal a, WideReal b) { return hn::Min(a.v, b.v); }

#include "kernels/algo/gram.inc"

// Products and sums of series that have every sample; the count of rows.
Wide GramOfWhole(const ArPlan& plan, const WideColumns& columns, int64_t steps,
                 const ArScratch& scratch) {
  const Doubles d;
  const int64_t lanes = WideLanes();
  const double* values = columns.values;
  const auto gram = [&](int i) { return scratch.gram + i * lanes; };
  int32_t distances[kArPairsMax];
  int count = 0;
  for (int pair = 0; pair < plan.pairs; ++pair) {
    const auto distance = static_cast<int32_t>(plan.Distance(pair));
    if (count == 0 || distances[count - 1] != distance) distances[count++] = distance;
  }
  SumShifted(
      values, values, steps, count, [&](int64_t k) { return int64_t{distances[k]}; },
      [&](int64_t k) { return scratch.sums + k * lanes; });
  int pair = 0;
  for (int k = 0; k < count; ++k) {
    const double* ahead = values + distances[k] * lanes;
    pair = SpreadProducts<WideReal>(
        plan, steps, pair, hn::Load(d, scratch.sums + k * lanes),
        [&](int64_t begin, int64_t end) HWY_ATTR {
          Wide sum = hn::Zero(d);
          for (int64_t i = begin * lanes; i < end * lanes; i += lanes) {
            sum = hn::MulAdd(hn::Load(d, values + i), hn::Load(d, ahead + i), sum);
          }
          return WideReal(sum);
        },
        [&](int i, WideReal x) HWY_ATTR { hn::Store(x.v, d, gram(i)); });
  }
  // A column misses the first steps, before it begins, and as many last ones as it lags.
  const int64_t rows = steps - plan.span;
  for (int c = 0; c < plan.columns; ++c) {
    Wide sum = columns.sum;
    for (int64_t i = 0; i < plan.span - plan.shifts[c]; ++i) {
      sum = hn::Sub(sum, hn::Load(d, values + i * lanes));
    }
    for (int64_t i = steps - plan.shifts[c]; i < steps; ++i) {
      sum = hn::Sub(sum, hn::Load(d, values + i * lanes));
    }
    hn::Store(sum, d, gram(GramSumIndex(plan, c)));
  }
  return hn::Set(d, static_cast<double>(rows));
}

// The same over the rows of which each series has every sample.
Wide GramOfRows(const ArPlan& plan, const WideColumns& columns, int64_t steps,
                const ArScratch& scratch) {
  const Doubles d;
  const int64_t lanes = WideLanes();
  const auto gram = [&](int i) { return scratch.gram + i * lanes; };
  const auto shift = [&](int64_t c) { return int64_t{plan.shifts[c]}; };
  Wide rows = hn::Zero(d);
  for (int64_t i = 0; i < steps; ++i) {
    uint8_t every = i < plan.span ? 0 : Every();
    for (int c = 0; c < plan.columns && every != 0; ++c) every &= columns.there[i - plan.shifts[c]];
    const uint8_t bits[8] = {every};
    const Wide has = hn::IfThenElseZero(hn::LoadMaskBits(d, bits), hn::Set(d, 1.0));
    hn::Store(has, d, scratch.whole + i * lanes);
    rows = hn::Add(rows, has);
  }
  SumShifted(columns.values, scratch.whole, steps, plan.columns, shift,
             [&](int64_t c) { return gram(GramSumIndex(plan, static_cast<int>(c))); });
  for (int b = 0; b < plan.columns; ++b) {
    for (int64_t i = 0; i < plan.span; ++i) hn::Store(hn::Zero(d), d, scratch.later + i * lanes);
    for (int64_t i = plan.span; i < steps; ++i) {
      const Wide value = hn::Load(d, columns.values + (i - plan.shifts[b]) * lanes);
      hn::Store(hn::Mul(value, hn::Load(d, scratch.whole + i * lanes)), d,
                scratch.later + i * lanes);
    }
    SumShifted(columns.values, scratch.later, steps, b + 1, shift,
               [&](int64_t a) { return gram(GramIndex(static_cast<int>(a), b)); });
  }
  return rows;
}

void FitLanes(const AutoregressionArgs& args, const ArPlan& plan, int64_t first, int64_t count,
              const float* packed, const ArScratch& scratch) {
  const Doubles d;
  const int64_t steps = args.values.steps;
  const int64_t lanes = WideLanes();
  SeriesStatus status[kWideLanesMax] = {};
  const WideColumns columns =
      ReadColumns(packed, steps, scratch.values, scratch.there, scratch.gaps, status);
  const Wide rows = columns.gaps_count == 0 ? GramOfWhole(plan, columns, steps, scratch)
                                            : GramOfRows(plan, columns, steps, scratch);
  const auto solution = SolveGram<WideReal>(
      plan, args.ridge, rows, columns.mean,
      [&](int i) HWY_ATTR { return WideReal(hn::Load(d, scratch.gram + i * lanes)); },
      [&](int i, WideReal x) HWY_ATTR { hn::Store(x.v, d, scratch.gram + i * lanes); },
      [&](int k, WideReal x) HWY_ATTR { StoreWide(x.v, count, &args.coefficients.at(k, first)); });
  StoreWide(solution.variance.v, count, &args.variance[static_cast<size_t>(first)]);
  HWY_ALIGN double worst[kWideLanesMax], rows_of[kWideLanesMax];
  hn::Store(solution.worst.v, d, worst);
  hn::Store(rows, d, rows_of);
  for (int64_t lane = 0; lane < count; ++lane) {
    const SeriesStatus verdict = ArStatus(status[lane], plan, rows_of[lane], worst[lane]);
    args.status[static_cast<size_t>(first + lane)] = verdict;
    if (verdict != SeriesStatus::kOk) VoidAutoregression(args, first + lane, verdict);
  }
}

void Autoregression(const AutoregressionArgs& args, const ArPlan& plan, const ArScratch& scratch) {
  const int64_t lanes = WideLanes();
  for (int64_t first = 0; first < args.values.series; first += kPackSeries) {
    const int64_t count = std::min(kPackSeries, args.values.series - first);
    PackColumns(args.values, first, count, scratch.packed);
    for (int64_t i = 0; i < count; i += lanes) {
      FitLanes(args, plan, first + i, std::min(lanes, count - i),
               scratch.packed + i * args.values.steps, scratch);
    }
  }
}

}  // namespace
}  // namespace foreshadow::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foreshadow::kernels::cpu {
namespace {

// Without memory to divide: its size.
size_t DivideArMemory(int64_t steps, const ArPlan& plan, std::byte* memory, ArScratch& parts) {
  size_t used = 0;
  const auto take = [&](auto*& part, int64_t count) {
    using Part = std::remove_reference_t<decltype(part)>;
    if (memory != nullptr) part = reinterpret_cast<Part>(memory + used);
    used += static_cast<size_t>(count) * sizeof(*part);
  };
  take(parts.values, steps * kWideLanesMax);
  take(parts.later, steps * kWideLanesMax);
  take(parts.whole, steps * kWideLanesMax);
  take(parts.sums, plan.pairs * kWideLanesMax);
  take(parts.gram, GramSize(plan) * kWideLanesMax);
  take(parts.packed, steps * kPackSeries);
  take(parts.gaps, steps);
  take(parts.there, steps + 7);  // masks are stored as 8 bytes, of which the first counts
  return used;
}

}  // namespace

HWY_EXPORT(Autoregression);

size_t AutoregressionWorkspaceBytes(const AutoregressionArgs& args) {
  ArScratch scratch;
  return DivideArMemory(args.values.steps, PlanAutoregression(args), nullptr, scratch);
}

void Autoregression(const AutoregressionArgs& args) {
  CheckAutoregression(args);
  FORESHADOW_CHECK(args.workspace.size() >= AutoregressionWorkspaceBytes(args));
  const ArPlan plan = PlanAutoregression(args);
  if (!HasRows(args, plan)) {
    for (int64_t s = 0; s < args.values.series; ++s) {
      VoidAutoregression(args, s, SeriesStatus::kTooShort);
    }
    return;
  }
  ArScratch scratch;
  DivideArMemory(args.values.steps, plan, args.workspace.data(), scratch);
  HWY_DYNAMIC_DISPATCH(Autoregression)(args, plan, scratch);
}

}  // namespace foreshadow::kernels::cpu
#endif
