// The step of kernels/algo/lstm.h on tiles of series: the sums of a group of rows stay in registers
// while the inputs pass, and all that a tile needs but the weights stays in the first caches.
#include "kernels/cpu/lstm.h"

#include <algorithm>
#include <cstring>

#include "kernels/algo/lstm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/lstm.cc"
#include <hwy/foreach_target.h>
// foreach_target.h comes first.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;
using D = hn::ScalableTag<float>;
using V = hn::Vec<D>;

// A tile is three vectors of series wide. With 32 registers two groups of four rows are summed at
// once: 24 sums, three inputs; with 16 registers one group: 12 sums, three inputs, one weight.
constexpr int kLanes = static_cast<int>(hn::MaxLanes(D()));
constexpr int kVectors = 3;
constexpr int kTile = kVectors * kLanes;
constexpr int kGroups = kLanes == 16 ? 2 : 1;
constexpr int kRows = kGroups * kLstmGroupRows;

// --- Functions ---

struct Ratio {
  V over;
  V under;
};

HWY_INLINE Ratio Tanh(V x) {
  const D d;
  constexpr LstmTanhTerms terms;
  x = hn::Min(hn::Max(x, hn::Set(d, -kLstmTanhEnd)), hn::Set(d, kLstmTanhEnd));
  const V square = hn::Mul(x, x);
  V over = hn::Set(d, terms.over[4]);
  for (int k = 3; k >= 0; --k) over = hn::MulAdd(over, square, hn::Set(d, terms.over[k]));
  V under = hn::Set(d, terms.under[3]);
  for (int k = 2; k >= 0; --k) under = hn::MulAdd(under, square, hn::Set(d, terms.under[k]));
  return {hn::Mul(x, over), under};
}

// LstmCell of kernels/algo/lstm.h.
HWY_INLINE void Cell(V gate_i, V gate_f, V gate_g, V gate_o, float* HWY_RESTRICT cell,
                     float* HWY_RESTRICT hidden) {
  const D d;
  const V half = hn::Set(d, 0.5f);
  const Ratio i = Tanh(gate_i);
  const Ratio f = Tanh(gate_f);
  const Ratio g = Tanh(gate_g);
  const V both = hn::Mul(i.under, g.under);
  const V kept = hn::Mul(hn::Mul(hn::Add(f.under, f.over), hn::Load(d, cell)), both);
  const V added = hn::Mul(hn::Mul(hn::Add(i.under, i.over), g.over), f.under);
  const V now = hn::Div(hn::Mul(half, hn::Add(kept, added)), hn::Mul(both, f.under));
  hn::Store(now, d, cell);
  const Ratio o = Tanh(gate_o);
  const Ratio t = Tanh(now);
  const V over = hn::Mul(hn::Mul(half, hn::Add(o.under, o.over)), t.over);
  hn::Store(hn::Div(over, hn::Mul(o.under, t.under)), d, hidden);
}

// Within 4e-7 of itself: 2 to the whole part by its bits, to the rest by a polynomial of least
// greatest error.
HWY_INLINE V Exp(V x) {
  const D d;
  const hn::RebindToSigned<D> di;
  constexpr float kPower[6] = {1.0000001192092896f,  0.6931469440460205f,   0.24022120237350464f,
                               0.05550713092088699f, 0.009675541892647743f, 0.001327647129073739f};
  constexpr float kEnd = 126;
  V twos = hn::Mul(x, hn::Set(d, 1.4426950408889634f));
  twos = hn::Min(hn::Max(twos, hn::Set(d, -kEnd)), hn::Set(d, kEnd));
  const V whole = hn::Round(twos);
  const V rest = hn::Sub(twos, whole);
  V power = hn::Set(d, kPower[5]);
  for (int k = 4; k >= 0; --k) power = hn::MulAdd(power, rest, hn::Set(d, kPower[k]));
  const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, whole), hn::Set(di, 127)));
  return hn::Mul(power, hn::BitCast(d, exponent));
}

// log(1 + exp(x)), the logarithm within 3e-7 of itself by a polynomial likewise.
HWY_INLINE V Softplus(V x) {
  const D d;
  constexpr float kLog[9] = {0.9999999403953552f,  -0.4999949336051941f,   0.3331909775733948f,
                             -0.2484298050403595f, 0.19105999171733856f,   -0.13663232326507568f,
                             0.07822579145431519f, -0.029505141079425812f, 0.005232670344412327f};
  const V small = Exp(hn::Neg(hn::Abs(x)));
  V log = hn::Set(d, kLog[8]);
  for (int k = 7; k >= 0; --k) log = hn::MulAdd(log, small, hn::Set(d, kLog[k]));
  return hn::MulAdd(small, log, hn::Max(x, hn::Zero(d)));
}

// --- Sums ---

// Rows of inputs of a tile, [count][kTile].
struct Rows {
  const float* rows;
  int64_t count;
};

// sums = biases + weights (first, second), of kGroups groups.
HWY_INLINE void Sum(const float* HWY_RESTRICT weights, int64_t group_floats, const Rows& first,
                    const Rows& second, V (&sums)[kRows][kVectors]) {
  const D d;
  V now[kRows][kVectors];  // its address is not taken, so that it stays in registers
  const auto add = [&](const float* HWY_RESTRICT input, int64_t count) HWY_ATTR {
    for (int64_t k = 0; k < count; ++k, input += kTile) {
      weights += kLstmGroupRows;
      const V x0 = hn::Load(d, input);
      const V x1 = hn::Load(d, input + kLanes);
      const V x2 = hn::Load(d, input + 2 * kLanes);
      for (int r = 0; r < kRows; ++r) {
        const V weight =
            hn::Set(d, weights[r / kLstmGroupRows * group_floats + r % kLstmGroupRows]);
        now[r][0] = hn::MulAdd(weight, x0, now[r][0]);
        now[r][1] = hn::MulAdd(weight, x1, now[r][1]);
        now[r][2] = hn::MulAdd(weight, x2, now[r][2]);
      }
    }
  };
  for (int r = 0; r < kRows; ++r) {
    const float bias = weights[r / kLstmGroupRows * group_floats + r % kLstmGroupRows];
    for (int v = 0; v < kVectors; ++v) now[r][v] = hn::Set(d, bias);
  }
  add(first.rows, first.count);
  add(second.rows, second.count);
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < kVectors; ++v) sums[r][v] = now[r][v];
  }
}

// What is kept of a tile while its step is made, [rows][kTile] each.
struct Tile {
  float* inputs;      // features, embedding
  float* before;      // [layers * hidden] the state
  float* now;         // likewise
  float* cell;        // likewise
  float* dense;       // whole groups
  float* raw;         // head's outputs, whole groups
  float* candidates;  // of one step
  float* spreads;
  float* quantiles;  // of one step
};

// Groups that hold so many rows, in pairs as they are kept.
int64_t GroupsFor(int64_t rows) { return LstmMatrixAt(0, 0, rows).groups; }

// Gives each array its place; returns the floats they take in all.
int64_t Place(const LstmModel& m, int steps, float* memory, Tile& tile) {
  int64_t rows = 0;
  const auto take = [&](float*& array, int64_t count) {
    array = memory == nullptr ? nullptr : memory + rows * kTile;
    rows += count;
  };
  const int64_t state = int64_t{m.layers} * m.hidden;
  take(tile.inputs, LstmInputs(m));
  take(tile.before, state);
  take(tile.now, state);
  take(tile.cell, state);
  take(tile.dense, GroupsFor(m.dense) * kLstmGroupRows);
  take(tile.raw, GroupsFor(steps * LstmHeadRow(m)) * kLstmGroupRows);
  take(tile.candidates, m.candidates);
  take(tile.spreads, m.spreads);
  take(tile.quantiles, m.quantiles);
  return rows * kTile;
}

// Rows first.. of a view, columns of the tile; lanes beyond the last series are zeros.
void CopyIn(const StepMajor<const float>& from, int64_t first, int64_t rows, int64_t s,
            int64_t count, float* to) {
  for (int64_t row = first; row < first + rows; ++row, to += kTile) {
    const float* values = &from.at(row, s);
    if (count == kTile) {
      std::memcpy(to, values, kTile * sizeof(float));
    } else {
      std::copy_n(values, count, to);
      std::fill(to + count, to + kTile, 0.0f);
    }
  }
}
void CopyOut(const float* from, int64_t first, int64_t rows, int64_t s, int64_t count,
             const StepMajor<float>& to) {
  for (int64_t row = first; row < first + rows; ++row, from += kTile) {
    if (count == kTile) {
      std::memcpy(&to.at(row, s), from, kTile * sizeof(float));
    } else {
      std::copy_n(from, count, &to.at(row, s));
    }
  }
}

void CopyEmbeddings(const LstmStepArgs& args, int64_t s, int64_t count, float* to) {
  const int64_t embedding = args.model.embedding;
  std::fill_n(to, embedding * kTile, 0.0f);
  for (int64_t i = 0; i < count; ++i) {
    const float* row = args.weights.data() + args.contexts[static_cast<size_t>(s + i)] * embedding;
    for (int64_t e = 0; e < embedding; ++e) to[e * kTile + i] = row[e];
  }
}

HWY_NOINLINE void Layer(const LstmMatrix& matrix, const float* weights, int64_t hidden,
                        const Rows& inputs, const float* before, float* cell, float* now) {
  V sums[kRows][kVectors];
  const float* group = weights + matrix.at;
  for (int64_t unit = 0; unit < hidden; unit += kGroups, group += kGroups * matrix.group_floats()) {
    Sum(group, matrix.group_floats(), inputs, {before, hidden}, sums);
    for (int g = 0; g < kGroups && unit + g < hidden; ++g) {
      float* unit_cell = cell + (unit + g) * kTile;
      float* unit_now = now + (unit + g) * kTile;
      for (int v = 0; v < kVectors; ++v) {
        const int r = g * kLstmGroupRows;
        Cell(sums[r][v], sums[r + 1][v], sums[r + 2][v], sums[r + 3][v], unit_cell + v * kLanes,
             unit_now + v * kLanes);
      }
    }
  }
}

// out = f(weights (first, second) + biases), the first `rows` rows, rounded up to whole groups.
template <typename F>
void Product(const LstmMatrix& matrix, const float* weights, int64_t rows, const Rows& first,
             const Rows& second, F f, float* out) {
  V sums[kRows][kVectors];
  const float* group = weights + matrix.at;
  for (int64_t row = 0; row < rows; row += kRows, group += kGroups * matrix.group_floats()) {
    Sum(group, matrix.group_floats(), first, second, sums);
    for (int r = 0; r < kRows; ++r) {
      for (int v = 0; v < kVectors; ++v) {
        hn::Store(f(sums[r][v]), D(), out + (row + r) * kTile + v * kLanes);
      }
    }
  }
}

// Mean of the values, weighed by the softmax of raw.
HWY_INLINE V Mixed(const float* raw, const float* values, int64_t count) {
  const D d;
  V top = hn::Load(d, raw);
  for (int64_t i = 1; i < count; ++i) top = hn::Max(top, hn::Load(d, raw + i * kTile));
  V weights = hn::Zero(d);
  V sum = hn::Zero(d);
  for (int64_t i = 0; i < count; ++i) {
    const V weight = Exp(hn::Sub(hn::Load(d, raw + i * kTile), top));
    weights = hn::Add(weights, weight);
    sum = hn::MulAdd(weight, hn::Load(d, values + i * kTile), sum);
  }
  return hn::Div(sum, weights);
}

// The quantiles of one step from its raw outputs.
void Quantiles(const LstmModel& m, const float* raw, const Tile& tile) {
  const D d;
  for (int v = 0; v < kVectors; ++v) {
    const int64_t at = v * kLanes;
    const float* spread_raw = raw + m.candidates * kTile + at;
    const float* offset_raw = spread_raw + m.spreads * kTile;
    const V unit = Exp(Mixed(spread_raw, tile.spreads + at, m.spreads));
    const V median = hn::MulAdd(unit, hn::Load(d, offset_raw),
                                Mixed(raw + at, tile.candidates + at, m.candidates));
    const auto store = [&](V value, int64_t q) {
      hn::Store(value, d, tile.quantiles + q * kTile + at);
    };
    const float* gap = offset_raw + kTile;
    store(median, m.median);
    V value = median;
    for (int64_t q = m.median - 1; q >= 0; --q, gap += kTile) {
      value = hn::NegMulAdd(unit, Softplus(hn::Load(d, gap)), value);
      store(value, q);
    }
    value = median;
    for (int64_t q = m.median + 1; q < m.quantiles; ++q, gap += kTile) {
      value = hn::MulAdd(unit, Softplus(hn::Load(d, gap)), value);
      store(value, q);
    }
  }
}

void Forecast(const LstmStepArgs& args, int64_t s, int64_t count, const Tile& tile) {
  const LstmModel& m = args.model;
  const float* weights = args.weights.data();
  const V zero = hn::Zero(D());
  const float* last = tile.now + int64_t{m.layers - 1} * m.hidden * kTile;
  Product(
      LstmDenseAt(m), weights, m.dense, {last, m.hidden}, {tile.inputs, LstmInputs(m)},
      [zero](V sum) { return hn::Max(sum, zero); }, tile.dense);
  const int64_t row = LstmHeadRow(m);
  Product(
      LstmHeadAt(m), weights, args.steps * row, {tile.dense, m.dense}, {nullptr, 0},
      [](V sum) { return sum; }, tile.raw);
  CopyIn(args.spreads, 0, m.spreads, s, count, tile.spreads);
  for (int64_t step = 0; step < args.steps; ++step) {
    CopyIn(args.candidates, step * m.candidates, m.candidates, s, count, tile.candidates);
    Quantiles(m, tile.raw + step * row * kTile, tile);
    CopyOut(tile.quantiles, step * m.quantiles, m.quantiles, s, count, args.quantiles);
  }
}

void Step(const LstmStepArgs& args) {
  const LstmModel& m = args.model;
  const float* weights = args.weights.data();
  const int64_t state = int64_t{m.layers} * m.hidden;
  Tile tile;
  Place(m, args.steps, reinterpret_cast<float*>(args.workspace.data()), tile);
  for (int64_t s = 0; s < args.features.series; s += kTile) {
    const int64_t count = std::min<int64_t>(kTile, args.features.series - s);
    CopyIn(args.features, 0, m.features, s, count, tile.inputs);
    CopyEmbeddings(args, s, count, tile.inputs + m.features * kTile);
    CopyIn(args.hidden, 0, state, s, count, tile.before);
    CopyIn(args.cell, 0, state, s, count, tile.cell);
    Rows inputs{tile.inputs, LstmInputs(m)};
    for (int l = 0; l < m.layers; ++l) {
      const int64_t at = int64_t{l} * m.hidden * kTile;
      Layer(LstmLayerAt(m, l), weights, m.hidden, inputs, tile.before + at, tile.cell + at,
            tile.now + at);
      inputs = {tile.now + at, m.hidden};
    }
    CopyOut(tile.now, 0, state, s, count, args.hidden);
    CopyOut(tile.cell, 0, state, s, count, args.cell);
    if (args.steps > 0) Forecast(args, s, count, tile);
  }
}

size_t WorkspaceBytes(const LstmModel& model, int steps) {
  Tile tile;
  return static_cast<size_t>(Place(model, steps, nullptr, tile)) * sizeof(float);
}

}  // namespace
}  // namespace foreshadow::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace foreshadow::kernels::cpu {

HWY_EXPORT(Step);
HWY_EXPORT(WorkspaceBytes);

size_t LstmStepWorkspaceBytes(const LstmModel& model, int steps) {
  return HWY_DYNAMIC_DISPATCH(WorkspaceBytes)(model, steps);
}

void LstmStep(const LstmStepArgs& args) {
  CheckLstmStep(args);
  FORESHADOW_CHECK(args.workspace.size() >= LstmStepWorkspaceBytes(args.model, args.steps));
  HWY_DYNAMIC_DISPATCH(Step)(args);
}

}  // namespace foreshadow::kernels::cpu

#endif  // HWY_ONCE
