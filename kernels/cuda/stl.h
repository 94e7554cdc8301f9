// STL on the GPU: a thread block takes a tile of neighbouring series through the whole
// decomposition. A tile lives in shared memory as [step][series of the tile], so that global memory
// is read once and written once; a tile too long for it lives in the block's slice of the
// workspace. The steps and parameters are those of kernels/cpu/stl.cc.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/algo/loess.h"
#include "kernels/algo/portable.h"
#include "kernels/algo/stl_plan.h"
#include "kernels/check.h"
#include "kernels/ops.h"

namespace foreshadow::kernels::cuda {

inline constexpr int kThreads = 512;
inline constexpr int64_t kBlocksMax = 528;         // four for each of an H200's multiprocessors
inline constexpr int64_t kRowFloatsMax = 1 << 20;  // of one filter's weights that are kept
inline constexpr int kShareMax = 4;                // threads that share the samples of one fit
inline constexpr int kSums = 5;                    // of a fit

// --- The weights of the filters, computed once a call --------------------------------------------

// A fit without robustness weights is constant * t0 + slope * t1, where t0 and t1 sum the samples
// times their tricube weights and times these and the distance in bandwidths.
struct RowFactors {
  float constant;
  float slope;
};

// The weights of a filter's rows, or of its `ends`: a cycle-subseries also has a fit one step
// before its first point and one after its last.
struct Filter {
  LoessShape shape;
  RowMap map;
  bool ends;
  bool kept;            // the weights are there; else they are computed at each use
  float* weights;       // [rows][width] tricube
  RowFactors* factors;  // [rows]
};

FORESHADOW_PORTABLE constexpr int64_t RowsOf(const Filter& filter) {
  return filter.ends ? 2 : filter.map.rows;
}

FORESHADOW_PORTABLE constexpr LoessFit EndFit(const LoessShape& shape, int end) {
  const int64_t width = RowWidth(shape);
  return end == 0 ? LoessFit{0, 1, width} : LoessFit{shape.n + 1, shape.n - width + 1, shape.n};
}

enum FilterOf { kTrend, kLowPass, kCycleLong, kCycleShort, kEndsLong, kEndsShort, kFilters };

struct Filters {
  Filter of[kFilters];
};

// A block computes one row.
struct FillFilters {
  Filters filters;

  template <typename Team>
  FORESHADOW_PORTABLE void operator()(Team team, int64_t row) const {
    int f = 0;
    for (; row >= KeptRows(filters.of[f]); ++f) row -= KeptRows(filters.of[f]);
    const Filter& filter = filters.of[f];
    const LoessFit fit = filter.ends ? EndFit(filter.shape, static_cast<int>(row))
                                     : FitAt(filter.shape, FitOfRow(filter.map, row));
    const int64_t width = RowWidth(filter.shape);
    const double h = Bandwidth(filter.shape, fit);
    float* weights = filter.weights + row * width;
    const auto distance = [&](int64_t j) { return static_cast<double>(fit.left + j - fit.x); };
    const auto tricube = [&](int64_t j) { return Tricube(std::abs(distance(j)), h); };
    const double sum = team.Sum(width, [&](int64_t j) { return tricube(j); });
    const double first = team.Sum(width, [&](int64_t j) { return tricube(j) * distance(j); });
    const double second =
        team.Sum(width, [&](int64_t j) { return tricube(j) * distance(j) * distance(j); });
    const double center = first / sum;
    const double spread = second / sum - center * center;
    const bool line = filter.shape.degree > 0 && spread > SpreadMin(filter.shape);
    team.For(width, [&](int64_t j) { weights[j] = static_cast<float>(tricube(j)); });
    team.For(1, [&](int64_t) {
      filter.factors[row] = {static_cast<float>((line ? 1 + center * center / spread : 1) / sum),
                             static_cast<float>(line ? -center * h / spread / sum : 0)};
    });
  }

  FORESHADOW_PORTABLE static int64_t KeptRows(const Filter& filter) {
    return filter.kept ? RowsOf(filter) : 0;
  }
  int64_t blocks() const {
    int64_t rows = 0;
    for (const Filter& filter : filters.of) rows += KeptRows(filter);
    return rows;
  }
};

// --- A tile
// ----------------------------------------------------------------------------------------

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
  float* partial;      // [partial_floats]
  float* rest;         // [steps] centred samples, the season taken off
  uint8_t* present;    // [steps]
  float* weights;      // [steps] robustness; with outer loops only
  float* profile;      // [period] the season where each phase has one value
  float* means;        // [period] of the phases
  float* level_knots;  // [fits] of the trend
  float* low_knots;    // [fits] of the low-pass filter
  float* season;       // [steps] where phases have no single value
  float* cycles;       // [steps + 2 period]
  float* averages;     // [steps + 2 period]
};

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
  m.rest = floats(sizes.steps * t);
  m.weights = floats(sizes.robust ? sizes.steps * t : 0);
  m.profile = floats(sizes.period * t);
  m.means = floats(sizes.period * t);
  m.level_knots = floats(sizes.level_fits * t);
  m.low_knots = floats(sizes.low_fits * t);
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
}

FORESHADOW_PORTABLE constexpr int64_t Aligned(int64_t bytes) { return (bytes + 63) / 64 * 64; }

struct Bump {
  std::byte* next;
  FORESHADOW_PORTABLE std::byte* operator()(int64_t bytes) {
    std::byte* taken = next;
    next += Aligned(bytes);
    return taken;
  }
};

// --- The decomposition of a tile -----------------------------------------------------------------

// kTile: series of a tile. kHotShared, kCyclesShared: whether the parts lie in shared memory.
template <int kTile, bool kHotShared, bool kCyclesShared>
struct DecomposeTiles {
  StlArgs args;
  StlPlan plan;
  Filters filters;
  TileSizes sizes;
  bool is_mean;       // see kernels/cpu/stl.cc
  int64_t blocks;     // of the launch; each takes every blocks-th tile
  std::byte* slices;  // the blocks' parts of the workspace
  int64_t slice_bytes;

  template <typename Team>
  FORESHADOW_PORTABLE void operator()(Team team, int64_t block) const {
    TileMemory m;
    Bump shared{team.shared};
    Bump global{slices + block * slice_bytes};
    if constexpr (kHotShared) {
      PlaceHot(sizes, m, [&](int64_t bytes) { return shared(bytes); });
    } else {
      PlaceHot(sizes, m, [&](int64_t bytes) { return global(bytes); });
    }
    if constexpr (kCyclesShared) {
      PlaceCycles(sizes, m, [&](int64_t bytes) { return shared(bytes); });
    } else {
      PlaceCycles(sizes, m, [&](int64_t bytes) { return global(bytes); });
    }
    for (int64_t first = block * kTile; first < args.observed.series; first += blocks * kTile) {
      Decompose(team, m, first);
    }
  }

 private:
  // f(step, series of the tile) for all of so many steps. Indices in a tile fit 32 bits: dividing
  // 64 of them is slow on a GPU.
  template <typename Team, typename F>
  FORESHADOW_PORTABLE static void ForCells(Team team, int64_t steps, F f) {
    team.For(steps * kTile, [&](int64_t cell) {
      const auto i = static_cast<int32_t>(cell);
      f(i / kTile, i % kTile);
    });
  }

  // Per series, combine(f(step)) over the steps, given to use(series, result) once each. Threads
  // take every kParts-th step; their results meet in m.partial.
  template <typename Team, typename F, typename Combine, typename Use>
  FORESHADOW_PORTABLE static void Reduce(Team team, const TileMemory& m, int64_t steps, float start,
                                         F f, Combine combine, Use use) {
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

  FORESHADOW_PORTABLE float Weight(const TileMemory& m, bool robust_now, int64_t at) const {
    return robust_now ? m.weights[at] : static_cast<float>(m.present[at]);
  }

  // Sums of one fit over every share-th sample from `begin` on.
  struct Sums {
    float s0 = 0, s1 = 0, s2 = 0, t0 = 0, t1 = 0;
  };

  // sample(j), weight(j): of point j of the filter's series, from 0.
  template <bool kMoments, typename Sample, typename WeightOf>
  FORESHADOW_PORTABLE static Sums SumUp(const Filter& filter, const float* row, const LoessFit& fit,
                                        int begin, int share, Sample sample, WeightOf weight_of) {
    Sums sums;
    const int width = static_cast<int>(RowWidth(filter.shape));
    const auto h = static_cast<float>(Bandwidth(filter.shape, fit));
    const float per_step = 1 / h;
    const auto offset = static_cast<float>(fit.left - fit.x);
    for (int j = begin; j < width; j += share) {
      const float distance = (static_cast<float>(j) + offset) * per_step;
      float z;
      if (row != nullptr) {
        z = row[j];
      } else {
        const float q = std::abs(distance);
        const float cube = 1 - q * q * q;
        z = q > 0.999f ? 0 : q <= 0.001f ? 1 : cube * cube * cube;
      }
      const float y = sample(fit.left - 1 + j);
      if constexpr (kMoments) {
        z *= weight_of(fit.left - 1 + j);
        sums.s0 += z;
        sums.s1 = std::fma(z, distance, sums.s1);
        sums.s2 = std::fma(z * distance, distance, sums.s2);
      }
      sums.t0 = std::fma(z, y, sums.t0);
      sums.t1 = std::fma(z * distance, y, sums.t1);
    }
    return sums;
  }

  FORESHADOW_PORTABLE static float Solve(const Filter& filter, const LoessFit& fit,
                                         const Sums& sums, float otherwise) {
    if (!(sums.s0 > 0)) return otherwise;
    const float mean = sums.t0 / sums.s0;
    if (filter.shape.degree == 0) return mean;
    const double h = Bandwidth(filter.shape, fit);
    const float center = sums.s1 / sums.s0;
    const float spread = sums.s2 / sums.s0 - center * center;
    if (!(spread > static_cast<float>(SpreadMin(filter.shape) / (h * h)))) return mean;
    return mean - center * (sums.t1 / sums.s0 - center * mean) / spread;
  }

  FORESHADOW_PORTABLE static const float* RowAt(const Filter& filter, int64_t row) {
    return filter.kept ? filter.weights + row * RowWidth(filter.shape) : nullptr;
  }

  // One whole fit by one thread.
  template <typename Sample, typename WeightOf>
  FORESHADOW_PORTABLE static float FitOne(const Filter& filter, int64_t row, const LoessFit& fit,
                                          bool weighted, Sample sample, WeightOf weight_of,
                                          float otherwise) {
    const float* weights = RowAt(filter, row);
    if (weighted || weights == nullptr) {
      const auto one = [&](int64_t j) { return weighted ? weight_of(j) : 1.0f; };
      return Solve(filter, fit, SumUp<true>(filter, weights, fit, 0, 1, sample, one), otherwise);
    }
    const Sums sums = SumUp<false>(filter, weights, fit, 0, 1, sample, weight_of);
    return filter.factors[row].constant * sums.t0 + filter.factors[row].slope * sums.t1;
  }

  // The values of all fits of a filter over the steps, into knots. Few fits of many samples are
  // shared by several threads, whose sums meet in m.partial.
  template <typename Team>
  FORESHADOW_PORTABLE void FitAll(Team team, const TileMemory& m, const Filter& filter,
                                  const float* samples, bool weighted, bool robust_now,
                                  float* knots) const {
    const int64_t fits = FitCount(filter.shape);
    const int share = ShareOf(fits * kTile);
    const auto sample_of = [&](int s) { return [=](int64_t j) { return samples[j * kTile + s]; }; };
    const auto weight_of = [&](int s) {
      return [&, s](int64_t j) { return Weight(m, robust_now, j * kTile + s); };
    };
    if (share == 1) {
      ForCells(team, fits, [&](int32_t f, int s) {
        const LoessFit fit = FitAt(filter.shape, f);
        knots[f * kTile + s] = FitOne(filter, RowOf(filter.map, f), fit, weighted, sample_of(s),
                                      weight_of(s), samples[(fit.x - 1) * kTile + s]);
      });
      return;
    }
    const bool moments = weighted || !filter.kept;
    ForCells(team, fits * share, [&](int32_t i, int s) {
      const int32_t f = i / share;
      const LoessFit fit = FitAt(filter.shape, f);
      const float* row = RowAt(filter, RowOf(filter.map, f));
      const auto begin = static_cast<int>(i % share);
      const auto one = [&](int64_t j) { return weighted ? weight_of(s)(j) : 1.0f; };
      const Sums sums = moments ? SumUp<true>(filter, row, fit, begin, share, sample_of(s), one)
                                : SumUp<false>(filter, row, fit, begin, share, sample_of(s), one);
      const int64_t stride = fits * share * kTile;
      float* to = m.partial + i * kTile + s;
      to[0] = sums.t0;
      to[stride] = sums.t1;
      if (!moments) return;
      to[2 * stride] = sums.s0;
      to[3 * stride] = sums.s1;
      to[4 * stride] = sums.s2;
    });
    ForCells(team, fits, [&](int32_t f, int s) {
      const int64_t stride = fits * share * kTile;
      Sums sums;
      for (int k = 0; k < share; ++k) {
        const float* from = m.partial + (f * share + k) * kTile + s;
        sums.t0 += from[0];
        sums.t1 += from[stride];
        if (!moments) continue;
        sums.s0 += from[2 * stride];
        sums.s1 += from[3 * stride];
        sums.s2 += from[4 * stride];
      }
      const LoessFit fit = FitAt(filter.shape, f);
      const RowFactors* factors = filter.factors + RowOf(filter.map, f);
      knots[f * kTile + s] = moments ? Solve(filter, fit, sums, samples[(fit.x - 1) * kTile + s])
                                     : factors->constant * sums.t0 + factors->slope * sums.t1;
    });
  }

  // The line through the fits beside a step.
  FORESHADOW_PORTABLE static float Drawn(const LoessShape& shape, const float* knots, int32_t step,
                                         int s) {
    const auto jump = static_cast<int32_t>(JumpOf(shape));
    const int32_t f = step / jump;
    const int32_t from = f * jump;
    const float left = knots[int64_t{f} * kTile + s];
    if (from == step) return left;
    const int32_t to = from + jump < shape.n ? from + jump : static_cast<int32_t>(shape.n) - 1;
    const float right = knots[(int64_t{f} + 1) * kTile + s];
    return left + (right - left) / static_cast<float>(to - from) * static_cast<float>(step - from);
  }

  FORESHADOW_PORTABLE float Level(const TileMemory& m, bool has_level, int32_t step, int s) const {
    return has_level ? Drawn(filters.of[kTrend].shape, m.level_knots, step, s) : 0;
  }

  FORESHADOW_PORTABLE float Season(const TileMemory& m, bool by_phase, int32_t step, int s) const {
    return by_phase ? m.profile[step % plan.period * kTile + s] : m.season[step * kTile + s];
  }

  // What a tile goes through; the same for all threads.
  struct Progress {
    bool has_level = false;   // a trend has been fitted
    bool by_phase = true;     // the season is m.profile, else m.season
    bool weighted = false;    // there are gaps or robustness weights
    bool robust_now = false;  // m.weights hold
  };

  template <typename Team>
  FORESHADOW_PORTABLE void Decompose(Team team, const TileMemory& m, int64_t first) const {
    Progress now;
    Load(team, m, first);
    now.weighted = m.flags[0] != 0;
    if (is_mean) {
      team.For(plan.period * kTile, [&](int64_t i) { m.profile[i] = 0; });
    } else {
      now.by_phase = false;
      team.For(plan.steps * kTile, [&](int64_t i) { m.season[i] = 0; });
    }
    for (int pass = 0;; ++pass) {
      for (int i = 0; i < plan.inner; ++i) InnerLoop(team, m, now);
      if (pass == plan.outer) break;
      Robustness(team, m, now);
      now.weighted = now.robust_now = true;
    }
    if (plan.periodic && !now.by_phase) MakePeriodic(team, m);
    Store(team, m, now, first);
  }

  template <typename Team>
  FORESHADOW_PORTABLE void Load(Team team, const TileMemory& m, int64_t first) const {
    const auto series = static_cast<int>(
        args.observed.series - first < kTile ? args.observed.series - first : kTile);
    const float inf = std::numeric_limits<float>::infinity();
    ForCells(team, plan.steps, [&](int32_t step, int s) {
      const float value = s < series ? args.observed.at(step, first + s) : 0;
      m.rest[step * kTile + s] = value;
      m.present[step * kTile + s] = std::isnan(value) ? 0 : 1;
    });
    const auto value_at = [&](int32_t step, int s) { return m.rest[step * kTile + s]; };
    const auto less = [](float a, float b) { return b < a ? b : a; };  // of numbers only
    const auto more = [](float a, float b) { return b > a ? b : a; };
    const auto plus = [](float a, float b) { return a + b; };
    Reduce(team, m, plan.steps, inf, value_at, less,
           [&](int s, float low) { m.verdicts[s].low = low; });
    Reduce(team, m, plan.steps, -inf, value_at, more,
           [&](int s, float high) { m.verdicts[s].high = high; });
    const auto there = [&](int32_t step, int s) {
      return static_cast<float>(m.present[step * kTile + s]);
    };
    Reduce(team, m, plan.steps, 0.0f, there, plus, [&](int s, float present) {
      Verdict& v = m.verdicts[s];
      v.status = s < series ? JudgeExtremes(v.low, v.high) : SeriesStatus::kOk;
      const bool used = s < series && v.status == SeriesStatus::kOk;
      v.center = used ? v.low + (v.high - v.low) / 2 : 0;
      v.present = used ? static_cast<int32_t>(present) : static_cast<int32_t>(plan.steps);
    });
    team.For(1, [&](int64_t) {
      m.flags[0] = 0;
      for (int s = 0; s < kTile; ++s) m.flags[0] |= m.verdicts[s].present < plan.steps;
    });
    // Series that are not decomposed go along as zeros.
    ForCells(team, plan.steps, [&](int32_t step, int s) {
      const Verdict& v = m.verdicts[s];
      const int64_t at = int64_t{step} * kTile + s;
      const bool used = v.status == SeriesStatus::kOk;
      if (!used) m.present[at] = 1;
      m.rest[at] = used && m.present[at] != 0 ? m.rest[at] - v.center : 0;
    });
    if (m.flags[0] == 0) return;
    ForCells(team, plan.steps, [&](int32_t step, int s) { FillGap(m, step, s); });
  }

  // A line between the samples beside a gap. Reads only what no other thread writes.
  FORESHADOW_PORTABLE void FillGap(const TileMemory& m, int64_t step, int s) const {
    if (m.present[step * kTile + s] != 0) return;
    int64_t before = step;
    int64_t after = step;
    while (before >= 0 && m.present[before * kTile + s] == 0) --before;
    while (after < plan.steps && m.present[after * kTile + s] == 0) ++after;
    const float left = m.rest[(before >= 0 ? before : after) * kTile + s];
    const float right = after < plan.steps ? m.rest[after * kTile + s] : left;
    const float share =
        before < 0 ? 0 : static_cast<float>(step - before) / static_cast<float>(after - before);
    m.rest[step * kTile + s] = left + share * (right - left);
  }

  // One inner loop: the six steps of section 2.2 of the paper.
  template <typename Team>
  FORESHADOW_PORTABLE void InnerLoop(Team team, const TileMemory& m, Progress& now) const {
    if (!is_mean || !AveragePhases(team, m, now)) {
      SmoothCycles(team, m, now);
      MovingAverages(team, m);
      FitAll(team, m, filters.of[kLowPass], m.averages, false, false, m.low_knots);
      ForCells(team, plan.steps, [&](int32_t step, int s) {
        const int64_t at = int64_t{step} * kTile + s;
        m.season[at] -= Drawn(filters.of[kLowPass].shape, m.low_knots, step, s);
        m.rest[at] -= m.season[at];
      });
      now.by_phase = false;
    }
    FitAll(team, m, filters.of[kTrend], m.rest, now.weighted, now.robust_now, m.level_knots);
    now.has_level = true;
  }

  // The season where each phase has one value; see kernels/cpu/stl.cc. False, and nothing done,
  // where a phase of some series has no weight.
  template <typename Team>
  FORESHADOW_PORTABLE bool AveragePhases(Team team, const TileMemory& m, Progress& now) const {
    const int lacking = team.Max(plan.period * kTile, 0, [&](int64_t i) {
      const auto phase = static_cast<int32_t>(i) / kTile;
      const int s = static_cast<int>(i % kTile);
      float sum = 0;
      float weight = 0;
      for (int32_t step = phase; step < plan.steps; step += plan.period) {
        const int64_t at = int64_t{step} * kTile + s;
        const float detrended =
            m.rest[at] + Season(m, now.by_phase, step, s) - Level(m, now.has_level, step, s);
        const float w = now.weighted ? Weight(m, now.robust_now, at) : 1;
        sum += w * detrended;
        weight += w;
      }
      m.means[i] = sum / weight;
      return weight > 0 ? 0 : 1;
    });
    if (lacking != 0) return false;
    Reduce(
        team, m, plan.period, 0.0f,
        [&](int32_t phase, int s) { return m.means[phase * kTile + s]; },
        [](float a, float b) { return a + b; },
        [&](int s, float sum) { m.verdicts[s].first = sum / static_cast<float>(plan.period); });
    ForCells(team, plan.steps, [&](int32_t step, int s) {
      const int32_t phase = step % plan.period;
      m.rest[step * kTile + s] +=
          Season(m, now.by_phase, step, s) - (m.means[phase * kTile + s] - m.verdicts[s].first);
    });
    ForCells(team, plan.period, [&](int32_t phase, int s) {
      m.profile[phase * kTile + s] = m.means[phase * kTile + s] - m.verdicts[s].first;
    });
    now.by_phase = true;
    return true;
  }

  // Smooths each cycle-subseries and extends it by a period at both ends, into m.cycles, of which
  // m.season gets the middle. Gives m.rest the season back that was taken off.
  template <typename Team>
  FORESHADOW_PORTABLE void SmoothCycles(Team team, const TileMemory& m, const Progress& now) const {
    const int32_t period = plan.period;
    float* detrended = m.averages;
    ForCells(team, plan.steps, [&](int32_t step, int s) {
      const int64_t at = int64_t{step} * kTile + s;
      const float whole = m.rest[at] + Season(m, now.by_phase, step, s);
      m.rest[at] = whole;
      detrended[at] = whole - Level(m, now.has_level, step, s);
    });
    const int64_t longest = filters.of[kCycleLong].shape.n;
    const int64_t fits = FitCount(filters.of[kCycleLong].shape);
    const auto fit_cell = [&](const Filter& filter, int64_t row, const LoessFit& fit, int64_t phase,
                              int s, float otherwise) {
      return FitOne(
          filter, row, fit, now.weighted,
          [&](int64_t j) { return detrended[(j * period + phase) * kTile + s]; },
          [&](int64_t j) { return Weight(m, now.robust_now, (j * period + phase) * kTile + s); },
          otherwise);
    };
    // The shorter subseries are those of the last phases.
    const auto cycle_of = [&](int32_t phase) {
      return (plan.steps - phase - 1) / period + 1 == longest ? kCycleLong : kCycleShort;
    };
    ForCells(team, fits * period, [&](int32_t i, int s) {
      const int32_t phase = i % period;
      const int32_t f = i / period;
      const Filter& filter = filters.of[cycle_of(phase)];
      if (f >= FitCount(filter.shape)) return;
      const LoessFit fit = FitAt(filter.shape, f);
      m.cycles[(fit.x * period + phase) * kTile + s] =
          fit_cell(filter, RowOf(filter.map, f), fit, phase, s,
                   detrended[((fit.x - 1) * period + phase) * kTile + s]);
    });
    ForCells(team, longest * period, [&](int32_t i, int s) {
      const int32_t phase = i % period;
      const int32_t j = i / period;
      const LoessShape& shape = filters.of[cycle_of(phase)].shape;
      if (j >= shape.n) return;
      const int64_t jump = JumpOf(shape);
      const int64_t from = j / jump * jump;
      if (from == j || j == shape.n - 1) return;  // a fit is there
      const int64_t to = from + jump < shape.n ? from + jump : shape.n - 1;
      const float left = m.cycles[((from + 1) * period + phase) * kTile + s];
      const float right = m.cycles[((to + 1) * period + phase) * kTile + s];
      m.cycles[((j + 1) * period + phase) * kTile + s] =
          left + (right - left) / static_cast<float>(to - from) * static_cast<float>(j - from);
    });
    ForCells(team, 2 * period, [&](int32_t i, int s) {
      const int32_t phase = i % period;
      const auto end = static_cast<int>(i / period);
      const Filter& filter = filters.of[cycle_of(phase) + kEndsLong - kCycleLong];
      const int64_t nearest = end == 0 ? 1 : filter.shape.n;
      m.cycles[((end == 0 ? 0 : filter.shape.n + 1) * period + phase) * kTile + s] =
          fit_cell(filter, end, EndFit(filter.shape, end), phase, s,
                   m.cycles[(nearest * period + phase) * kTile + s]);
    });
    ForCells(team, plan.steps, [&](int32_t step, int s) {
      m.season[step * kTile + s] = m.cycles[(step + period) * kTile + s];
    });
  }

  // out[i] = mean of in[i .. i + length - 1] for i < count. Each thread slides over a stretch.
  template <typename Team>
  FORESHADOW_PORTABLE static void MovingAverage(Team team, const float* in, int64_t length,
                                                int64_t count, float* out) {
    constexpr int kParts = kThreads / kTile;
    const int64_t stretch = (count + kParts - 1) / kParts;
    const float share = 1 / static_cast<float>(length);
    team.For(kThreads, [&](int64_t i) {
      const int64_t s = i % kTile;
      const int64_t begin = i / kTile * stretch;
      const int64_t end = begin + stretch < count ? begin + stretch : count;
      if (begin >= end) return;
      float sum = 0;
      for (int64_t j = begin; j < begin + length; ++j) sum += in[j * kTile + s];
      out[begin * kTile + s] = sum * share;
      for (int64_t j = begin + 1; j < end; ++j) {
        sum += in[(j + length - 1) * kTile + s] - in[(j - 1) * kTile + s];
        out[j * kTile + s] = sum * share;
      }
    });
  }

  template <typename Team>
  FORESHADOW_PORTABLE void MovingAverages(Team team, const TileMemory& m) const {
    MovingAverage(team, m.cycles, plan.period, plan.steps + plan.period + 1, m.averages);
    MovingAverage(team, m.averages, plan.period, plan.steps + 2, m.cycles);
    MovingAverage(team, m.cycles, 3, plan.steps, m.averages);
  }

  // Bisquare weights from the residuals, six of their median wide.
  template <typename Team>
  FORESHADOW_PORTABLE void Robustness(Team team, const TileMemory& m, const Progress& now) const {
    const float inf = std::numeric_limits<float>::infinity();
    ForCells(team, plan.steps, [&](int32_t step, int s) {
      const int64_t at = int64_t{step} * kTile + s;
      const float r = std::abs(m.rest[at] - Level(m, now.has_level, step, s));
      m.weights[at] = m.present[at] != 0 ? r : inf;
    });
    SelectMedian(team, m);
    ForCells(team, plan.steps, [&](int32_t step, int s) {
      const Verdict& v = m.verdicts[s];
      const float median = v.present % 2 == 0 ? (v.first + v.second) / 2 : v.first;
      const float width = 6 * median;
      float& weight = m.weights[step * kTile + s];
      const float r = weight;
      const float rest = 1 - (r / width) * (r / width);
      weight = r == inf ? 0 : r <= 0.001f * width ? 1 : r <= 0.999f * width ? rest * rest : 0;
    });
  }

  FORESHADOW_PORTABLE static int32_t Bits(float value) {
    int32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
  }
  FORESHADOW_PORTABLE static float FromBits(int32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
  }

  // The k-th smallest of the present values in m.weights and the one after it, k = (present - 1)/2,
  // into the verdicts. A bracket closes by counting; see Select in kernels/cpu/stl.cc.
  template <typename Team>
  FORESHADOW_PORTABLE void SelectMedian(Team team, const TileMemory& m) const {
    const float inf = std::numeric_limits<float>::infinity();
    const auto value_at = [&](int32_t step, int s) { return m.weights[step * kTile + s]; };
    const auto plus = [](float a, float b) { return a + b; };
    const auto least = [](float a, float b) { return b < a ? b : a; };
    const auto largest_finite = [inf](float a, float b) { return b > a && b < inf ? b : a; };
    Reduce(team, m, plan.steps, 0.0f, value_at, largest_finite, [&](int s, float largest) {
      Verdict& v = m.verdicts[s];
      v.from = -1;
      v.to = Bits(largest);
      v.below_from = 0;
      v.below_to = v.present;
    });
    for (int round = 0;; ++round) {
      team.For(1, [&](int64_t) {
        m.flags[1] = 0;
        for (int s = 0; s < kTile; ++s) {
          Verdict& v = m.verdicts[s];
          const int32_t k = (v.present - 1) / 2;
          v.probe = v.from + (v.to - v.from) / 2;
          if (round % 3 != 2) {
            const float low = FromBits(v.from < 0 ? 0 : v.from);
            const float share = static_cast<float>(k - v.below_from) /
                                static_cast<float>(v.below_to - v.below_from);
            const int32_t pointed = Bits(low + (FromBits(v.to) - low) * share);
            v.probe = pointed > v.to - 1 ? v.to - 1 : pointed;
            if (v.probe < v.from + 1) v.probe = v.from + 1;
          }
          m.flags[1] |= v.below_from < k && v.to - v.from > 1;
        }
      });
      if (m.flags[1] == 0) break;
      const auto is_below = [&](int32_t step, int s) {
        return Bits(value_at(step, s)) <= m.verdicts[s].probe ? 1.0f : 0.0f;
      };
      Reduce(team, m, plan.steps, 0.0f, is_below, plus, [&](int s, float count) {
        Verdict& v = m.verdicts[s];
        const auto below = static_cast<int32_t>(count);
        if (below > (v.present - 1) / 2) {
          v.to = v.probe;
          v.below_to = below;
        } else {
          v.from = v.probe;
          v.below_from = below;
        }
      });
    }
    // k values are not above `from` and the next two are wanted; or equal values stand in the way
    // and the k-th is `to`.
    team.For(kTile, [&](int64_t s) {
      Verdict& v = m.verdicts[s];
      const bool apart = v.below_from == (v.present - 1) / 2;
      v.probe = apart ? v.from : v.to;
    });
    const auto above = [&](int32_t step, int s) {
      const float value = value_at(step, s);
      return Bits(value) > m.verdicts[s].probe ? value : inf;
    };
    Reduce(team, m, plan.steps, inf, above, least,
           [&](int s, float next) { m.verdicts[s].first = next; });
    const auto at_first = [&](int32_t step, int s) {
      return above(step, s) == m.verdicts[s].first ? 1.0f : 0.0f;
    };
    const auto above_first = [&](int32_t step, int s) {
      const float value = above(step, s);
      return value > m.verdicts[s].first ? value : inf;
    };
    Reduce(team, m, plan.steps, 0.0f, at_first, plus,
           [&](int s, float count) { m.verdicts[s].below_from = static_cast<int32_t>(count); });
    Reduce(team, m, plan.steps, inf, above_first, least, [&](int s, float next) {
      Verdict& v = m.verdicts[s];
      const int32_t k = (v.present - 1) / 2;
      if (v.probe == v.to) {  // tied
        v.second = v.below_to > k + 1 ? FromBits(v.to) : v.first;
        v.first = FromBits(v.to);
      } else {
        v.second = v.below_from > 1 ? v.first : next;
      }
    });
  }

  // R's treatment of s.window = "periodic": the mean of each phase.
  template <typename Team>
  FORESHADOW_PORTABLE void MakePeriodic(Team team, const TileMemory& m) const {
    ForCells(team, plan.period, [&](int32_t phase, int s) {
      float sum = 0;
      int count = 0;
      for (int32_t step = phase; step < plan.steps; step += plan.period, ++count) {
        sum += m.season[step * kTile + s];
      }
      for (int32_t step = phase; step < plan.steps; step += plan.period) {
        float& season = m.season[step * kTile + s];
        const float mean = sum / static_cast<float>(count);
        m.rest[step * kTile + s] += season - mean;
        season = mean;
      }
    });
  }

  template <typename Team>
  FORESHADOW_PORTABLE void Store(Team team, const TileMemory& m, const Progress& now,
                                 int64_t first) const {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    ForCells(team, plan.steps, [&](int32_t step, int s) {
      const int64_t series = first + s;
      if (series >= args.observed.series) return;
      const int64_t at = int64_t{step} * kTile + s;
      const Verdict& v = m.verdicts[s];
      const bool ok = v.status == SeriesStatus::kOk;
      const float level = Level(m, now.has_level, step, s);
      args.seasonal.at(step, series) = ok ? Season(m, now.by_phase, step, s) : nan;
      args.trend.at(step, series) = ok ? level + v.center : nan;
      args.remainder.at(step, series) = ok && m.present[at] != 0 ? m.rest[at] - level : nan;
      if (args.weights.data == nullptr) return;
      const float weight = now.weighted ? Weight(m, now.robust_now, at) : 1;
      args.weights.at(step, series) = ok ? weight : nan;
    });
    team.For(kTile, [&](int64_t s) {
      if (first + s < args.observed.series) args.status[first + s] = m.verdicts[s].status;
    });
  }

 public:
  // Threads for one fit where so many fits are wanted at once.
  FORESHADOW_PORTABLE static constexpr int ShareOf(int64_t fits) {
    const int64_t share = 4 * kThreads / fits;
    return share < 1 ? 1 : share > kShareMax ? kShareMax : static_cast<int>(share);
  }
};

// --- The launch
// ------------------------------------------------------------------------------------

struct StlLaunch {
  Filters filters{};
  TileSizes sizes{};
  bool is_mean = false;
  int64_t hot_bytes = 0;
  int64_t cycle_bytes = 0;
  int64_t blocks = 0;
  size_t workspace_bytes = 0;
  int64_t slices_at = 0;  // byte of the workspace
};

inline TileSizes SizesOf(const StlPlan& plan, const Filters& filters, int tile) {
  TileSizes sizes{};
  sizes.tile = tile;
  sizes.steps = plan.steps;
  sizes.period = plan.period;
  sizes.level_fits = FitCount(filters.of[kTrend].shape);
  sizes.low_fits = FitCount(filters.of[kLowPass].shape);
  sizes.robust = plan.outer > 0;
  sizes.partial_floats = kThreads;
  for (const int64_t fits : {sizes.level_fits * tile, sizes.low_fits * tile}) {
    const int share = DecomposeTiles<8, true, true>::ShareOf(fits);
    if (share > 1) sizes.partial_floats = std::max(sizes.partial_floats, fits * share * kSums);
  }
  return sizes;
}

// Places everything in a workspace that starts at `workspace` (nullptr to learn its size).
inline StlLaunch PrepareStl(const StlPlan& plan, int64_t series, int tile, bool hot_shared,
                            bool cycles_shared, std::byte* workspace) {
  StlLaunch launch;
  int64_t bytes = 0;
  const auto take = [&](int64_t count) {
    const int64_t at = bytes;
    bytes += Aligned(count);
    return workspace + at;
  };
  const LoessShape cycle_long = SeasonalShape(plan, CycleLong(plan));
  const LoessShape cycle_short = SeasonalShape(plan, CycleShort(plan));
  const LoessShape shapes[] = {TrendShape(plan), LowPassShape(plan), cycle_long,
                               cycle_short,      cycle_long,         cycle_short};
  for (int k = 0; k < kFilters; ++k) {
    Filter& filter = launch.filters.of[k];
    filter.shape = shapes[k];
    filter.map = MapRows(shapes[k]);
    filter.ends = k >= kEndsLong;
    const int64_t rows = RowsOf(filter);
    filter.kept = rows * RowWidth(filter.shape) <= kRowFloatsMax;
    if (!filter.kept) continue;
    filter.weights =
        reinterpret_cast<float*>(take(rows * RowWidth(filter.shape) * int64_t{sizeof(float)}));
    filter.factors = reinterpret_cast<RowFactors*>(take(rows * int64_t{sizeof(RowFactors)}));
  }
  launch.is_mean = SeasonIsMean(plan);
  launch.sizes = SizesOf(plan, launch.filters, tile);
  TileMemory m;
  const auto count_into = [](int64_t& total) {
    return [&total](int64_t count) {
      total += Aligned(count);
      return static_cast<std::byte*>(nullptr);
    };
  };
  PlaceHot(launch.sizes, m, count_into(launch.hot_bytes));
  PlaceCycles(launch.sizes, m, count_into(launch.cycle_bytes));
  launch.blocks = std::min(kBlocksMax, (series + tile - 1) / tile);
  const int64_t slice =
      (hot_shared ? 0 : launch.hot_bytes) + (cycles_shared ? 0 : launch.cycle_bytes);
  launch.slices_at = bytes;
  launch.workspace_bytes = static_cast<size_t>(bytes + launch.blocks * slice);
  return launch;
}

// Which of the three ways a batch of that shape goes.
struct StlWay {
  int tile;
  bool hot_shared;
  bool cycles_shared;
};

template <typename Device>
StlWay ChooseStl(const StlPlan& plan, int64_t series) {
  const auto room = static_cast<int64_t>(Device::SharedBytesMax());
  const StlLaunch eight = PrepareStl(plan, series, 8, true, false, nullptr);
  if (eight.is_mean && eight.hot_bytes <= room) return {8, true, false};
  const StlLaunch four = PrepareStl(plan, series, 4, true, true, nullptr);
  if (!four.is_mean && four.hot_bytes + four.cycle_bytes <= room) return {4, true, true};
  return {8, false, false};
}

template <typename Device>
size_t StlWorkspaceBytes(const StlParams& params, int64_t steps, int64_t series) {
  const StlPlan plan = PlanStl(params, steps);
  const StlWay way = ChooseStl<Device>(plan, series);
  return PrepareStl(plan, series, way.tile, way.hot_shared, way.cycles_shared, nullptr)
      .workspace_bytes;
}

template <typename Device, int kTile, bool kHotShared, bool kCyclesShared>
void LaunchStl(const StlArgs& args, const StlPlan& plan) {
  const StlLaunch launch = PrepareStl(plan, args.observed.series, kTile, kHotShared, kCyclesShared,
                                      args.workspace.data());
  FORESHADOW_CHECK(args.workspace.size() >= launch.workspace_bytes);
  const FillFilters fill{launch.filters};
  Device::Launch(fill.blocks(), 128, 0, args.stream, fill);
  const int64_t shared =
      (kHotShared ? launch.hot_bytes : 0) + (kCyclesShared ? launch.cycle_bytes : 0);
  const int64_t slice =
      (kHotShared ? 0 : launch.hot_bytes) + (kCyclesShared ? 0 : launch.cycle_bytes);
  const DecomposeTiles<kTile, kHotShared, kCyclesShared> body{
      args,
      plan,
      launch.filters,
      launch.sizes,
      launch.is_mean,
      launch.blocks,
      args.workspace.data() + launch.slices_at,
      slice};
  Device::Launch(launch.blocks, kThreads, static_cast<size_t>(shared), args.stream, body);
}

template <typename Device>
void Stl(const StlArgs& args) {
  FORESHADOW_CHECK(CheckStl(args.params, args.observed.steps).empty());
  FORESHADOW_CHECK(std::ssize(args.status) == args.observed.series);
  FORESHADOW_CHECK(args.observed.steps <= INT32_MAX / 8);
  const StlPlan plan = PlanStl(args.params, args.observed.steps);
  const StlWay way = ChooseStl<Device>(plan, args.observed.series);
  if (way.tile == 4) {
    LaunchStl<Device, 4, true, true>(args, plan);
  } else if (way.hot_shared) {
    LaunchStl<Device, 8, true, false>(args, plan);
  } else {
    LaunchStl<Device, 8, false, false>(args, plan);
  }
}

}  // namespace foreshadow::kernels::cuda
