// Periods on the CPU: vectors run along one series at a time; KissFFT transforms it.
#include "kernels/algo/periods.h"

#include <kissfft/kiss_fftr.h>

#include <algorithm>

#include "kernels/algo/round_up.h"
#include "kernels/check.h"
#include "kernels/cpu/patterns.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/periods.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/algo/periods-inl.h"

#ifndef FORESHADOW_KERNELS_CPU_PERIODS_ONCE
#define FORESHADOW_KERNELS_CPU_PERIODS_ONCE
namespace foreshadow::kernels::cpu {
namespace {

constexpr int64_t kGathered = 16;  // columns are read a cache line at a time

struct PeriodMemory {
  kiss_fftr_cfg forward;
  kiss_fftr_cfg inverse;
  PeriodTables tables;
  float* columns;  // [kGathered][steps]
  PeriodRow row;
};

}  // namespace
}  // namespace foreshadow::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// The team of periods-inl.h that is one vector.
struct Vectors {
  using D = hn::ScalableTag<float>;
  using F = hn::Vec<D>;
  struct Items {
    int64_t at;
    int64_t count;  // <= Lanes(D())
  };

  HWY_ATTR static bool IsWhole(Items i) { return i.count == static_cast<int64_t>(hn::Lanes(D())); }
  HWY_ATTR static auto Inside(Items i) { return hn::FirstN(D(), static_cast<size_t>(i.count)); }

  template <typename Body>
  HWY_ATTR static void For(int64_t n, Body body) {
    const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
    int64_t i = 0;
    for (; i + lanes <= n; i += lanes) body(Items{i, lanes});
    if (i < n) body(Items{i, n - i});
  }
  template <typename Body>
  HWY_ATTR static void Each(int64_t n, Body body) {
    for (int64_t i = 0; i < n; ++i) body(i);
  }
  // Within a vector and a thousand rows of it, floats keep the precision of the samples.
  template <typename Value>
  HWY_ATTR static double Sum(int64_t n, Value value) {
    F sum = hn::Zero(D());
    For(n, [&](Items i) HWY_ATTR {
      const F v = value(i);
      sum = hn::Add(sum, IsWhole(i) ? v : hn::IfThenElseZero(Inside(i), v));
    });
    return hn::GetLane(hn::SumOfLanes(D(), sum));
  }
  template <typename Value>
  HWY_ATTR static float Max(int64_t n, float least, Value value) {
    F most = hn::Set(D(), least);
    For(n, [&](Items i) HWY_ATTR {
      const F v = value(i);
      most = hn::Max(most, IsWhole(i) ? v : hn::IfThenElse(Inside(i), v, most));
    });
    return hn::GetLane(hn::MaxOfLanes(D(), most));
  }
  template <typename Condition>
  HWY_ATTR static int64_t Count(int64_t n, Condition condition) {
    size_t count = 0;
    For(n, [&](Items i) HWY_ATTR {
      const auto mask = condition(i);
      count += hn::CountTrue(D(), IsWhole(i) ? mask : hn::And(mask, Inside(i)));
    });
    return static_cast<int64_t>(count);
  }
  template <typename Condition>
  HWY_ATTR static int64_t First(int64_t n, Condition condition) {
    const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
    for (int64_t i = 0; i < n; i += lanes) {
      const auto found = hn::FindFirstTrue(D(), condition(Items{i, std::min(lanes, n - i)}));
      if (found >= 0) return std::min<int64_t>(n, i + found);
    }
    return n;
  }

  HWY_ATTR static F Set(float x) { return hn::Set(D(), x); }
  HWY_ATTR static F Iota(Items i) { return hn::Iota(D(), static_cast<float>(i.at)); }
  HWY_ATTR static F Load(const float* from, Items i) { return hn::LoadU(D(), from + i.at); }
  HWY_ATTR static void Store(F value, float* to, Items i) {
    if (IsWhole(i)) {
      hn::StoreU(value, D(), to + i.at);
    } else {
      hn::BlendedStore(value, Inside(i), D(), to + i.at);
    }
  }
  HWY_ATTR static void LoadComplex(const float* from, Items i, F& re, F& im) {
    hn::LoadInterleaved2(D(), from + 2 * i.at, re, im);
  }
  // May write into the slack past the end.
  HWY_ATTR static void StoreComplex(F re, F im, float* to, Items i) {
    hn::StoreInterleaved2(re, im, D(), to + 2 * i.at);
  }
  HWY_ATTR static F Gather(const float* from, F index) {
    return hn::GatherIndex(D(), from, hn::ConvertTo(hn::RebindToSigned<D>(), index));
  }
  template <typename Mask>
  HWY_ATTR static F Select(Mask mask, F yes, F no) {
    return hn::IfThenElse(mask, yes, no);
  }
  HWY_ATTR static F Larger(F a, F b) { return hn::Max(a, b); }
  HWY_ATTR static F Smaller(F a, F b) { return hn::Min(a, b); }
  HWY_ATTR static F Round(F x) { return hn::Round(x); }
};

HWY_ATTR void Transform(const cpu::PeriodMemory& m, const float* from) {
  kiss_fftr(m.forward, from, reinterpret_cast<kiss_fft_cpx*>(m.row.spectrum));
}

// Sums of products with itself so many steps later, of what was transformed.
HWY_ATTR void Autocovariance(const PeriodShape& shape, const cpu::PeriodMemory& m, float* to) {
  SquareSpectrum(Vectors(), shape, m.row);
  kiss_fftri(m.inverse, reinterpret_cast<const kiss_fft_cpx*>(m.row.spectrum), to);
}

// The correlation once a line is taken from the values, which it was of before. Without gaps sums
// over the values are all it takes: of y + l at one step times y + l at another, with l the line,
// all terms but that of y and y are known. Two transforms would do the same.
HWY_ATTR void CorrelateWithoutLine(const PeriodShape& shape, const PeriodRow& row) {
  using F = Vectors::F;
  const Vectors team;
  const int64_t steps = shape.steps;
  const auto n = static_cast<float>(steps);
  const float center = (n - 1) / 2;
  // Sums of values, and of values times time, over the first steps.
  float* sums = row.pairs;
  float* moments = row.pairs + steps + 1;
  double sum = 0;
  double moment = 0;
  for (int64_t i = 0; i < steps; ++i) {
    sums[i] = static_cast<float>(sum);
    moments[i] = static_cast<float>(moment);
    sum += row.values[i];
    moment += double{row.values[i]} * (static_cast<double>(i) - double{center});
  }
  sums[steps] = static_cast<float>(sum);
  moments[steps] = static_cast<float>(moment);
  const F a = team.Set(row.state->level);
  const F b = team.Set(row.state->slope);
  const F all = team.Set(sums[steps]);
  const F all_moments = team.Set(moments[steps]);
  const F scale = team.Set(static_cast<float>(shape.padded));  // of transforms
  const F per_pair = team.Set(row.state->whole / n);
  team.For(steps, [&](Vectors::Items i) HWY_ATTR {
    const F lag = team.Iota(i);
    const F pairs = team.Set(n) - lag;
    const F early = team.Gather(sums, pairs);
    const F late = all - team.Load(sums, i);
    F line_and_values = a * (early + late) + b * lag * (early - late);
    line_and_values =
        line_and_values + b * (team.Gather(moments, pairs) + all_moments - team.Load(moments, i));
    // Sums of time and its square over the first pairs.
    const F time = team.Set(-0.5f) * pairs * lag;
    const F last = pairs - team.Set(1);
    const F square = pairs * (last * (pairs + last) / team.Set(6) - team.Set(center) * last +
                              team.Set(center * center));
    const F line =
        a * a * pairs + a * b * (time + time + lag * pairs) + b * b * (square + lag * time);
    const F before = team.Load(row.correlation, i) * pairs * per_pair;
    team.Store(before - scale * (line_and_values + line), row.correlation, i);
  });
  Correlate(team, shape, row);
}

// Of the series whose samples are in the row. Most series of noise cost no more than one transform.
HWY_ATTR SeriesStatus PeriodsOf(const PeriodShape& shape, const cpu::PeriodMemory& m,
                                int32_t* periods, float* strengths) {
  const Vectors team;
  const PeriodRow& row = m.row;
  const PeriodState& state = *row.state;
  const auto correlate = [&] HWY_ATTR {
    Autocovariance(shape, m, row.correlation);
    if (state.gaps && state.whole == 0) {
      MaskToTransform(team, shape, row);
      Transform(m, row.pairs);
      Autocovariance(shape, m, row.pairs);
      CountPairs(team, shape, row);
    }
    Correlate(team, shape, row);
  };
  Begin(team, shape, row);
  for (int look = 0; look < kPeriodLooks && !state.done; ++look) {
    Transform(m, row.values);
    Look(team, shape, m.tables, row);
    if (state.done) break;
    correlate();
    if (look == 0) {
      FitTrend(team, shape, row);
      if (state.done) break;
      if (state.gaps) {
        Transform(m, row.values);
        correlate();
      } else {
        CorrelateWithoutLine(shape, row);
      }
    }
    FindCycles(team, shape, row);
  }
  Report(shape, state, periods, strengths);
  return state.status;
}

}  // namespace HWY_NAMESPACE
}  // namespace foreshadow::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foreshadow::kernels {
HWY_EXPORT(PeriodsOf);

namespace cpu {
namespace {

size_t WholeLinesOfBytes(size_t bytes) { return RoundUp(bytes, 64); }

// The same walk sizes the memory and hands it out: take(bytes) gives their place.
template <typename Take>
PeriodMemory Carve(const PeriodShape& shape, Take take) {
  const auto padded = static_cast<int>(shape.padded);
  size_t forward_bytes = 0;
  size_t inverse_bytes = 0;
  kiss_fftr_alloc(padded, 0, nullptr, &forward_bytes);
  kiss_fftr_alloc(padded, 1, nullptr, &inverse_bytes);
  const auto floats = [&](int64_t count) {
    return reinterpret_cast<float*>(take(static_cast<size_t>(count) * sizeof(float)));
  };
  PeriodMemory m{};
  m.forward = reinterpret_cast<kiss_fftr_cfg>(take(forward_bytes));
  m.inverse = reinterpret_cast<kiss_fftr_cfg>(take(inverse_bytes));
  m.columns = floats(kGathered * shape.steps);
  float* tables = floats(TableFloats(shape));
  float* row = floats(RowFloats(shape));
  if (row == nullptr) return m;
  m.tables = TablesAt(shape, tables);
  m.row = RowAt(shape, row);
  kiss_fftr_alloc(padded, 0, m.forward, &forward_bytes);
  kiss_fftr_alloc(padded, 1, m.inverse, &inverse_bytes);
  for (int64_t i = 0; i < TableItems(shape); ++i) FillTable(shape, m.tables, i);
  return m;
}

}  // namespace

size_t PeriodsWorkspaceBytes(const PeriodArgs& args) {
  size_t total = 0;
  Carve(ShapeOf(args), [&](size_t bytes) {
    total += WholeLinesOfBytes(bytes);
    return static_cast<std::byte*>(nullptr);
  });
  return total;
}

void Periods(const PeriodArgs& args) {
  CheckPeriodArgs(args);
  std::fill(args.periods.begin(), args.periods.end(), 0);
  std::fill(args.strengths.begin(), args.strengths.end(), 0.0f);
  if (args.observed.steps < kPeriodSamplesMin) {
    std::fill(args.status.begin(), args.status.end(), SeriesStatus::kTooShort);
    return;
  }
  FORESHADOW_CHECK(args.workspace.size() >= PeriodsWorkspaceBytes(args));
  const PeriodShape shape = ShapeOf(args);
  std::byte* memory = args.workspace.data();
  const PeriodMemory m = Carve(shape, [&](size_t bytes) {
    std::byte* taken = memory;
    memory += WholeLinesOfBytes(bytes);
    return taken;
  });
  const auto periods_of = HWY_DYNAMIC_DISPATCH(PeriodsOf);
  for (int64_t first = 0; first < args.observed.series; first += kGathered) {
    const int64_t count = std::min(kGathered, args.observed.series - first);
    for (int64_t step = 0; step < shape.steps; ++step) {
      for (int64_t s = 0; s < count; ++s) {
        m.columns[s * shape.steps + step] = args.observed.at(step, first + s);
      }
    }
    for (int64_t s = 0; s < count; ++s) {
      std::copy_n(m.columns + s * shape.steps, shape.steps, m.row.values);
      const auto place = (first + s) * args.max_periods;
      args.status[first + s] =
          periods_of(shape, m, args.periods.data() + place, args.strengths.data() + place);
    }
  }
}

}  // namespace cpu
}  // namespace foreshadow::kernels
#endif  // HWY_ONCE
