// The decomposition of one tile by one thread block: steps and parameters as in kernels/cpu/stl.cc.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/algo/loess.h"
#include "kernels/algo/stl_plan.h"
#include "kernels/cuda/stl_filters.h"
#include "kernels/cuda/stl_median.h"
#include "kernels/cuda/stl_tile.h"

namespace foreshadow::kernels::cuda {

// kTile: series of a tile. kHotShared, kCyclesShared: whether the parts lie in shared memory.
template <int kTile, bool kHotShared, bool kCyclesShared>
struct DecomposeTiles {
  // Two blocks at once: one computes while the other waits for memory.
  static constexpr int kBlocksAtOnce = kCyclesShared ? 1 : 2;

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
  FORESHADOW_PORTABLE float Weight(const TileMemory& m, bool robust_now, int64_t at) const {
    return robust_now ? m.weights[at] : static_cast<float>(m.present[at]);
  }
  // The values of all fits of a filter over the steps, into knots. Few fits of many samples are
  // shared by several threads, whose sums meet in m.partial.
  template <typename Team>
  FORESHADOW_PORTABLE void FitAll(Team team, const TileMemory& m, const Filter& filter,
                                  const float* samples, bool weighted, bool robust_now,
                                  float* knots) const {
    const int64_t fits = FitCount(filter.shape);
    const bool moments = weighted || !filter.kept;
    const int share = ShareOf(fits * kTile, moments);
    const auto sample_of = [&](int s) { return [=](int64_t j) { return samples[j * kTile + s]; }; };
    const auto weight_of = [&](int s) {
      return [&, s](int64_t j) { return Weight(m, robust_now, j * kTile + s); };
    };
    if (share == 1) {
      ForCells<kTile>(team, fits, [&](int32_t f, int s) {
        const LoessFit fit = FitAt(filter.shape, f);
        knots[f * kTile + s] = FitOne(filter, RowOf(filter.map, f), fit, weighted, sample_of(s),
                                      weight_of(s), samples[(fit.x - 1) * kTile + s]);
      });
      return;
    }
    ForCells<kTile>(team, fits * share, [&](int32_t i, int s) {
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
    ForCells<kTile>(team, fits, [&](int32_t f, int s) {
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
    ForCells<kTile>(team, plan.steps, [&](int32_t step, int s) {
      const float value = s < series ? args.observed.at(step, first + s) : 0;
      m.rest[step * kTile + s] = value;
      m.present[step * kTile + s] = std::isnan(value) ? 0 : 1;
    });
    const auto value_at = [&](int32_t step, int s) { return m.rest[step * kTile + s]; };
    const auto less = [](float a, float b) { return b < a ? b : a; };  // of numbers only
    const auto more = [](float a, float b) { return b > a ? b : a; };
    const auto plus = [](float a, float b) { return a + b; };
    Reduce<kTile>(team, m, plan.steps, inf, value_at, less,
                  [&](int s, float low) { m.verdicts[s].low = low; });
    Reduce<kTile>(team, m, plan.steps, -inf, value_at, more,
                  [&](int s, float high) { m.verdicts[s].high = high; });
    const auto there = [&](int32_t step, int s) {
      return static_cast<float>(m.present[step * kTile + s]);
    };
    Reduce<kTile>(team, m, plan.steps, 0.0f, there, plus, [&](int s, float present) {
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
    ForCells<kTile>(team, plan.steps, [&](int32_t step, int s) {
      const Verdict& v = m.verdicts[s];
      const int64_t at = int64_t{step} * kTile + s;
      const bool used = v.status == SeriesStatus::kOk;
      if (!used) m.present[at] = 1;
      m.rest[at] = used && m.present[at] != 0 ? m.rest[at] - v.center : 0;
    });
    if (m.flags[0] == 0) return;
    ForCells<kTile>(team, plan.steps, [&](int32_t step, int s) { FillGap(m, step, s); });
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
      ForCells<kTile>(team, plan.steps, [&](int32_t step, int s) {
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
    Reduce<kTile>(
        team, m, plan.period, 0.0f,
        [&](int32_t phase, int s) { return m.means[phase * kTile + s]; },
        [](float a, float b) { return a + b; },
        [&](int s, float sum) { m.verdicts[s].first = sum / static_cast<float>(plan.period); });
    ForCells<kTile>(team, plan.steps, [&](int32_t step, int s) {
      const int32_t phase = step % plan.period;
      m.rest[step * kTile + s] +=
          Season(m, now.by_phase, step, s) - (m.means[phase * kTile + s] - m.verdicts[s].first);
    });
    ForCells<kTile>(team, plan.period, [&](int32_t phase, int s) {
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
    ForCells<kTile>(team, plan.steps, [&](int32_t step, int s) {
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
    ForCells<kTile>(team, fits * period, [&](int32_t i, int s) {
      const int32_t phase = i % period;
      const int32_t f = i / period;
      const Filter& filter = filters.of[cycle_of(phase)];
      if (f >= FitCount(filter.shape)) return;
      const LoessFit fit = FitAt(filter.shape, f);
      m.cycles[(fit.x * period + phase) * kTile + s] =
          fit_cell(filter, RowOf(filter.map, f), fit, phase, s,
                   detrended[((fit.x - 1) * period + phase) * kTile + s]);
    });
    ForCells<kTile>(team, longest * period, [&](int32_t i, int s) {
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
    ForCells<kTile>(team, 2 * period, [&](int32_t i, int s) {
      const int32_t phase = i % period;
      const auto end = static_cast<int>(i / period);
      const Filter& filter = filters.of[cycle_of(phase) + kEndsLong - kCycleLong];
      const int64_t nearest = end == 0 ? 1 : filter.shape.n;
      m.cycles[((end == 0 ? 0 : filter.shape.n + 1) * period + phase) * kTile + s] =
          fit_cell(filter, end, EndFit(filter.shape, end), phase, s,
                   m.cycles[(nearest * period + phase) * kTile + s]);
    });
    ForCells<kTile>(team, plan.steps, [&](int32_t step, int s) {
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
    ForCells<kTile>(team, plan.steps, [&](int32_t step, int s) {
      const int64_t at = int64_t{step} * kTile + s;
      const float r = std::abs(m.rest[at] - Level(m, now.has_level, step, s));
      m.weights[at] = m.present[at] != 0 ? r : inf;
    });
    SelectMedian<kTile>(team, m, plan.steps);
    ForCells<kTile>(team, plan.steps, [&](int32_t step, int s) {
      const Verdict& v = m.verdicts[s];
      const float median = v.present % 2 == 0 ? (v.first + v.second) / 2 : v.first;
      const float width = 6 * median;
      float& weight = m.weights[step * kTile + s];
      const float r = weight;
      const float rest = 1 - (r / width) * (r / width);
      weight = r == inf ? 0 : r <= 0.001f * width ? 1 : r <= 0.999f * width ? rest * rest : 0;
    });
  }

  // R's treatment of s.window = "periodic": the mean of each phase.
  template <typename Team>
  FORESHADOW_PORTABLE void MakePeriodic(Team team, const TileMemory& m) const {
    ForCells<kTile>(team, plan.period, [&](int32_t phase, int s) {
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
    ForCells<kTile>(team, plan.steps, [&](int32_t step, int s) {
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
};

}  // namespace foreshadow::kernels::cuda
