// STL on the GPU: a thread block takes a tile of neighbouring series through the whole
// decomposition. A tile lives in shared memory as [step][series of the tile], so that global memory
// is read once and written once; a tile too long for it lives in the block's slice of the
// workspace.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "kernels/algo/stl_plan.h"
#include "kernels/check.h"
#include "kernels/cuda/stl_decompose.h"
#include "kernels/ops.h"

namespace foreshadow::kernels::cuda {

inline constexpr int64_t kBlocksMax = 528;         // four for each of an H200's multiprocessors
inline constexpr int64_t kRowFloatsMax = 1 << 20;  // of one filter's weights that are kept

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
  // Of reductions, with the phases' means behind them, or of shared fits.
  sizes.partial_floats = kThreads + plan.period * tile;
  for (const int64_t fits : {sizes.level_fits * tile, sizes.low_fits * tile}) {
    for (const bool weighted : {false, true}) {
      const int share = ShareOf(fits, weighted);
      const int64_t floats = fits * share * (weighted ? kWeightedSums : kSums);
      if (share > 1) sizes.partial_floats = std::max(sizes.partial_floats, floats);
    }
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
