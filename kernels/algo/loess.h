// Loess on evenly spaced points (Cleveland 1979), as STL uses it: fits at every jump-th point,
// lines in between. Without robustness weights a fit is a fixed filter: a row of weights that
// depends on where the point lies, not on the samples, and all inner points share one row.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/algo/portable.h"

namespace foreshadow::kernels {

struct LoessShape {
  int64_t n = 0;       // points
  int64_t window = 0;  // nearest points that a fit rests on: odd
  int degree = 0;      // 0 or 1
  int64_t jump = 1;    // from one fit to the next
};

// One fit: at point x, resting on the points left..right. Points count from 1, as in the paper; x
// may be 0 or n + 1, one step outside.
struct LoessFit {
  int64_t x;
  int64_t left;
  int64_t right;
};

FORESHADOW_PORTABLE constexpr int64_t RowWidth(const LoessShape& shape) {
  return shape.window < shape.n ? shape.window : shape.n;
}

FORESHADOW_PORTABLE constexpr int64_t JumpOf(const LoessShape& shape) {
  const int64_t most = shape.n > 2 ? shape.n - 1 : 1;
  return shape.jump < most ? shape.jump : most;
}

// Every jump-th point and the last one.
FORESHADOW_PORTABLE constexpr int64_t FitCount(const LoessShape& shape) {
  const int64_t jump = JumpOf(shape);
  return (shape.n - 1 + jump - 1) / jump + 1;
}

FORESHADOW_PORTABLE constexpr LoessFit FitAt(const LoessShape& shape, int64_t fit) {
  const int64_t jump = JumpOf(shape);
  const int64_t x = 1 + fit * jump;
  const bool beyond = x > shape.n;
  // A last point between two jumps rests on the neighbours of the fit before, as the original does.
  const int64_t at = beyond ? x - jump : x;
  const int64_t half = (shape.window + 1) / 2;
  int64_t left = at < half ? 1 : at - half + 1;
  if (left > shape.n - RowWidth(shape) + 1) left = shape.n - RowWidth(shape) + 1;
  if (shape.window >= shape.n) left = 1;
  return {beyond ? shape.n : x, left, left + RowWidth(shape) - 1};
}

// One step before the first point (end 0) or after the last (end 1), resting on the nearest.
FORESHADOW_PORTABLE constexpr LoessFit EndFit(const LoessShape& shape, int end) {
  const int64_t width = RowWidth(shape);
  return end == 0 ? LoessFit{0, 1, width} : LoessFit{shape.n + 1, shape.n - width + 1, shape.n};
}

// The rows that differ: those of the points before the first inner one, one of all inner points,
// those of the points after the last.
struct RowMap {
  int64_t before;       // fits left of the inner ones
  int64_t first_after;  // first fit right of them
  int64_t rows;
};

FORESHADOW_PORTABLE constexpr RowMap MapRows(const LoessShape& shape) {
  const int64_t fits = FitCount(shape);
  if (shape.window >= shape.n) return {fits, fits, fits};
  const int64_t jump = JumpOf(shape);
  const int64_t half = (shape.window + 1) / 2;
  int64_t before = (half - 1 + jump - 1) / jump;           // the first with x >= half
  int64_t after = (shape.n - half + 1 - 1 + jump) / jump;  // the first with x > n - half + 1
  const bool between = (shape.n - 1) % jump != 0;          // the last point is no jump-th one
  if (between && after > fits - 1) after = fits - 1;
  if (after > fits) after = fits;
  if (before > after) before = after;
  const int64_t inner = after > before ? 1 : 0;
  return {before, after, before + inner + fits - after};
}

FORESHADOW_PORTABLE constexpr int64_t RowOf(const RowMap& map, int64_t fit) {
  if (fit < map.before) return fit;
  if (fit < map.first_after) return map.before;
  return map.before + (map.first_after > map.before ? 1 : 0) + fit - map.first_after;
}

// The first fit that has the row.
FORESHADOW_PORTABLE constexpr int64_t FitOfRow(const RowMap& map, int64_t row) {
  if (row <= map.before && map.first_after > map.before) return row;
  if (map.first_after > map.before) return row - map.before - 1 + map.first_after;
  return row;
}

// Reach of the tricube weights at a fit.
FORESHADOW_PORTABLE constexpr double Bandwidth(const LoessShape& shape, const LoessFit& fit) {
  const int64_t reach = fit.x - fit.left > fit.right - fit.x ? fit.x - fit.left : fit.right - fit.x;
  const int64_t more = shape.window > shape.n ? (shape.window - shape.n) / 2 : 0;
  return static_cast<double>(reach + more);
}

FORESHADOW_PORTABLE constexpr double Tricube(double distance, double bandwidth) {
  if (distance > 0.999 * bandwidth) return 0;
  if (distance <= 0.001 * bandwidth) return 1;
  const double q = distance / bandwidth;
  const double cube = 1 - q * q * q;
  return cube * cube * cube;
}

// What a line may not be fitted below: points that hardly spread. Squared, in points.
FORESHADOW_PORTABLE constexpr double SpreadMin(const LoessShape& shape) {
  const double least = 0.001 * static_cast<double>(shape.n - 1);
  return least * least;
}

// The weights of a fit without robustness: `width` of them, from left on; their sum is 1.
template <typename T>
FORESHADOW_PORTABLE void PlainRow(const LoessShape& shape, const LoessFit& fit, T* row) {
  const double h = Bandwidth(shape, fit);
  const auto weight = [&](int64_t j) {
    return Tricube(std::abs(static_cast<double>(j - fit.x)), h);
  };
  double sum = 0;
  double moment = 0;
  double square = 0;
  for (int64_t j = fit.left; j <= fit.right; ++j) {
    const double w = weight(j);
    const auto d = static_cast<double>(j - fit.x);
    sum += w;
    moment += w * d;
    square += w * d * d;
  }
  const double center = moment / sum;  // from x
  const double spread = square / sum - center * center;
  const bool line = shape.degree > 0 && spread > SpreadMin(shape);
  for (int64_t j = fit.left; j <= fit.right; ++j) {
    const auto d = static_cast<double>(j - fit.x);
    const double tilt = line ? 1 - center * (d - center) / spread : 1;
    row[j - fit.left] = static_cast<T>(weight(j) / sum * tilt);
  }
}

// Tricube weights of a fit with their first two moments around x: what a fit with robustness
// weights sums up. Distances are in bandwidths, so that squares keep their precision.
struct MomentRow {
  float* zeroth;
  float* first;
  float* second;
};

FORESHADOW_PORTABLE inline void FillMoments(const LoessShape& shape, const LoessFit& fit,
                                            const MomentRow& row) {
  const double h = Bandwidth(shape, fit);
  for (int64_t j = fit.left; j <= fit.right; ++j) {
    const auto d = static_cast<double>(j - fit.x);
    const double w = Tricube(std::abs(d), h);
    row.zeroth[j - fit.left] = static_cast<float>(w);
    row.first[j - fit.left] = static_cast<float>(w * d / h);
    row.second[j - fit.left] = static_cast<float>(w * d / h * d / h);
  }
}

}  // namespace foreshadow::kernels
