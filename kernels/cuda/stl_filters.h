// The loess filters of STL on the GPU: their weights, computed once a call, and one fit by one
// thread.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/algo/loess.h"
#include "kernels/algo/portable.h"

namespace foreshadow::kernels::cuda {

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

// --- One fit -------------------------------------------------------------------------------------

// Sums of one fit over every share-th sample from `begin` on.
struct Sums {
  float s0 = 0, s1 = 0, s2 = 0, t0 = 0, t1 = 0;
};

// sample(j), weight(j): of point j of the filter's series, from 0.
template <bool kMoments, typename Sample, typename WeightOf>
FORESHADOW_PORTABLE Sums SumUp(const Filter& filter, const float* row, const LoessFit& fit,
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

FORESHADOW_PORTABLE inline float Solve(const Filter& filter, const LoessFit& fit, const Sums& sums,
                                       float otherwise) {
  if (!(sums.s0 > 0)) return otherwise;
  const float mean = sums.t0 / sums.s0;
  if (filter.shape.degree == 0) return mean;
  const double h = Bandwidth(filter.shape, fit);
  const float center = sums.s1 / sums.s0;
  const float spread = sums.s2 / sums.s0 - center * center;
  if (!(spread > static_cast<float>(SpreadMin(filter.shape) / (h * h)))) return mean;
  return mean - center * (sums.t1 / sums.s0 - center * mean) / spread;
}

FORESHADOW_PORTABLE inline const float* RowAt(const Filter& filter, int64_t row) {
  return filter.kept ? filter.weights + row * RowWidth(filter.shape) : nullptr;
}

// One whole fit by one thread.
template <typename Sample, typename WeightOf>
FORESHADOW_PORTABLE float FitOne(const Filter& filter, int64_t row, const LoessFit& fit,
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

}  // namespace foreshadow::kernels::cuda
