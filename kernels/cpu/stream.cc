// The steps of kernels/algo/stream.h on vectors of series; that text takes the series which do not
// fill a vector.
#include "kernels/cpu/stream.h"

#include <algorithm>

#include "kernels/algo/stream.h"
#include "kernels/algo/stream_checks.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/stream.cc"
#include <hwy/foreach_target.h>
// foreach_target.h comes first.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// --- Start ---

// One vector of series on its way from the decomposition into the state.
struct Starting {
  const StreamStartArgs& args;
  int64_t first;      // series
  float* deviations;  // [samples ago][lanes]
  float* reference;   // [steps ago][lanes]
  float* memories;    // [steps ahead - 1][lanes]

  V Load(StepMajor<const float> from, int64_t ago) const {
    return hn::LoadU(D(), &from.at(args.model.window - 1 - ago, first));
  }
  void Store(int64_t row, V values) const {
    const D d;
    if (args.columns.empty()) {
      hn::StoreU(values, d, &args.state.at(row, first));
      return;
    }
    HWY_ALIGN float lanes[hn::MaxLanes(d)];
    hn::Store(values, d, lanes);
    for (size_t lane = 0; lane < hn::Lanes(d); ++lane) {
      args.state.at(row, args.columns[static_cast<size_t>(first) + lane]) = lanes[lane];
    }
  }
};

V At(const float* lanes, int64_t i) {
  return hn::Load(D(), lanes + i * static_cast<int64_t>(hn::Lanes(D())));
}
void Put(V values, float* lanes, int64_t i) {
  hn::Store(values, D(), lanes + i * static_cast<int64_t>(hn::Lanes(D())));
}

// Sums over the window of deviations times taps, at the offsets of all knots; offset 0 first, for
// what the window says now.
void KnotSums(const Starting& s, const float* taps, V (&sums)[kStreamKnots]) {
  const D d;
  const StreamModel& m = s.args.model;
  const int64_t into = s.args.tick % m.knot_steps;
  constexpr int kSide = 6;  // sums side by side, in registers
  static_assert(kStreamKnots % kSide == 0);
  for (int from = 0; from < kStreamKnots; from += kSide) {
    V side[kSide];
    const float* at[kSide];
    for (int k = 0; k < kSide; ++k) {
      side[k] = hn::Zero(d);
      at[k] = taps + (from + k == 0 ? 0 : (from + k) * m.knot_steps - into);
    }
    for (int64_t ago = 0; ago < m.window; ++ago) {
      const V deviation = At(s.deviations, ago);
      for (int k = 0; k < kSide; ++k) {
        side[k] = hn::MulAdd(hn::Set(d, at[k][ago]), deviation, side[k]);
      }
    }
    for (int k = 0; k < kSide; ++k) sums[from + k] = side[k];
  }
}

V Comb(const Starting& s, const float* comb, int64_t c, int64_t ago) {
  V sum = hn::Zero(D());
  for (; ago < s.args.model.window; ++c, ago += s.args.model.period) {
    sum = hn::MulAdd(hn::Set(D(), comb[c]), At(s.deviations, ago), sum);
  }
  return sum;
}

void StartVector(const Starting& s) {
  const D d;
  const StreamStartArgs& args = s.args;
  const StreamModel& m = args.model;
  const StreamTables tables = TablesOf(m, args.tables.data());
  V mean = hn::Zero(d);
  for (int64_t i = 0; i < m.period; ++i) mean = hn::Add(mean, s.Load(args.seasonal, i));
  mean = hn::Mul(mean, hn::Set(d, 1 / static_cast<float>(m.period)));
  const V base = hn::Add(s.Load(args.trend, 0), mean);
  for (int64_t i = 0; i < m.period; ++i) {
    const V reference = hn::Sub(s.Load(args.seasonal, i), mean);
    Put(reference, s.reference, i);
    s.Store(kStreamReference + (args.tick + m.period - i) % m.period, reference);
  }
  V oldest = hn::Zero(d);
  V size = hn::Zero(d);
  for (int64_t ago = 0; ago < m.window; ++ago) {
    const V sample = s.Load(args.observed, ago);
    const auto missing = hn::IsNaN(sample);
    V known = sample;
    if (!hn::AllFalse(d, missing)) {
      const V fitted = hn::Add(s.Load(args.trend, ago), s.Load(args.seasonal, ago));
      known = hn::IfThenElse(missing, fitted, sample);
    }
    const V deviation = hn::Sub(hn::Sub(known, At(s.reference, ago % m.period)), base);
    Put(deviation, s.deviations, ago);
    oldest = hn::Max(oldest, hn::Abs(deviation));
    size = hn::Max(size, hn::IfThenZeroElse(missing, hn::Abs(sample)));
  }
  const int64_t memories = kStreamReference + m.period;
  for (int64_t ahead = 1; ahead <= m.period; ++ahead) {
    const V memory = Comb(s, tables.comb, 1, m.period - ahead);
    Put(memory, s.memories, ahead - 1);
    s.Store(memories + (args.tick + ahead) % m.period, memory);
  }

  V trend[kStreamKnots];
  V seasonal[kStreamKnots];
  KnotSums(s, tables.trend, trend);
  KnotSums(s, tables.seasonal, seasonal);
  const int64_t into = args.tick % m.knot_steps;
  V edge = hn::Zero(d);
  float kept = 1;
  int64_t ahead = 0;
  for (int k = 1; k < kStreamKnots; ++k) {
    for (; ahead < int64_t{k} * m.knot_steps - into; ++ahead) {
      if (ahead > 0 && ahead % m.period == 0) kept *= m.comb_keep;
      const V memory = At(s.memories, ahead % m.period);
      edge = hn::MulAdd(hn::Set(d, m.edge_pole), edge, hn::Mul(hn::Set(d, kept), memory));
    }
    trend[k] = hn::NegMulAdd(hn::Set(d, m.edge_trend), edge, trend[k]);
    seasonal[k] = hn::NegMulAdd(hn::Set(d, m.edge_seasonal), edge, seasonal[k]);
  }
  const V held = hn::Sub(s.Load(args.trend, 0), base);
  const V trend_off = hn::Sub(held, trend[0]);
  const V seasonal_off = hn::Sub(hn::Sub(mean, Comb(s, tables.comb, 0, 0)), seasonal[0]);
  const V back = hn::Set(d, static_cast<float>(into) / static_cast<float>(m.knot_steps - into));
  trend[0] = hn::NegMulAdd(back, hn::Sub(trend[1], trend[0]), trend[0]);
  seasonal[0] = hn::NegMulAdd(back, hn::Sub(seasonal[1], seasonal[0]), seasonal[0]);
  for (int k = 0; k < kStreamKnots; ++k) {
    const int64_t slot = (args.tick / m.knot_steps + k) % kStreamKnots;
    s.Store(kStreamTrendKnot + slot, hn::Add(trend[k], trend_off));
    s.Store(kStreamSeasonalKnot + slot, hn::Add(seasonal[k], seasonal_off));
  }
  for (int64_t row = 0; row < kStreamTrendKnot; ++row) s.Store(row, hn::Zero(d));
  s.Store(kStreamBase, base);
  s.Store(kStreamOldest, oldest);
  s.Store(kStreamSize, size);
  s.Store(kStreamHeld, held);
}

void Start(const StreamStartArgs& args) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  auto* scratch = reinterpret_cast<float*>(args.workspace.data());
  float* reference = scratch + args.model.window * lanes;
  float* memories = reference + args.model.period * lanes;
  int64_t s = 0;
  for (; s + lanes <= args.observed.series; s += lanes) {
    StartVector({args, s, scratch, reference, memories});
    for (int64_t i = s; i < s + lanes; ++i) {  // those without a decomposition
      if (args.decomposed[static_cast<size_t>(i)] != SeriesStatus::kOk) StreamStartOf(args, i);
    }
  }
  for (; s < args.observed.series; ++s) StreamStartOf(args, s);
}

// --- Update ---

void UpdateVector(const StreamUpdateArgs& args, const StreamSlots& slots, int64_t s) {
  const D d;
  const StreamModel& m = args.model;
  const auto load = [&](int64_t row) { return hn::LoadU(d, &args.state.at(row, s)); };
  const auto store = [&](V values, int64_t row) { hn::StoreU(values, d, &args.state.at(row, s)); };
  const auto i = static_cast<size_t>(s);
  if (slots.turned) {
    for (const int64_t knots : {int64_t{kStreamTrendKnot}, int64_t{kStreamSeasonalKnot}}) {
      store(hn::Mul(hn::Set(d, kStreamFade), load(knots + slots.furthest)), knots + slots.passed);
    }
  }
  const V base = load(kStreamBase);
  const V raw = hn::LoadU(d, args.observed.data() + s);
  const auto usable = hn::And(hn::Le(hn::Abs(raw), hn::Set(d, kStreamLargest)), hn::Eq(base, base));
  std::fill_n(args.status.data() + s, hn::Lanes(d), SeriesStatus::kOk);
  if (!hn::AllTrue(d, usable)) {
    for (size_t lane = i; lane < i + hn::Lanes(d); ++lane) {
      StreamSample(args.observed[lane], args.state.at(kStreamBase, static_cast<int64_t>(lane)),
                   args.status[lane]);
    }
  }
  const V missing = hn::Set(d, std::numeric_limits<float>::quiet_NaN());
  const V sample = hn::IfThenElse(usable, raw, missing);
  const V reference = load(kStreamReference + slots.phase);
  const int64_t memories = kStreamReference + m.period;
  const V memory = load(memories + slots.phase);
  const V held = load(kStreamHeld);
  const V deviation = hn::IfThenElse(usable, hn::Sub(hn::Sub(sample, reference), base), held);

  const V share = hn::Set(d, slots.share);
  const auto knot = [&](int64_t knots) {
    const V before = load(knots + slots.knot);
    return hn::MulAdd(share, hn::Sub(load(knots + slots.next), before), before);
  };
  const V edge = hn::MulAdd(hn::Set(d, m.edge_pole), load(kStreamEdge), memory);
  V trend = hn::MulAdd(hn::Set(d, m.edge_trend), edge, knot(kStreamTrendKnot));
  V level = hn::MulAdd(hn::Set(d, m.edge_seasonal), edge, knot(kStreamSeasonalKnot));
  const V pole = hn::Set(d, m.pole);
  V input = hn::Zero(d);
  V input_before = hn::Mul(hn::Set(d, m.gain), deviation);
  for (int k = 0; k < kStreamModes; ++k) {
    const V before = load(kStreamMode + k);
    const V mode = hn::MulAdd(pole, hn::Sub(before, input), input_before);
    store(mode, kStreamMode + k);
    trend = hn::MulAdd(hn::Set(d, m.trend_modes[k]), mode, trend);
    level = hn::MulAdd(hn::Set(d, m.seasonal_modes[k]), mode, level);
    input = mode;
    input_before = before;
  }
  const V seasonal = hn::MulAdd(hn::Set(d, m.comb_now), deviation, hn::Add(level, memory));
  store(hn::MulAdd(hn::Set(d, m.comb_next), deviation, hn::Mul(hn::Set(d, m.comb_keep), memory)),
        memories + slots.phase);
  store(edge, kStreamEdge);
  store(hn::Add(load(kStreamAge), hn::Set(d, 1)), kStreamAge);
  store(hn::Max(load(kStreamNewest), hn::Abs(deviation)), kStreamNewest);
  store(hn::IfThenElse(usable, trend, held), kStreamHeld);

  const V trend_now = hn::Add(base, trend);
  const V seasonal_now = hn::Add(reference, seasonal);
  hn::StoreU(trend_now, d, args.trend.data() + s);
  hn::StoreU(seasonal_now, d, args.seasonal.data() + s);
  hn::StoreU(hn::Sub(hn::Sub(sample, trend_now), seasonal_now), d, args.remainder.data() + s);
  const V level_ahead = hn::MulAdd(hn::Set(d, m.comb_now), trend, level);
  for (int64_t ahead = 0; ahead < args.expected.steps; ++ahead) {
    const int64_t phase = (slots.phase + 1 + ahead) % m.period;
    const V season =
        hn::Add(load(kStreamReference + phase), hn::Add(level_ahead, load(memories + phase)));
    hn::StoreU(hn::Add(trend_now, season), d, &args.expected.at(ahead, s));
  }
}

void Update(const StreamUpdateArgs& args) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(D()));
  const StreamSlots slots = SlotsAt(args.model, args.tick);
  int64_t s = 0;
  for (; s + lanes <= args.state.series; s += lanes) UpdateVector(args, slots, s);
  for (; s < args.state.series; ++s) StreamUpdateOf(args, s);
}

}  // namespace
}  // namespace foreshadow::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace foreshadow::kernels::cpu {

HWY_EXPORT(Start);
HWY_EXPORT(Update);

size_t StreamStartWorkspaceBytes(const StreamStartArgs& args) {
  constexpr size_t kLanesMax = 16;  // of AVX-512
  return static_cast<size_t>(args.model.window + 2 * args.model.period) * kLanesMax * sizeof(float);
}

void StreamStart(const StreamStartArgs& args) {
  CheckStreamStart(args);
  FORESHADOW_CHECK(args.workspace.size() >= StreamStartWorkspaceBytes(args));
  HWY_DYNAMIC_DISPATCH(Start)(args);
}

void StreamUpdate(const StreamUpdateArgs& args) {
  CheckStreamUpdate(args);
  HWY_DYNAMIC_DISPATCH(Update)(args);
}

void StreamStray(const StreamStrayArgs& args) {
  CheckStreamStray(args);
  for (int64_t s = 0; s < args.state.series; ++s) StreamStrayOf(args, s);
}

}  // namespace foreshadow::kernels::cpu

#endif  // HWY_ONCE
