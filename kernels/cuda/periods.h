// Periods on the GPU: a block a series for everything but the transforms, which run over a chunk of
// rows at once. Chunks bound the workspace whatever the number of series.
#pragma once

#include <algorithm>
#include <bit>

#include "kernels/algo/periods-inl.h"
#include "kernels/algo/round_up.h"
#include "kernels/check.h"
#include "kernels/cuda/fft.h"

namespace foreshadow::kernels::cuda {

inline constexpr int kPeriodThreads = 128;
inline constexpr int64_t kChunkBytes = int64_t{256} << 20;
inline constexpr int64_t kChunkRowsMax = 8'192;  // enough blocks for any GPU
inline constexpr int64_t kTile = 32;             // steps and series that are turned together

// A thread block as a team of periods-inl.h: an item is an index.
template <typename Team>
struct Scalars {
  Team team;

  using F = float;
  struct Items {
    int64_t at;
  };

  template <typename Body>
  FORESHADOW_DEVICE void For(int64_t n, Body body) const {
    team.For(n, [&](int64_t i) { body(Items{i}); });
  }
  template <typename Body>
  FORESHADOW_DEVICE void Each(int64_t n, Body body) const {
    team.For(n, body);
  }
  template <typename Value>
  FORESHADOW_DEVICE double Sum(int64_t n, Value value) const {
    return team.Sum(n, [&](int64_t i) { return static_cast<double>(value(Items{i})); });
  }
  template <typename Value>
  FORESHADOW_DEVICE float Max(int64_t n, float least, Value value) const {
    return team.Max(n, least, [&](int64_t i) { return value(Items{i}); });
  }
  template <typename Condition>
  FORESHADOW_DEVICE int64_t Count(int64_t n, Condition condition) const {
    return team.Sum(n, [&](int64_t i) { return condition(Items{i}) ? 1 : 0; });
  }
  template <typename Condition>
  FORESHADOW_DEVICE int64_t First(int64_t n, Condition condition) const {
    return n - team.Max(n, int64_t{0},
                        [&](int64_t i) { return condition(Items{i}) ? n - i : int64_t{0}; });
  }

  FORESHADOW_DEVICE static float Set(float x) { return x; }
  FORESHADOW_DEVICE static float Iota(Items i) { return static_cast<float>(i.at); }
  FORESHADOW_DEVICE static float Load(const float* from, Items i) { return from[i.at]; }
  FORESHADOW_DEVICE static void Store(float value, float* to, Items i) { to[i.at] = value; }
  FORESHADOW_DEVICE static void LoadComplex(const float* from, Items i, float& re, float& im) {
    re = from[2 * i.at];
    im = from[2 * i.at + 1];
  }
  FORESHADOW_DEVICE static void StoreComplex(float re, float im, float* to, Items i) {
    to[2 * i.at] = re;
    to[2 * i.at + 1] = im;
  }
  FORESHADOW_DEVICE static float Gather(const float* from, float index) {
    return from[static_cast<int32_t>(index)];
  }
  FORESHADOW_DEVICE static float Select(bool condition, float yes, float no) {
    return condition ? yes : no;
  }
  FORESHADOW_DEVICE static float Larger(float a, float b) { return a > b ? a : b; }
  FORESHADOW_DEVICE static float Smaller(float a, float b) { return a < b ? a : b; }
  FORESHADOW_DEVICE static float Round(float x) { return std::rint(x); }
};

// Series that are worked on together.
struct PeriodChunk {
  PeriodArgs args;
  PeriodShape shape;
  PeriodTables tables;
  float* rows;
  int64_t row_floats;
  int64_t first;
  int64_t count;

  FORESHADOW_PORTABLE PeriodRow row(int64_t at) const {
    return RowAt(shape, rows + at * row_floats);
  }
};

// Columns of the batch become rows, a tile a block.
struct GatherRows {
  PeriodChunk chunk;

  static constexpr int64_t kPitch = kTile + 1;  // so that a column of shared memory has all banks

  template <typename Team>
  FORESHADOW_DEVICE void operator()(Team team, int64_t block) const {
    auto* tile = reinterpret_cast<float*>(team.shared);
    const int64_t across = (chunk.count + kTile - 1) / kTile;
    const int64_t first_series = block % across * kTile;
    const int64_t first_step = block / across * kTile;
    team.For(kTile * kTile, [&](int64_t i) {
      const int64_t s = first_series + i % kTile;
      const int64_t step = first_step + i / kTile;
      if (s >= chunk.count || step >= chunk.shape.steps) return;
      tile[i / kTile * kPitch + i % kTile] = chunk.args.observed.at(step, chunk.first + s);
    });
    team.For(kTile * kTile, [&](int64_t i) {
      const int64_t s = first_series + i / kTile;
      const int64_t step = first_step + i % kTile;
      if (s >= chunk.count || step >= chunk.shape.steps) return;
      chunk.row(s).values[step] = tile[i % kTile * kPitch + i / kTile];
    });
  }
};

struct BeginRow {
  PeriodChunk chunk;

  template <typename Team>
  FORESHADOW_DEVICE void operator()(Team team, int64_t block) const {
    const Scalars<Team> scalars{team};
    const PeriodRow row = chunk.row(block);
    on_team::Begin(scalars, chunk.shape, row);
    if (row.state->gaps && !row.state->done) on_team::MaskToTransform(scalars, chunk.shape, row);
  }
};

struct LookAtRow {
  PeriodChunk chunk;

  template <typename Team>
  FORESHADOW_DEVICE void operator()(Team team, int64_t block) const {
    const Scalars<Team> scalars{team};
    const PeriodRow row = chunk.row(block);
    if (row.state->done) return;
    on_team::Look(scalars, chunk.shape, chunk.tables, row);
    on_team::SquareSpectrum(scalars, chunk.shape, row);
  }
};

struct SquareRow {
  PeriodChunk chunk;

  template <typename Team>
  FORESHADOW_DEVICE void operator()(Team team, int64_t block) const {
    on_team::SquareSpectrum(Scalars<Team>{team}, chunk.shape, chunk.row(block));
  }
};

struct FitTrendOfRow {
  PeriodChunk chunk;

  template <typename Team>
  FORESHADOW_DEVICE void operator()(Team team, int64_t block) const {
    const Scalars<Team> scalars{team};
    const PeriodRow row = chunk.row(block);
    if (row.state->done) return;
    if (row.state->gaps) on_team::CountPairs(scalars, chunk.shape, row);
    on_team::Correlate(scalars, chunk.shape, row);
    on_team::FitTrend(scalars, chunk.shape, row);
  }
};

struct FindCyclesOfRow {
  PeriodChunk chunk;

  template <typename Team>
  FORESHADOW_DEVICE void operator()(Team team, int64_t block) const {
    const Scalars<Team> scalars{team};
    const PeriodRow row = chunk.row(block);
    if (row.state->done) return;
    on_team::Correlate(scalars, chunk.shape, row);
    on_team::FindCycles(scalars, chunk.shape, row);
  }
};

// The work of one thread a series.
struct ReportRow {
  PeriodChunk chunk;

  FORESHADOW_DEVICE void operator()(int64_t at) const {
    const PeriodArgs& args = chunk.args;
    const int64_t s = chunk.first + at;
    const PeriodState& state = *chunk.row(at).state;
    int32_t* periods = args.periods.data() + s * args.max_periods;
    float* strengths = args.strengths.data() + s * args.max_periods;
    for (int64_t k = 0; k < args.max_periods; ++k) {
      periods[k] = 0;
      strengths[k] = 0;
    }
    on_team::Report(chunk.shape, state, periods, strengths);
    args.status[s] = state.status;
  }
};

// How a batch is cut, and where in the workspace things lie.
struct PeriodPlan {
  PeriodShape shape;
  RowTransforms transforms;  // of a chunk
  size_t tables_bytes;
  size_t rows_bytes;
  size_t work_bytes;
};

// Not below `rows`, and at most an eighth above: plans of transforms are kept for each count of
// rows, and a fleet that grows is to need few.
inline int64_t FewCounts(int64_t rows) {
  const int64_t grain = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(rows))) / 8;
  return grain < 1 ? rows : RoundUp(rows, grain);
}

inline size_t WholeLinesOfBytes(size_t bytes) { return RoundUp(bytes, 256); }

template <typename Device>
PeriodPlan PlanPeriods(const PeriodArgs& args) {
  PeriodPlan plan{};
  plan.shape = ShapeOf(args);
  const int64_t row_floats = RowFloats(plan.shape);
  const int64_t row_bytes = row_floats * static_cast<int64_t>(sizeof(float));
  const int64_t most = std::clamp<int64_t>(kChunkBytes / row_bytes, 1, kChunkRowsMax);
  const int64_t series = std::max<int64_t>(1, args.observed.series);
  const int64_t chunks = (series + most - 1) / most;
  plan.transforms = {plan.shape.padded, FewCounts((series + chunks - 1) / chunks), row_floats};
  plan.tables_bytes =
      WholeLinesOfBytes(static_cast<size_t>(TableFloats(plan.shape)) * sizeof(float));
  plan.rows_bytes = WholeLinesOfBytes(static_cast<size_t>(plan.transforms.rows * row_bytes));
  plan.work_bytes = WholeLinesOfBytes(TransformWorkspaceBytes<Device>(plan.transforms));
  return plan;
}

template <typename Device>
size_t PeriodsWorkspaceBytes(const PeriodArgs& args) {
  const PeriodPlan plan = PlanPeriods<Device>(args);
  return plan.tables_bytes + plan.rows_bytes + plan.work_bytes;
}

template <typename Device>
void FindPeriods(const PeriodChunk& chunk, const RowTransforms& transforms,
                 std::span<std::byte> work) {
  const Stream stream = chunk.args.stream;
  const PeriodRow first = chunk.row(0);
  const auto on_rows = [&](auto body) {
    Device::Launch(chunk.count, kPeriodThreads, 0, stream, body);
  };
  const auto forward = [&](const float* from) {
    TransformForward<Device>(transforms, from, first.spectrum, work, stream);
  };
  const auto back = [&](float* to) {
    TransformBack<Device>(transforms, first.spectrum, to, work, stream);
  };
  const int64_t tiles =
      ((chunk.count + kTile - 1) / kTile) * ((chunk.shape.steps + kTile - 1) / kTile);
  Device::Launch(tiles, 256, sizeof(float) * kTile * GatherRows::kPitch, stream, GatherRows{chunk});
  on_rows(BeginRow{chunk});

  // Which series need which steps is known to the device only, so all are transformed every time.
  for (int look = 0; look < kPeriodLooks; ++look) {
    forward(first.values);
    on_rows(LookAtRow{chunk});
    back(first.correlation);
    if (look == 0) {
      forward(first.pairs);
      on_rows(SquareRow{chunk});
      back(first.pairs);
      on_rows(FitTrendOfRow{chunk});
      forward(first.values);
      on_rows(SquareRow{chunk});
      back(first.correlation);
    }
    on_rows(FindCyclesOfRow{chunk});
  }
  Device::ForEach(chunk.count, stream, ReportRow{chunk});
}

template <typename Device>
void Periods(const PeriodArgs& args) {
  CheckPeriodArgs(args);
  if (args.observed.series == 0) return;
  if (args.observed.steps < kPeriodSamplesMin) {
    Device::ForEach(args.observed.series, args.stream, [args] FORESHADOW_PORTABLE(int64_t s) {
      args.status[s] = SeriesStatus::kTooShort;
      for (int64_t k = s * args.max_periods; k < (s + 1) * args.max_periods; ++k) {
        args.periods[k] = 0;
        args.strengths[k] = 0;
      }
    });
    return;
  }
  const PeriodPlan plan = PlanPeriods<Device>(args);
  FORESHADOW_CHECK(args.workspace.size() >= plan.tables_bytes + plan.rows_bytes + plan.work_bytes);
  std::byte* memory = args.workspace.data();
  const PeriodTables tables = TablesAt(plan.shape, reinterpret_cast<float*>(memory));
  auto* rows = reinterpret_cast<float*>(memory + plan.tables_bytes);
  const auto work = args.workspace.subspan(plan.tables_bytes + plan.rows_bytes, plan.work_bytes);
  const PeriodShape shape = plan.shape;
  Device::ForEach(TableItems(shape), args.stream,
                  [shape, tables] FORESHADOW_PORTABLE(int64_t i) { FillTable(shape, tables, i); });
  for (int64_t first = 0; first < args.observed.series; first += plan.transforms.rows) {
    const int64_t count = std::min(plan.transforms.rows, args.observed.series - first);
    FindPeriods<Device>({args, shape, tables, rows, plan.transforms.row_floats, first, count},
                        plan.transforms, work);
  }
}

}  // namespace foreshadow::kernels::cuda
