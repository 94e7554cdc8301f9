// One series of the streaming seasonal-trend update (docs/kernels-stream.md), as the GPU runs it.
//
// A series is told as a reference, a level plus one value a phase, and deviations from it. Of
// those since the start, a Laguerre filter of kStreamModes keeps what trend and season need, and a
// memory a phase what the phase's own mean needs; what the window before the start still
// contributes was computed then, at knots.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/algo/portable.h"
#include "kernels/ops.h"

namespace foreshadow::kernels {

// Rows of the state.
enum StreamRow : int64_t {
  kStreamBase = 0,  // the reference's level; NaN = no state
  kStreamAge,       // ticks since the start; stops at 2^24, far beyond any horizon
  kStreamOldest,    // largest deviation in the window before the start
  kStreamNewest,    // largest deviation since
  kStreamSize,      // largest sample of that window, in absolute value
  kStreamHeld,      // the trend's deviation when the last sample came
  kStreamEdge,      // memory of the samples that turned another period old
  kStreamMode,      // [kStreamModes]
  kStreamTrendKnot = kStreamMode + kStreamModes,          // [kStreamKnots]
  kStreamSeasonalKnot = kStreamTrendKnot + kStreamKnots,  // [kStreamKnots]
  kStreamReference = kStreamSeasonalKnot + kStreamKnots,  // [period], then the memories, [period]
};

// Parts of StreamPlan::tables.
struct StreamTables {
  const float* trend;     // [lag] weights of the last step's trend, then zeros
  const float* seasonal;  // [lag] likewise, without the phase's own samples
  const float* comb;      // [periods ago] weights of those; 0 = the sample of now
  const float* stray;     // [4][horizon + 1]: trend, seasonal of new; trend, seasonal of old
};

FORESHADOW_PORTABLE constexpr int64_t StreamLags(const StreamModel& m) {
  return int64_t{m.window} + int64_t{kStreamKnots} * m.knot_steps;
}
FORESHADOW_PORTABLE constexpr int64_t StreamCombs(const StreamModel& m) {
  return (m.window - 1) / m.period + 1;
}
FORESHADOW_PORTABLE constexpr int64_t StreamTableFloats(const StreamModel& m) {
  return 2 * StreamLags(m) + StreamCombs(m) + 4 * (int64_t{m.horizon} + 1);
}
FORESHADOW_PORTABLE constexpr StreamTables TablesOf(const StreamModel& m, const float* tables) {
  const float* comb = tables + 2 * StreamLags(m);
  return {tables, tables + StreamLags(m), comb, comb + StreamCombs(m)};
}

// Larger samples count as missing: their sums could overflow.
inline constexpr float kStreamLargest = std::numeric_limits<float>::max() / 1'024;
// Of the largest sample: what float loses on the way, here and in the decomposition.
inline constexpr float kStreamRounding = 64 * std::numeric_limits<float>::epsilon();
// After the last knot, what the window before the start still says fades by this at each knot.
inline constexpr float kStreamFade = 0.9f;

// Where a tick finds its parts of the state. The same for all series.
struct StreamSlots {
  int64_t phase;
  int64_t knot;      // before the tick
  int64_t next;      // after it
  float share;       // of the next knot
  bool turned;       // the tick is a knot:
  int64_t passed;    // the one before is free,
  int64_t furthest;  // and takes the place after this one
};

FORESHADOW_PORTABLE inline StreamSlots SlotsAt(const StreamModel& m, int64_t tick) {
  const int64_t segment = tick / m.knot_steps;
  const int64_t into = tick - segment * m.knot_steps;
  const auto ring = [](int64_t i) { return (i + 2 * kStreamKnots) % kStreamKnots; };
  const int64_t knot = segment % kStreamKnots;
  return {tick % m.period, knot,
          ring(knot + 1),  static_cast<float>(into) / static_cast<float>(m.knot_steps),
          into == 0,       ring(knot - 1),
          ring(knot - 2)};
}

FORESHADOW_PORTABLE inline void StreamStartOf(const StreamStartArgs& args, int64_t s) {
  const StreamModel& m = args.model;
  const StreamTables tables = TablesOf(m, args.tables.data());
  const StepMajor<float>& state = args.state;
  const int64_t column = args.columns.empty() ? s : args.columns[static_cast<size_t>(s)];
  const int64_t last = m.window - 1;
  if (args.decomposed[static_cast<size_t>(s)] != SeriesStatus::kOk) {
    for (int64_t row = 0; row < state.steps; ++row) {
      state.at(row, column) = std::numeric_limits<float>::quiet_NaN();
    }
    return;
  }
  // The reference: the last season about its mean, and the trend's end.
  float mean = 0;
  for (int64_t i = 0; i < m.period; ++i) mean += args.seasonal.at(last - i, s);
  mean /= static_cast<float>(m.period);
  const float base = args.trend.at(last, s) + mean;
  for (int64_t i = 0; i < m.period; ++i) {
    const int64_t phase = (args.tick + m.period - i) % m.period;
    state.at(kStreamReference + phase, column) = args.seasonal.at(last - i, s) - mean;
  }
  // A missing sample is taken to be what the decomposition says.
  const auto deviation = [&](int64_t ago) {
    const float sample = args.observed.at(last - ago, s);
    const float known = std::isnan(sample)
                            ? args.trend.at(last - ago, s) + args.seasonal.at(last - ago, s)
                            : sample;
    return (known - (args.seasonal.at(last - ago % m.period, s) - mean)) - base;
  };
  // What the window says at each knot, were all deviations zero from here on.
  const int64_t into = args.tick % m.knot_steps;
  float trend_knots[kStreamKnots] = {};
  float seasonal_knots[kStreamKnots] = {};
  float trend_now = 0;
  float seasonal_now = 0;
  float oldest = 0;
  float size = 0;
  for (int64_t ago = 0; ago < m.window; ++ago) {
    const float d = deviation(ago);
    oldest = std::fmax(oldest, std::fabs(d));
    size = std::fmax(size, std::fabs(args.observed.at(last - ago, s)));
    trend_now += tables.trend[ago] * d;
    seasonal_now += tables.seasonal[ago] * d;
    for (int k = 1; k < kStreamKnots; ++k) {
      const int64_t lag = ago + int64_t{k} * m.knot_steps - into;
      trend_knots[k] += tables.trend[lag] * d;
      seasonal_knots[k] += tables.seasonal[lag] * d;
    }
  }
  // Each phase's memory of its samples.
  const auto comb = [&](int64_t first, int64_t ago) {
    float sum = 0;
    for (int64_t c = first; ago <= last; ++c, ago += m.period)
      sum += tables.comb[c] * deviation(ago);
    return sum;
  };
  const int64_t memories = kStreamReference + m.period;
  for (int64_t ahead = 1; ahead <= m.period; ++ahead) {
    state.at(memories + (args.tick + ahead) % m.period, column) = comb(1, m.period - ahead);
  }
  // The edge that the memories will feed is taken off the knots: both together are right there.
  float edge = 0;
  float kept = 1;
  int64_t ahead = 0;
  for (int k = 1; k < kStreamKnots; ++k) {
    while (ahead < int64_t{k} * m.knot_steps - into) {
      if (ahead > 0 && ahead % m.period == 0) kept *= m.comb_keep;
      ++ahead;
      const float memory = state.at(memories + (args.tick + ahead) % m.period, column);
      edge = m.edge_pole * edge + kept * memory;
    }
    trend_knots[k] -= m.edge_trend * edge;
    seasonal_knots[k] -= m.edge_seasonal * edge;
  }
  // Before the first knot the line starts from now. What rounding and gaps leave between the
  // window's sums and the decomposition goes with all knots.
  const float back = static_cast<float>(into) / static_cast<float>(m.knot_steps - into);
  trend_knots[0] = trend_now - back * (trend_knots[1] - trend_now);
  seasonal_knots[0] = seasonal_now - back * (seasonal_knots[1] - seasonal_now);
  const float held = args.trend.at(last, s) - base;
  const float trend_off = held - trend_now;
  const float seasonal_off = mean - comb(0, 0) - seasonal_now;
  for (int k = 0; k < kStreamKnots; ++k) {
    const int64_t slot = (args.tick / m.knot_steps + k) % kStreamKnots;
    state.at(kStreamTrendKnot + slot, column) = trend_knots[k] + trend_off;
    state.at(kStreamSeasonalKnot + slot, column) = seasonal_knots[k] + seasonal_off;
  }
  for (int64_t row = 0; row < kStreamTrendKnot; ++row) state.at(row, column) = 0;
  state.at(kStreamBase, column) = base;
  state.at(kStreamOldest, column) = oldest;
  state.at(kStreamSize, column) = size;
  state.at(kStreamHeld, column) = held;
}

// The sample of a series at a tick as the stream takes it: NaN when there is none to take.
FORESHADOW_PORTABLE inline float StreamSample(float sample, float base, SeriesStatus& status) {
  status = SeriesStatus::kOk;
  if (std::isinf(sample)) status = SeriesStatus::kNotFinite;
  if (std::isfinite(sample) && std::fabs(sample) > kStreamLargest)
    status = SeriesStatus::kPrecision;
  if (std::isnan(base)) status = SeriesStatus::kNoData;
  return status == SeriesStatus::kOk ? sample : std::numeric_limits<float>::quiet_NaN();
}

FORESHADOW_PORTABLE inline void StreamUpdateOf(const StreamUpdateArgs& args, int64_t s) {
  const StreamModel& m = args.model;
  const StepMajor<float>& state = args.state;
  const StreamSlots slots = SlotsAt(m, args.tick);
  const int64_t memories = kStreamReference + m.period;
  const auto turn = [&](int64_t knots) {
    state.at(knots + slots.passed, s) = kStreamFade * state.at(knots + slots.furthest, s);
  };
  if (slots.turned) {
    turn(kStreamTrendKnot);
    turn(kStreamSeasonalKnot);
  }
  const auto i = static_cast<size_t>(s);
  const float base = state.at(kStreamBase, s);
  const float sample = StreamSample(args.observed[i], base, args.status[i]);
  const float reference = state.at(kStreamReference + slots.phase, s);
  const float memory = state.at(memories + slots.phase, s);
  const bool there = !std::isnan(sample);
  const float d = there ? (sample - reference) - base : state.at(kStreamHeld, s);

  const auto knot = [&](int64_t knots) {
    const float before = state.at(knots + slots.knot, s);
    return before + slots.share * (state.at(knots + slots.next, s) - before);
  };
  const float edge = m.edge_pole * state.at(kStreamEdge, s) + memory;
  float trend = knot(kStreamTrendKnot) + m.edge_trend * edge;
  // The season's level, apart from the phase's own samples.
  float level = knot(kStreamSeasonalKnot) + m.edge_seasonal * edge;
  // Laguerre: a low pass, then all-passes of the same pole.
  float input = 0;
  float input_before = m.gain * d;
  for (int k = 0; k < kStreamModes; ++k) {
    float& mode = state.at(kStreamMode + k, s);
    const float before = mode;
    mode = m.pole * (before - input) + input_before;
    trend += m.trend_modes[k] * mode;
    level += m.seasonal_modes[k] * mode;
    input = mode;
    input_before = before;
  }
  const float seasonal = level + memory + m.comb_now * d;
  state.at(memories + slots.phase, s) = m.comb_keep * memory + m.comb_next * d;
  state.at(kStreamEdge, s) = edge;
  state.at(kStreamAge, s) += 1;
  state.at(kStreamNewest, s) = std::fmax(state.at(kStreamNewest, s), std::fabs(d));
  if (there) state.at(kStreamHeld, s) = trend;

  args.trend[i] = base + trend;
  args.seasonal[i] = reference + seasonal;
  args.remainder[i] = there ? (sample - args.trend[i]) - args.seasonal[i] : sample;
  for (int64_t ahead = 0; ahead < args.expected.steps; ++ahead) {
    const int64_t phase = (slots.phase + 1 + ahead) % m.period;
    const float season = level + state.at(memories + phase, s) + m.comb_now * trend;
    args.expected.at(ahead, s) = base + trend + (state.at(kStreamReference + phase, s) + season);
  }
}

FORESHADOW_PORTABLE inline void StreamStrayOf(const StreamStrayArgs& args, int64_t s) {
  const StreamModel& m = args.model;
  const auto i = static_cast<size_t>(s);
  const float age = args.state.at(kStreamAge, s);
  if (!(age <= static_cast<float>(m.horizon))) {  // NaN: no state
    args.trend[i] = args.seasonal[i] = std::numeric_limits<float>::infinity();
    return;
  }
  const float* stray = TablesOf(m, args.tables.data()).stray + static_cast<int64_t>(age);
  const int64_t row = int64_t{m.horizon} + 1;
  const float newest = args.state.at(kStreamNewest, s);
  const float oldest = args.state.at(kStreamOldest, s);
  const float rounding = kStreamRounding * (args.state.at(kStreamSize, s) + newest);
  args.trend[i] = stray[0] * newest + stray[2 * row] * oldest + rounding;
  args.seasonal[i] = stray[row] * newest + stray[3 * row] * oldest + rounding;
}

}  // namespace foreshadow::kernels
