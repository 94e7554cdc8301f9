// The step of kernels/algo/lstm.h on the GPU, a block a tile of series: inputs and states lie in
// shared memory, each thread sums four rows for eight series, and the weights, which all blocks
// read, come out of the caches. Nothing is allocated and nothing waited for.
#pragma once

#include <cstring>

#include "kernels/algo/lstm.h"

namespace foreshadow::kernels::cuda {

inline constexpr int kLstmTile = 32;  // series a block
inline constexpr int kLstmPart = 8;   // series a thread
inline constexpr int kLstmThreads = 256;
inline constexpr int kLstmSteps = 12;  // of the head at once; whole groups of rows at any width

// Rows of a tile in shared memory, [count][kLstmTile].
struct LstmRows {
  const float* rows;
  int64_t count;
};

template <int kCount>
struct LstmFloats {
  float at[kCount];
};
// Floats that lie on a bound of 16 bytes, four in one load.
template <int kCount>
FORESHADOW_PORTABLE LstmFloats<kCount> LstmLoad(const float* from) {
  LstmFloats<kCount> floats;
  memcpy(&floats, __builtin_assume_aligned(from, 16), sizeof(floats));
  return floats;
}

using LstmSums = LstmFloats<kLstmPart>[kLstmGroupRows];

FORESHADOW_PORTABLE inline void LstmSum(const float* weights, const LstmRows& first,
                                        const LstmRows& second, int64_t part, LstmSums& sums) {
  const auto bias = LstmLoad<kLstmGroupRows>(weights);
  for (int r = 0; r < kLstmGroupRows; ++r) {
    for (int i = 0; i < kLstmPart; ++i) sums[r].at[i] = bias.at[r];
  }
  for (int64_t k = 0; k < first.count + second.count; ++k) {
    weights += kLstmGroupRows;
    const float* row =
        k < first.count ? first.rows + k * kLstmTile : second.rows + (k - first.count) * kLstmTile;
    const auto weight = LstmLoad<kLstmGroupRows>(weights);
    const auto input = LstmLoad<kLstmPart>(row + part * kLstmPart);
    for (int r = 0; r < kLstmGroupRows; ++r) {
      for (int i = 0; i < kLstmPart; ++i) {
        sums[r].at[i] = fmaf(weight.at[r], input.at[i], sums[r].at[i]);
      }
    }
  }
}

// Mean of the values, weighed by the softmax of raw; value(i) gives the i-th.
template <typename Value>
FORESHADOW_PORTABLE float LstmMixed(const float* raw, int64_t count, Value value) {
  float top = raw[0];
  for (int64_t i = 1; i < count; ++i) top = fmaxf(top, raw[i * kLstmTile]);
  float weights = 0;
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    const float weight = expf(raw[i * kLstmTile] - top);
    weights += weight;
    sum = fmaf(weight, value(i), sum);
  }
  return sum / weights;
}

FORESHADOW_PORTABLE inline float LstmSoftplus(float x) {
  return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x)));
}

// The quantiles of one step of series s from its column of raw outputs.
FORESHADOW_PORTABLE inline void LstmQuantiles(const LstmStepArgs& args, const float* raw,
                                              int64_t step, int64_t s) {
  const LstmModel& m = args.model;
  const float* spread_raw = raw + m.candidates * kLstmTile;
  const float* offset_raw = spread_raw + m.spreads * kLstmTile;
  const float unit =
      expf(LstmMixed(spread_raw, m.spreads, [&](int64_t i) { return args.spreads.at(i, s); }));
  const float middle = LstmMixed(
      raw, m.candidates, [&](int64_t i) { return args.candidates.at(step * m.candidates + i, s); });
  const float median = fmaf(unit, *offset_raw, middle);
  const int64_t first = step * m.quantiles;
  args.quantiles.at(first + m.median, s) = median;
  const float* gap = offset_raw + kLstmTile;
  float value = median;
  for (int64_t q = m.median - 1; q >= 0; --q, gap += kLstmTile) {
    value = fmaf(-unit, LstmSoftplus(*gap), value);
    args.quantiles.at(first + q, s) = value;
  }
  value = median;
  for (int64_t q = m.median + 1; q < m.quantiles; ++q, gap += kLstmTile) {
    value = fmaf(unit, LstmSoftplus(*gap), value);
    args.quantiles.at(first + q, s) = value;
  }
}

struct LstmStepOfTile {
  LstmStepArgs args;
  static constexpr int kBlocksAtOnce = 1;

  // Rows of kLstmTile floats in shared memory.
  static int64_t SharedRows(const LstmModel& m, int steps) {
    const int64_t head = kLstmSteps * LstmHeadRow(m);
    return LstmInputs(m) + 3 * int64_t{m.hidden} +
           (steps > 0 ? LstmMatrixAt(0, 0, m.dense).groups * kLstmGroupRows + head : 0);
  }

  // f(row, column, sum) for each row below `rows` of the product and each series of the tile.
  template <typename Team, typename F>
  FORESHADOW_DEVICE void Product(const Team& team, const LstmMatrix& matrix, int64_t first_group,
                                 int64_t rows, const LstmRows& first, const LstmRows& second,
                                 F f) const {
    constexpr int kParts = kLstmTile / kLstmPart;
    const float* weights = args.weights.data() + matrix.at;
    const int64_t groups = (rows + kLstmGroupRows - 1) / kLstmGroupRows;
    team.For(groups * kParts, [&](int64_t i) {
      const int64_t group = i / kParts;
      const int64_t part = i % kParts;
      LstmSums sums;
      LstmSum(weights + (first_group + group) * matrix.group_floats(), first, second, part, sums);
      f(group, part * kLstmPart, sums);
    });
  }

  template <typename Team>
  FORESHADOW_DEVICE void CopyIn(const Team& team, const StepMajor<const float>& from, int64_t first,
                                int64_t rows, int64_t s, float* to) const {
    team.For(rows * kLstmTile, [&](int64_t i) {
      const int64_t column = s + i % kLstmTile;
      to[i] = column < from.series ? from.at(first + i / kLstmTile, column) : 0.0f;
    });
  }

  template <typename Team>
  FORESHADOW_DEVICE void operator()(const Team& team, int64_t block) const {
    const LstmModel& m = args.model;
    const int64_t series = args.features.series;
    const int64_t s = block * kLstmTile;
    const int64_t hidden = m.hidden;
    auto* inputs = reinterpret_cast<float*>(team.shared);
    float* before = inputs + LstmInputs(m) * kLstmTile;
    float* below = before + hidden * kLstmTile;
    float* now = below + hidden * kLstmTile;
    CopyIn(team, args.features, 0, m.features, s, inputs);
    team.For(m.embedding * kLstmTile, [&](int64_t i) {
      const int64_t column = s + i % kLstmTile;
      const int64_t context = column < series ? args.contexts[column] : 0;
      inputs[m.features * kLstmTile + i] = args.weights[context * m.embedding + i / kLstmTile];
    });
    const LstmRows seen{inputs, LstmInputs(m)};
    for (int layer = 0; layer < m.layers; ++layer) {
      const int64_t state = layer * hidden;
      CopyIn(team, args.hidden, state, hidden, s, before);
      float* out = now;
      const auto unit_step = [&](int64_t unit, int64_t column, const LstmSums& sums) {
        for (int i = 0; i < kLstmPart; ++i) {
          const int64_t c = s + column + i;
          float* unit_now = out + unit * kLstmTile + column + i;
          *unit_now = 0;
          if (c >= series) continue;
          const float gates[4] = {sums[0].at[i], sums[1].at[i], sums[2].at[i], sums[3].at[i]};
          LstmCell(gates, args.cell.at(state + unit, c), *unit_now);
          args.hidden.at(state + unit, c) = *unit_now;
        }
      };
      const LstmRows first = layer == 0 ? seen : LstmRows{below, hidden};
      Product(team, LstmLayerAt(m, layer), 0, kLstmGroupRows * hidden, first, {before, hidden},
              unit_step);
      now = below;
      below = out;
    }
    if (args.steps == 0) return;
    float* dense = before + 3 * hidden * kLstmTile;
    float* raw = dense + LstmMatrixAt(0, 0, m.dense).groups * kLstmGroupRows * kLstmTile;
    const auto write_to = [](float* to, float least) {
      return [to, least](int64_t group, int64_t column, const LstmSums& sums) {
        for (int r = 0; r < kLstmGroupRows; ++r) {
          for (int i = 0; i < kLstmPart; ++i) {
            to[(group * kLstmGroupRows + r) * kLstmTile + column + i] = fmaxf(sums[r].at[i], least);
          }
        }
      };
    };
    Product(team, LstmDenseAt(m), 0, m.dense, {below, hidden}, seen, write_to(dense, 0.0f));
    const int64_t row = LstmHeadRow(m);
    for (int64_t first = 0; first < args.steps; first += kLstmSteps) {
      const int64_t steps = args.steps - first < kLstmSteps ? args.steps - first : kLstmSteps;
      Product(team, LstmHeadAt(m), first * row / kLstmGroupRows, steps * row, {dense, m.dense},
              {nullptr, 0}, write_to(raw, -INFINITY));
      team.For(steps * kLstmTile, [&](int64_t i) {
        const int64_t column = s + i % kLstmTile;
        const int64_t step = i / kLstmTile;
        if (column >= series) return;
        LstmQuantiles(args, raw + step * row * kLstmTile + i % kLstmTile, first + step, column);
      });
    }
  }
};

template <typename Device>
void LstmStep(const LstmStepArgs& args) {
  CheckLstmStep(args);
  const auto shared =
      static_cast<size_t>(LstmStepOfTile::SharedRows(args.model, args.steps) * kLstmTile) *
      sizeof(float);
  FORESHADOW_CHECK(shared <= Device::SharedBytesMax());
  Device::Launch((args.features.series + kLstmTile - 1) / kLstmTile, kLstmThreads, shared,
                 args.stream, LstmStepOfTile{args});
}

}  // namespace foreshadow::kernels::cuda
