// Rolling quantiles on the GPU by ranks (kernels/algo/rolling.h). A thread block sorts a chunk of
// neighbouring series in shared memory (Batcher 1968, bitonic); then a thread rolls over each
// chunk, its ranks' bits in shared memory, so that reads and writes coalesce.
#pragma once

#include "kernels/algo/rolling.h"

namespace foreshadow::kernels::cuda {

inline constexpr int kSortThreads = 256;
inline constexpr int kRollThreads = 128;
inline constexpr int64_t kSortColumnsMax = 8;         // of floats: what a memory access brings
inline constexpr int64_t kRollSharedMax = 96 * 1024;  // bytes a block; two fit a multiprocessor
inline constexpr uint64_t kMissingKey = ~uint64_t{0} << 32;  // sorts last

struct RollLaunch {
  RollingPlan plan;
  int64_t columns;  // sorted together
  int64_t tiles;    // of columns
  bool sort_shared;
  int64_t roll_tiles;  // of kRollThreads series
  bool bits_shared;
};

inline RollLaunch PlanRollLaunch(const RollingQuantileArgs& args) {
  RollLaunch launch;
  launch.plan = PlanRolling(args);
  const int64_t key_bytes = launch.plan.length * int64_t{sizeof(uint64_t)};
  launch.sort_shared = key_bytes <= kRollSharedMax;
  launch.columns =
      launch.sort_shared ? std::min(kSortColumnsMax, kRollSharedMax / key_bytes) : kSortColumnsMax;
  launch.tiles = (args.values.series + launch.columns - 1) / launch.columns;
  launch.roll_tiles = (args.values.series + kRollThreads - 1) / kRollThreads;
  launch.bits_shared = launch.plan.length / 8 * kRollThreads <= kRollSharedMax;
  return launch;
}

// Where the workspace has what.
struct RollMemory {
  uint64_t* keys = nullptr;  // [chunks][tiles][length][columns] unless in shared memory
  uint64_t* bits = nullptr;  // [chunks][roll_tiles][length / 64][kRollThreads] likewise
  int32_t* ranks = nullptr;  // [chunks][length][series]
  float* sorted = nullptr;   // [chunks][length][series]
};

// Without memory to divide: its size.
inline size_t DivideRollMemory(const RollLaunch& launch, int64_t series, std::byte* memory,
                               RollMemory& parts) {
  size_t used = 0;
  const auto take = [&](int64_t count, size_t bytes_each) {
    std::byte* part = memory == nullptr ? nullptr : memory + used;
    used += static_cast<size_t>(count) * bytes_each;
    return part;
  };
  const int64_t chunks = launch.plan.chunks;
  const int64_t length = launch.plan.length;
  const int64_t keys = launch.sort_shared ? 0 : launch.tiles * launch.columns * length;
  const int64_t bits = launch.bits_shared ? 0 : launch.roll_tiles * kRollThreads * length / 64;
  parts.keys = reinterpret_cast<uint64_t*>(take(chunks * keys, sizeof(uint64_t)));
  parts.bits = reinterpret_cast<uint64_t*>(take(chunks * bits, sizeof(uint64_t)));
  parts.ranks = reinterpret_cast<int32_t*>(take(chunks * length * series, sizeof(int32_t)));
  parts.sorted = reinterpret_cast<float*>(take(chunks * length * series, sizeof(float)));
  return used;
}

struct SortChunks {
  StepMajor<const float> values;
  RollLaunch launch;
  RollMemory memory;

  template <typename Team>
  FORESHADOW_PORTABLE void operator()(const Team& team, int64_t block) const {
    const RollingPlan& plan = launch.plan;
    const int64_t chunk = block / launch.tiles;
    const int64_t first = block % launch.tiles * launch.columns;
    const int64_t columns = launch.columns;
    const int64_t length = plan.length;
    const int64_t begin = chunk * plan.steps;
    const int64_t origin = begin - (plan.window - 1) > 0 ? begin - (plan.window - 1) : 0;
    const int64_t end = begin + plan.steps < values.steps ? begin + plan.steps : values.steps;
    uint64_t* keys = launch.sort_shared ? reinterpret_cast<uint64_t*>(team.shared)
                                        : memory.keys + block * length * columns;
    int32_t* ranks = memory.ranks + chunk * length * values.series;
    float* sorted = memory.sorted + chunk * length * values.series;

    team.For(length * columns, [&](int64_t i) {
      const int64_t step = origin + i / columns;
      const int64_t series = first + i % columns;
      uint64_t key = kMissingKey;
      if (step < end && series < values.series && !std::isnan(values.at(step, series))) {
        key = uint64_t{OrderedBits(values.at(step, series))} << 32;
      }
      keys[i] = key | static_cast<uint64_t>(i / columns);
    });
    for (int64_t run = 2; run <= length; run *= 2) {
      for (int64_t apart = run / 2; apart > 0; apart /= 2) {
        team.For(length / 2 * columns, [&](int64_t i) {
          const int64_t pair = i / columns;
          const int64_t low = (pair / apart * 2 * apart + pair % apart) * columns + i % columns;
          const int64_t high = low + apart * columns;
          const bool ascending = ((pair / apart * 2 * apart + pair % apart) & run) == 0;
          const uint64_t a = keys[low];
          const uint64_t b = keys[high];
          if ((a > b) == ascending) {
            keys[low] = b;
            keys[high] = a;
          }
        });
      }
    }
    team.For(length * columns, [&](int64_t i) {
      const int64_t series = first + i % columns;
      if (series >= values.series) return;
      const int64_t rank = i / columns;
      const auto step = static_cast<uint32_t>(keys[i]);
      const bool missing = keys[i] >= kMissingKey;
      ranks[step * values.series + series] = missing ? -1 : static_cast<int32_t>(rank);
      if (!missing) {
        sorted[rank * values.series + series] = OfOrderedBits(static_cast<uint32_t>(keys[i] >> 32));
      }
    });
  }
};

struct RollChunks {
  RollingQuantileArgs args;
  Levels levels;
  RollLaunch launch;
  RollMemory memory;

  template <typename Team>
  FORESHADOW_PORTABLE void operator()(const Team& team, int64_t block) const {
    const int64_t chunk = block / launch.roll_tiles;
    const int64_t first = block % launch.roll_tiles * kRollThreads;
    const int64_t words = launch.plan.length / 64;
    const int64_t all_series = args.values.series;
    uint64_t* bits = launch.bits_shared ? reinterpret_cast<uint64_t*>(team.shared)
                                        : memory.bits + block * words * kRollThreads;
    const int32_t* ranks = memory.ranks + chunk * launch.plan.length * all_series;
    const float* sorted = memory.sorted + chunk * launch.plan.length * all_series;
    team.For(kRollThreads, [&](int64_t thread) {
      const int64_t series = first + thread;
      if (series >= all_series) return;
      const RankSet set{bits + thread, kRollThreads};
      for (int64_t w = 0; w < words; ++w) set.words[w * set.stride] = 0;
      RollChunk(
          args, launch.plan, levels, series, chunk, set,
          [&](int64_t i) { return ranks[i * all_series + series]; },
          [&](int32_t rank) { return sorted[rank * all_series + series]; });
    });
  }
};

template <typename Device>
size_t RollingQuantilesWorkspaceBytes(const RollingQuantileArgs& args) {
  RollMemory parts;
  return DivideRollMemory(PlanRollLaunch(args), args.values.series, nullptr, parts);
}

template <typename Device>
void RollingQuantiles(const RollingQuantileArgs& args) {
  CheckRollingQuantiles(args);
  FORESHADOW_CHECK(args.workspace.size() >= RollingQuantilesWorkspaceBytes<Device>(args));
  const RollLaunch launch = PlanRollLaunch(args);
  const RollingPlan& plan = launch.plan;
  RollMemory memory;
  DivideRollMemory(launch, args.values.series, args.workspace.data(), memory);
  const auto keys = static_cast<size_t>(plan.length * launch.columns) * sizeof(uint64_t);
  Device::Launch(plan.chunks * launch.tiles, kSortThreads, launch.sort_shared ? keys : 0,
                 args.stream, SortChunks{args.values, launch, memory});
  const auto bits = static_cast<size_t>(plan.length / 8 * kRollThreads);
  Device::Launch(plan.chunks * launch.roll_tiles, kRollThreads, launch.bits_shared ? bits : 0,
                 args.stream, RollChunks{args, LevelsOf(args), launch, memory});
  Device::ForEach(args.values.series, args.stream, [args] FORESHADOW_PORTABLE(int64_t s) {
    bool seen = false;
    bool infinite = false;
    for (int64_t step = 0; step < args.values.steps; ++step) {
      const float value = args.values.at(step, s);
      seen |= !std::isnan(value);
      infinite |= std::isinf(value);
    }
    SetRollingStatus(args, s, seen, infinite);
  });
}

}  // namespace foreshadow::kernels::cuda
