// What STL on the CPU works in: the rows of its filters and the arrays of one group of lanes.
#pragma once

#include <cstdint>

#include "kernels/algo/loess.h"
#include "kernels/algo/stl_plan.h"

namespace foreshadow::kernels::cpu {

inline constexpr int kLanesMax = 16;
// Rows of a filter that fill more floats than this are computed when they are needed: a window as
// wide as a long series has a row for each of its points.
inline constexpr int64_t kRowFloatsMax = 1 << 20;

// The rows of one filter, in memory of the workspace: all of them where there is room, else one
// that is written again and again.
struct Rows {
  LoessShape shape;
  RowMap map;
  float* plain;    // [PlainKept][width]
  float* moments;  // [MomentsKept][3][width]
};

inline int64_t PlainKept(const LoessShape& shape) {
  const int64_t rows = MapRows(shape).rows;
  return rows * RowWidth(shape) <= kRowFloatsMax ? rows : 1;
}

inline int64_t MomentsKept(const LoessShape& shape) {
  const int64_t rows = MapRows(shape).rows;
  return rows * RowWidth(shape) * 3 <= kRowFloatsMax ? rows : 1;
}

inline const float* PlainFor(const Rows& rows, int64_t fit) {
  const int64_t width = RowWidth(rows.shape);
  if (PlainKept(rows.shape) == rows.map.rows) return rows.plain + RowOf(rows.map, fit) * width;
  PlainRow(rows.shape, FitAt(rows.shape, fit), rows.plain);
  return rows.plain;
}

inline MomentRow MomentsAt(const Rows& rows, int64_t row) {
  const int64_t width = RowWidth(rows.shape);
  float* first = rows.moments + row * 3 * width;
  return {first, first + width, first + 2 * width};
}

inline MomentRow MomentsFor(const Rows& rows, int64_t fit) {
  if (MomentsKept(rows.shape) == rows.map.rows) return MomentsAt(rows, RowOf(rows.map, fit));
  FillMoments(rows.shape, FitAt(rows.shape, fit), MomentsAt(rows, 0));
  return MomentsAt(rows, 0);
}

// The cycle-subseries have two lengths at most. Each also has a fit one step before its first point
// and one after its last: the rows `ends`.
struct CycleRows {
  Rows rows;
  LoessFit ends[2];
  float* end_plain[2];
  MomentRow end_moments[2];
};

// Everything of one call. Arrays of samples hold a vector of lanes for each step.
struct Memory {
  Rows trend;
  Rows low_pass;
  CycleRows cycles[2];  // of the longer and the shorter subseries
  float* observed;      // [steps] centred, filled where missing
  float* season;        // [steps]
  float* level;         // [steps] the trend of the centred series
  float* present;       // [steps] 1, or 0 where missing
  float* weights;       // [steps] robustness times present
  float* work;          // [steps]
  float* weighted;      // [steps]
  float* extended;      // [steps + 2 period]
  float* averaged;      // [steps + 2 period]
  float* knots;         // [steps] values of fits
  float* sub;           // [longest subseries] each of four
  float* sub_weights;
  float* sub_weighted;
  float* sub_smooth;
};

// The same walk sizes the memory and hands it out: `take` gets floats and returns their place.
template <typename Take>
Memory Carve(const StlPlan& plan, Take take) {
  Memory m{};
  const auto rows = [&](Rows& r, const LoessShape& shape) {
    r.shape = shape;
    r.map = MapRows(shape);
    r.plain = take(PlainKept(shape) * RowWidth(shape));
    r.moments = take(MomentsKept(shape) * RowWidth(shape) * 3);
  };
  rows(m.trend, TrendShape(plan));
  rows(m.low_pass, LowPassShape(plan));
  for (int k = 0; k < 2; ++k) {
    CycleRows& c = m.cycles[k];
    rows(c.rows, SeasonalShape(plan, k == 0 ? CycleLong(plan) : CycleShort(plan)));
    const int64_t width = RowWidth(c.rows.shape);
    for (int e = 0; e < 2; ++e) {
      c.ends[e] = EndFit(c.rows.shape, e);
      c.end_plain[e] = take(width);
      c.end_moments[e] = {take(width), take(width), take(width)};
    }
  }
  const int64_t lanes = kLanesMax;
  for (float** part :
       {&m.observed, &m.season, &m.level, &m.present, &m.weights, &m.work, &m.weighted, &m.knots}) {
    *part = take(plan.steps * lanes);
  }
  for (float** part : {&m.extended, &m.averaged}) {
    *part = take((plan.steps + 2 * plan.period) * lanes);
  }
  for (float** part : {&m.sub, &m.sub_weights, &m.sub_weighted, &m.sub_smooth}) {
    *part = take((CycleLong(plan) + 2) * lanes);
  }
  return m;
}

inline void FillRows(const Rows& rows) {
  const LoessShape& shape = rows.shape;
  for (int64_t row = 0; row < rows.map.rows; ++row) {
    const LoessFit fit = FitAt(shape, FitOfRow(rows.map, row));
    if (row < PlainKept(shape)) PlainRow(shape, fit, rows.plain + row * RowWidth(shape));
    if (row < MomentsKept(shape)) FillMoments(shape, fit, MomentsAt(rows, row));
  }
}

inline void FillRows(const CycleRows& cycles) {
  FillRows(cycles.rows);
  for (int e = 0; e < 2; ++e) {
    PlainRow(cycles.rows.shape, cycles.ends[e], cycles.end_plain[e]);
    FillMoments(cycles.rows.shape, cycles.ends[e], cycles.end_moments[e]);
  }
}

}  // namespace foreshadow::kernels::cpu
