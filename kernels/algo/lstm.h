// The LSTM network's step: where its weights lie, its functions, and what callers must keep to.
//
// Per series, with x = features and embedding of the series' context:
//   every layer   i, f, g, o = rows of W (input, hidden) + b; c = s(f) c + s(i) tanh(g);
//                 h = s(o) tanh(c) (Hochreiter and Schmidhuber 1997, with forget gates)
//   dense         d = relu(D (h of the last layer, x) + b)
//   head          of each coming step its raw outputs: weights of the candidates, weights of the
//                 spreads, offset, gaps; see models/torch/lstm_network.h for what they mean
//
// A matrix is kept as groups of four rows, so that a group of a layer is the four gates of one
// unit: per group four biases, then of each input its four weights. Groups without a row are zeros.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/algo/portable.h"
#include "kernels/algo/round_up.h"
#include "kernels/check.h"
#include "kernels/ops.h"

namespace foreshadow::kernels {

inline constexpr int kLstmGroupRows = 4;

struct LstmMatrix {
  int64_t at = 0;      // first float of its groups
  int64_t inputs = 0;  // columns
  int64_t groups = 0;  // even

  constexpr int64_t group_floats() const { return kLstmGroupRows * (inputs + 1); }
  constexpr int64_t end() const { return at + groups * group_floats(); }
};

constexpr int64_t LstmInputs(const LstmModel& m) { return m.features + m.embedding; }
constexpr int64_t LstmHeadRow(const LstmModel& m) { return m.candidates + m.spreads + m.quantiles; }

constexpr LstmMatrix LstmMatrixAt(int64_t at, int64_t inputs, int64_t rows) {
  return {at, inputs, RoundUp(rows, 2 * kLstmGroupRows) / kLstmGroupRows};
}

// The embeddings come first, up to a whole group.
constexpr LstmMatrix LstmLayerAt(const LstmModel& m, int layer) {
  const int64_t rows = int64_t{kLstmGroupRows} * m.hidden;
  const int64_t first = RoundUp(int64_t{m.contexts} * m.embedding, kLstmGroupRows);
  LstmMatrix matrix = LstmMatrixAt(first, LstmInputs(m) + m.hidden, rows);
  for (int l = 0; l < layer; ++l) matrix = LstmMatrixAt(matrix.end(), 2 * int64_t{m.hidden}, rows);
  return matrix;
}
constexpr LstmMatrix LstmDenseAt(const LstmModel& m) {
  return LstmMatrixAt(LstmLayerAt(m, m.layers - 1).end(), m.hidden + LstmInputs(m), m.dense);
}
constexpr LstmMatrix LstmHeadAt(const LstmModel& m) {
  return LstmMatrixAt(LstmDenseAt(m).end(), m.dense, m.horizon_steps * LstmHeadRow(m));
}
constexpr int64_t LstmWeightFloats(const LstmModel& m) { return LstmHeadAt(m).end(); }

// tanh(x) = x P(x^2) / Q(x^2) within 1.3e-7 where |x| <= kLstmTanhEnd, fitted for least greatest
// error; beyond it tanh is 1 within 5e-7. With float's rounding 5e-7 in all.
inline constexpr float kLstmTanhEnd = 7.6f;
struct LstmTanhTerms {
  float over[5] = {0.9999994039535522f, 0.12735095620155334f, 0.0027203992940485477f,
                   7.354413810389815e-06f, -6.513956929410369e-09f};
  float under[4] = {1.0f, 0.4606820046901703f, 0.02295025624334812f, 0.0001999177475227043f};
};

struct LstmRatio {
  float over;
  float under;
};

FORESHADOW_PORTABLE inline LstmRatio LstmTanh(float x) {
  x = fminf(fmaxf(x, -kLstmTanhEnd), kLstmTanhEnd);
  constexpr LstmTanhTerms terms;
  const float square = x * x;
  float over = terms.over[4];
  for (int k = 3; k >= 0; --k) over = fmaf(over, square, terms.over[k]);
  float under = terms.under[3];
  for (int k = 2; k >= 0; --k) under = fmaf(under, square, terms.under[k]);
  return {x * over, under};
}

// One unit's new cell and hidden state. The gates i, f and o come halved, for s(x) = (1 +
// tanh(x/2)) / 2; the fractions are brought together, which leaves two divisions of five.
FORESHADOW_PORTABLE inline void LstmCell(const float (&gates)[4], float& cell, float& hidden) {
  const LstmRatio i = LstmTanh(gates[0]);
  const LstmRatio f = LstmTanh(gates[1]);
  const LstmRatio g = LstmTanh(gates[2]);
  const LstmRatio o = LstmTanh(gates[3]);
  const float kept = (f.under + f.over) * cell * (i.under * g.under);
  const float added = (i.under + i.over) * g.over * f.under;
  cell = 0.5f * (kept + added) / (i.under * g.under * f.under);
  const LstmRatio t = LstmTanh(cell);
  hidden = 0.5f * (o.under + o.over) * t.over / (o.under * t.under);
}

inline void CheckLstmModel(const LstmModel& m) {
  FORESHADOW_CHECK(m.features > 0 && m.contexts > 0 && m.embedding >= 0);
  FORESHADOW_CHECK(m.hidden > 0 && m.layers > 0 && m.dense > 0 && m.horizon_steps > 0);
  FORESHADOW_CHECK(m.candidates > 0 && m.spreads > 0);
  FORESHADOW_CHECK(m.quantiles > 0 && m.median >= 0 && m.median < m.quantiles);
}

inline void CheckLstmStep(const LstmStepArgs& args) {
  const LstmModel& m = args.model;
  CheckLstmModel(m);
  const int64_t series = args.features.series;
  const auto fits = [series](const auto& view, int64_t rows) {
    return view.steps == rows && view.series == series && view.stride >= series;
  };
  FORESHADOW_CHECK(std::ssize(args.weights) == LstmWeightFloats(m));
  FORESHADOW_CHECK(args.steps >= 0 && args.steps <= m.horizon_steps);
  FORESHADOW_CHECK(fits(args.features, m.features) && std::ssize(args.contexts) == series);
  FORESHADOW_CHECK(fits(args.hidden, int64_t{m.layers} * m.hidden));
  FORESHADOW_CHECK(fits(args.cell, int64_t{m.layers} * m.hidden));
  if (args.steps == 0) return;
  FORESHADOW_CHECK(fits(args.candidates, int64_t{args.steps} * m.candidates));
  FORESHADOW_CHECK(fits(args.spreads, m.spreads));
  FORESHADOW_CHECK(fits(args.quantiles, int64_t{args.steps} * m.quantiles));
}

}  // namespace foreshadow::kernels
