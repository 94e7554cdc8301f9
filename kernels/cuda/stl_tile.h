// What a thread block of STL on the GPU works on: a tile of neighbouring series, and how its
// threads go over it.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/algo/portable.h"
#include "kernels/algo/round_up.h"
#include "kernels/ops.h"

namespace foreshadow::kernels::cuda {

inline constexpr int kThreads = 512;     // of a block
inline constexpr int kSums = 2;          // of a fit without robustness weights
inline constexpr int kWeightedSums = 5;  // of one with

// What is known of one series of the tile.
struct Verdict {
  float low, high;
  float center;     // taken off the samples
  int32_t present;  // samples
  SeriesStatus status;
  // Of the search for the median, see SelectMedian: bit images of floats, and counts.
  int32_t from, to, below_from, below_to, probe;
  float first, second;
};

// Places of a tile's arrays, [..][kTile] each; made by PlaceTile.
struct TileMemory {
  Verdict* verdicts;   // [kTile]
  int32_t* flags;      // [2] one for the whole block
  float* partial;      // results of single threads, on their way together
  float* means;        // [period] of the phases
  float* rest;         // [steps] centred samples, the season taken off
  uint8_t* present;    // [steps]
  float* weights;      // [steps] robustness; with outer loops only
  float* profile;      // [period] the season where each phase has one value
  float* level_knots;  // [fits] of the trend
  float* season;       // [steps] where phases have no single value
  float* cycles;       // [steps + 2 period]
  float* averages;     // [steps + 2 period]
  float* low_knots;    // [fits] of the low-pass filter
};

// Threads for one fit, where so many are wanted at once; each sums up every so many-th sample.
FORESHADOW_PORTABLE constexpr int ShareOf(int64_t fits, bool weighted) {
  const int share = weighted ? 2 : 4;
  return fits * share <= 4 * kThreads ? share : 1;
}

struct TileSizes {
  int tile;
  int64_t steps;
  int64_t period;
  int64_t level_fits;
  int64_t low_fits;
  int64_t partial_floats;
  bool robust;
};

// Where the two parts of a tile lie: the hot one, and the one that only windowed seasons need.
template <typename Take>
FORESHADOW_PORTABLE void PlaceHot(const TileSizes& sizes, TileMemory& m, Take take) {
  const int64_t t = sizes.tile;
  m.verdicts = reinterpret_cast<Verdict*>(take(t * static_cast<int64_t>(sizeof(Verdict))));
  m.flags = reinterpret_cast<int32_t*>(take(2 * static_cast<int64_t>(sizeof(int32_t))));
  const auto floats = [&](int64_t count) {
    return reinterpret_cast<float*>(take(count * static_cast<int64_t>(sizeof(float))));
  };
  m.partial = floats(sizes.partial_floats);
  m.means = m.partial + kThreads;
  m.rest = floats(sizes.steps * t);
  m.weights = floats(sizes.robust ? sizes.steps * t : 0);
  m.profile = floats(sizes.period * t);
  m.level_knots = floats(sizes.level_fits * t);
  m.present = reinterpret_cast<uint8_t*>(take(sizes.steps * t));
}

template <typename Take>
FORESHADOW_PORTABLE void PlaceCycles(const TileSizes& sizes, TileMemory& m, Take take) {
  const auto floats = [&](int64_t steps) {
    return reinterpret_cast<float*>(take(steps * sizes.tile * static_cast<int64_t>(sizeof(float))));
  };
  m.season = floats(sizes.steps);
  m.cycles = floats(sizes.steps + 2 * sizes.period);
  m.averages = floats(sizes.steps + 2 * sizes.period);
  m.low_knots = floats(sizes.low_fits);
}

FORESHADOW_PORTABLE constexpr int64_t Aligned(int64_t bytes) { return RoundUp(bytes, 64); }

struct Bump {
  std::byte* next;
  FORESHADOW_PORTABLE std::byte* operator()(int64_t bytes) {
    std::byte* taken = next;
    next += Aligned(bytes);
    return taken;
  }
};

// f(step, series of the tile) for all of so many steps. Indices in a tile fit 32 bits: dividing
// 64 of them is slow on a GPU.
template <int kTile, typename Team, typename F>
FORESHADOW_PORTABLE void ForCells(Team team, int64_t steps, F f) {
  team.For(steps * kTile, [&](int64_t cell) {
    const auto i = static_cast<int32_t>(cell);
    f(i / kTile, i % kTile);
  });
}

// Per series, combine(f(step)) over the steps, given to use(series, result) once each. Threads
// take every kParts-th step; their results meet in m.partial.
template <int kTile, typename Team, typename F, typename Combine, typename Use>
FORESHADOW_PORTABLE void Reduce(Team team, const TileMemory& m, int64_t steps, float start, F f,
                                Combine combine, Use use) {
  constexpr int kParts = kThreads / kTile;
  team.For(kThreads, [&](int64_t i) {
    const int s = static_cast<int>(i % kTile);
    float result = start;
    for (int32_t step = static_cast<int32_t>(i) / kTile; step < steps; step += kParts) {
      result = combine(result, f(step, s));
    }
    m.partial[i] = result;
  });
  team.For(kTile, [&](int64_t s) {
    float result = start;
    for (int part = 0; part < kParts; ++part) {
      result = combine(result, m.partial[part * kTile + s]);
    }
    use(static_cast<int>(s), result);
  });
}

}  // namespace foreshadow::kernels::cuda
