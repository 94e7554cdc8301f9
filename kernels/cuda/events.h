// Spikes and level shifts on the GPU. A thread block takes a tile of neighbouring series into
// shared memory, a warp each, and finds shifts and thresholds by counting passes over it: global
// memory is read once. The events are then counted and written by a thread a series, whose reads
// coalesce, each at the place that a scan over the counts gives it: their order does not depend on
// that of the threads. The method is that of kernels/algo/events.h.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/algo/events.h"
#include "kernels/algo/portable.h"
#include "kernels/algo/round_up.h"
#include "kernels/check.h"
#include "kernels/ops.h"

namespace foreshadow::kernels::cuda {

inline constexpr int64_t kEventTile = 8;  // series a block: a sector of 32 bytes a step
inline constexpr int kEventThreads = 256;
inline constexpr int64_t kEventBlocksMax = 528;   // four for each of an H200's multiprocessors
inline constexpr int64_t kCountsAThread = 512;    // of the scan
inline constexpr int64_t kGatherShareOnGpu = 32;  // of the samples: fewer are worth a copy
inline constexpr int64_t kGatherMin = 512;        // samples; fewer are searched where they are

// --- Order statistics by one warp ----------------------------------------------------------------

// Samples side by side; NaN = missing.
struct Samples {
  const float* data;
  int64_t count;
  bool absolute = false;  // read their absolute values

  FORESHADOW_PORTABLE float at(int64_t i) const {
    const float value = data[i];
    return absolute ? std::abs(value) : value;
  }
};

struct SampleExtent {
  float low = std::numeric_limits<float>::infinity();
  float high = -std::numeric_limits<float>::infinity();
  int32_t present = 0;
};

template <typename Warp>
FORESHADOW_PORTABLE SampleExtent ExtentOf(Warp warp, Samples samples) {
  return warp.Fold(
      samples.count, SampleExtent{},
      [&](SampleExtent& sum, int64_t i) {
        const float x = samples.at(i);
        if (x != x) return;
        sum.low = x < sum.low ? x : sum.low;
        sum.high = x > sum.high ? x : sum.high;
        ++sum.present;
      },
      [](SampleExtent& sum, SampleExtent other) {
        sum.low = other.low < sum.low ? other.low : sum.low;
        sum.high = other.high > sum.high ? other.high : sum.high;
        sum.present += other.present;
      });
}

// What one pass tells of the samples at or below a pivot, and above it.
struct SampleSplit {
  float below = -std::numeric_limits<float>::infinity();  // greatest at or below
  float above = std::numeric_limits<float>::infinity();   // least above
  int32_t at_most = 0;
};

template <typename Warp>
FORESHADOW_PORTABLE SampleSplit SplitAt(Warp warp, Samples samples, float pivot) {
  return warp.Fold(
      samples.count, SampleSplit{},
      [&](SampleSplit& sum, int64_t i) {
        const float x = samples.at(i);
        if (x <= pivot) {
          ++sum.at_most;
          sum.below = x > sum.below ? x : sum.below;
        } else if (x > pivot) {
          sum.above = x < sum.above ? x : sum.above;
        }
      },
      [](SampleSplit& sum, SampleSplit other) {
        sum.at_most += other.at_most;
        sum.below = other.below > sum.below ? other.below : sum.below;
        sum.above = other.above < sum.above ? other.above : sum.above;
      });
}

// Between which samples a rank is known to lie, both included, and how many lie outside.
struct SampleBracket {
  float low;
  float high;
  int32_t below_low;
  int32_t at_most_high;

  FORESHADOW_PORTABLE int32_t inside() const { return at_most_high - below_low; }
};

// Closes in on the sample of a rank until at most inside_max are left, or, at 0, until it is found.
template <typename Warp>
FORESHADOW_PORTABLE void Shrink(Warp warp, Samples samples, int32_t rank, int64_t inside_max,
                                SampleBracket& b) {
  for (int pass = 0; b.low < b.high && b.inside() > inside_max; ++pass) {
    const float pivot = PivotOf(b.low, b.high, rank - b.below_low, b.inside(), pass);
    const SampleSplit split = SplitAt(warp, samples, pivot);
    if (split.at_most > rank) {
      b.high = split.below;
      b.at_most_high = split.at_most;
    } else {
      b.low = split.above;
      b.below_low = split.at_most;
    }
  }
}

// A copy of the samples from low to high, which are `count`, if `spare` has room and it is worth
// while; else all of them.
struct Spare {
  float* data;
  int64_t room;
};

template <typename Warp>
FORESHADOW_PORTABLE bool Gather(Warp warp, Samples samples, float low, float high, int64_t count,
                                Spare spare) {
  if (samples.count < kGatherMin || count > spare.room) return false;
  warp.Compact(
      samples.count,
      [&](int64_t i) {
        const float x = samples.at(i);
        return x >= low && x <= high;
      },
      [&](int64_t i, int64_t at) { spare.data[at] = samples.data[i]; });
  return true;
}

template <typename Warp>
FORESHADOW_PORTABLE float Median(Warp warp, Samples samples, const SampleExtent& extent,
                                 Spare spare) {
  if (extent.present == 0) return 0;
  const int32_t rank = (extent.present - 1) / 2;
  SampleBracket b{extent.low, extent.high, 0, extent.present};
  Shrink(warp, samples, rank, samples.count / kGatherShareOnGpu, b);
  if (b.low < b.high && Gather(warp, samples, b.low, b.high, b.inside(), spare)) {
    SampleBracket inside{b.low, b.high, 0, b.inside()};
    Shrink(warp, {spare.data, b.inside(), samples.absolute}, rank - b.below_low, 0, inside);
    b.low = inside.low;
  } else {
    Shrink(warp, samples, rank, 0, b);
  }
  if (extent.present % 2 == 1) return b.low;
  const SampleSplit split = SplitAt(warp, samples, b.low);
  return (b.low + (split.at_most > rank + 1 ? b.low : split.above)) / 2;
}

template <typename Warp>
FORESHADOW_PORTABLE TailSample TailOf(Warp warp, Samples heights, const SampleExtent& extent,
                                      Spare spare) {
  const TailRanks ranks = RanksOfTail(extent.present);
  SampleBracket b{extent.low, extent.high, 0, extent.present};
  Shrink(warp, heights, ranks.base, heights.count / kGatherShareOnGpu, b);
  const int32_t kept = extent.present - b.below_low;
  const bool gathered = Gather(warp, heights, b.low, extent.high, kept, spare);
  const Samples greatest = gathered ? Samples{spare.data, kept, heights.absolute} : heights;
  const int32_t left_out = gathered ? b.below_low : 0;
  float low = b.low;
  const auto find = [&](int32_t rank) {
    SampleBracket search{low, extent.high, 0, extent.present - left_out};
    Shrink(warp, greatest, rank - left_out, 0, search);
    return low = search.low;
  };
  TailSample tail{};
  tail.base = find(ranks.base);
  tail.half = find(ranks.half);
  tail.three_quarters = find(ranks.three_quarters);
  const int32_t all = extent.present - left_out;
  const SampleSplit at_base = SplitAt(warp, greatest, tail.base);
  tail.next = at_base.above;
  tail.above_base = all - at_base.at_most;
  const float far = tail.three_quarters > tail.next ? tail.three_quarters : tail.next;
  tail.above_far = all - SplitAt(warp, greatest, far).at_most;
  return tail;
}

// --- Shifts and thresholds -----------------------------------------------------------------------

// What the first kernel leaves to the others; arrays by series.
struct EventState {
  LevelShift* shifts;  // [series][shifts_max]
  int32_t* shift_counts;
  float* first_centers;
  float* centers;
  int64_t* places;  // counts of events, then where the first of them goes
};

// Parts of a series' share of a tile.
struct EventLayout {
  int64_t pitch;  // floats a series; neighbours start four banks apart
  int64_t values;
  int64_t blocks;
  int64_t spreads;  // later the levels
  int64_t differences;
};

template <typename Warp>
struct OneSeries {
  Warp warp;
  const EventArgs& args;
  const EventPlan& plan;
  const EventState& state;
  int64_t index;
  float* values;
  float* blocks;
  float* spreads;
  float* differences;

  FORESHADOW_PORTABLE Spare spare() const { return {blocks, 3 * plan.blocks}; }
  FORESHADOW_PORTABLE LevelShift* shifts() const { return state.shifts + index * plan.shifts_max; }

  FORESHADOW_PORTABLE void SeekShifts() const {
    state.shift_counts[index] = 0;
    args.scale[index] = args.threshold[index] = std::numeric_limits<float>::quiet_NaN();
    const SampleExtent extent = ExtentOf(warp, {values, plan.steps});
    args.status[index] = StatusOfRange(extent.low, extent.high);
    if (plan.blocks == 0 || args.status[index] != SeriesStatus::kOk) return;
    const float* first = values + plan.first_block_step();
    warp.For(plan.blocks, [&](int64_t j) {
      const Middle middle = MiddleOf7([&](int i) { return first[j * kBlock + i]; });
      blocks[j] = middle.mean;
      spreads[j] = middle.spread;
    });
    const Samples all_spreads{spreads, plan.blocks};
    const float spread = Median(warp, all_spreads, ExtentOf(warp, all_spreads), {nullptr, 0});
    float* levels = spreads;
    warp.For(plan.blocks - kBlock + 1, [&](int64_t j) {
      levels[j] = MiddleOf7([&](int i) { return blocks[j + i]; }).median;
    });
    warp.For(plan.differences, [&](int64_t j) { differences[j] = levels[j + kBlock] - levels[j]; });
    const Samples heights{differences, plan.differences, true};
    const SampleExtent of_heights = ExtentOf(warp, heights);
    if (of_heights.present < kDifferencesMin) return;
    const float median = Median(warp, heights, of_heights, {nullptr, 0});
    const float mean = warp.Fold(
                           plan.differences, 0.0f,
                           [&](float& sum, int64_t i) {
                             const float x = heights.at(i);
                             if (x == x) sum += x;
                           },
                           [](float& sum, float other) { sum += other; }) /
                       static_cast<float>(of_heights.present);
    const float deviation = DeviationOfDifferences(median, mean, spread);
    if (!(of_heights.high > plan.shift_height * deviation)) return;
    warp.For(1, [&](int64_t) {
      state.shift_counts[index] = FindShifts(
          plan, deviation, [&](int64_t i) { return values[i]; },
          [&](int64_t j) { return blocks[j]; }, [&](int64_t j) { return differences[j - kBlock]; },
          shifts());
    });
  }

  FORESHADOW_PORTABLE void TakeShiftsOut(int32_t count) const {
    int64_t from = 0;
    for (int32_t k = 0; k <= count; ++k) {
      const int64_t to = k < count ? shifts()[k].onset : plan.steps;
      float* stretch = values + from;
      const Samples samples{stretch, to - from};
      const float center = Median(warp, samples, ExtentOf(warp, samples), spare());
      warp.For(to - from, [&](int64_t i) { stretch[i] -= center; });
      warp.For(1, [&](int64_t) {
        (k > 0 ? shifts()[k - 1].center : state.first_centers[index]) = center;
      });
      from = to;
    }
  }

  FORESHADOW_PORTABLE void Measure() const {
    const Samples samples{values, plan.steps};
    SampleExtent extent = ExtentOf(warp, samples);
    SeriesStatus status = args.status[index];
    if (status == SeriesStatus::kOk) status = StatusOf(extent.low, extent.high, extent.present);
    const int32_t shift_count = status == SeriesStatus::kOk ? state.shift_counts[index] : 0;
    float first_center = 0;
    if (shift_count > 0) {
      TakeShiftsOut(shift_count);
      extent = ExtentOf(warp, samples);
      first_center = state.first_centers[index];
    }
    float center = 0;
    float deviation = std::numeric_limits<float>::quiet_NaN();
    float threshold = std::numeric_limits<float>::quiet_NaN();
    if (status == SeriesStatus::kOk) {
      center = Median(warp, samples, extent, spare());
      warp.For(plan.steps, [&](int64_t i) { values[i] -= center; });
      const Samples heights{values, plan.steps, true};
      const float up = extent.high - center;
      const float down = center - extent.low;
      const SampleExtent of_heights{0, up > down ? up : down, extent.present};
      deviation = kDeviationOfMad * Median(warp, heights, of_heights, spare());
      status = StatusOfNoise(center + first_center, deviation);
      if (status == SeriesStatus::kOk) {
        threshold = SpikeThreshold(plan, deviation, TailOf(warp, heights, of_heights, spare()),
                                   extent.present);
      }
    }
    warp.For(1, [&](int64_t) {
      const bool keeps_shifts = status == SeriesStatus::kOk || status == SeriesStatus::kConstant;
      state.shift_counts[index] = keeps_shifts ? shift_count : 0;
      state.first_centers[index] = first_center;
      state.centers[index] = center;
      args.scale[index] = deviation;
      args.threshold[index] = threshold;
      args.status[index] = status;
    });
  }
};

template <bool kShared>
struct MeasureEvents {
  EventArgs args;
  EventPlan plan;
  EventState state;
  EventLayout layout;
  int64_t blocks;
  float* tiles;  // [blocks][tile] of the workspace, unless shared memory holds the tile

  template <typename Team>
  FORESHADOW_PORTABLE void operator()(Team team, int64_t block) const {
    float* tile =
        kShared ? reinterpret_cast<float*>(team.shared) : tiles + block * kEventTile * layout.pitch;
    const int64_t series = args.remainder.series;
    for (int64_t first = block * kEventTile; first < series; first += blocks * kEventTile) {
      const int64_t width = series - first < kEventTile ? series - first : kEventTile;
      const auto load = [&](StepMajor<const float> from) {
        team.For(plan.steps * kEventTile, [&](int64_t i) {
          const int64_t k = i % kEventTile;
          if (k < width)
            tile[k * layout.pitch + i / kEventTile] = from.at(i / kEventTile, first + k);
        });
      };
      const auto each = [&](auto work) {
        team.Warps(width, [&](auto warp, int64_t k) {
          float* share = tile + k * layout.pitch;
          work(OneSeries<decltype(warp)>{warp, args, plan, state, first + k, share + layout.values,
                                         share + layout.blocks, share + layout.spreads,
                                         share + layout.differences});
        });
      };
      const bool is_own_level = args.level.data == nullptr;
      load(is_own_level ? args.remainder : args.level);
      each([](const auto& one) { one.SeekShifts(); });
      if (!is_own_level) load(args.remainder);
      each([](const auto& one) { one.Measure(); });
    }
  }
};

// --- Events --------------------------------------------------------------------------------------

// Walks through a series and gives its events to `sink`.
template <typename Sink>
FORESHADOW_PORTABLE void WalkSeries(const EventArgs& args, const EventPlan& plan,
                                    const EventState& state, int64_t s, Sink& sink) {
  const float center = state.centers[s];
  const float threshold = args.threshold[s];
  const LevelShift* shifts = state.shifts + s * plan.shifts_max;
  const int32_t shifts_count = state.shift_counts[s];
  float level = state.first_centers[s];
  EventWriter<Sink> writer(EventContext{static_cast<int32_t>(s), args.scale[s], center, level,
                                        shifts, shifts_count, static_cast<int32_t>(plan.steps)},
                           sink);
  const int64_t steps = args.status[s] == SeriesStatus::kOk ? plan.steps : 0;
  int32_t next = 0;
  for (int64_t i = 0; i < steps; ++i) {
    if (next < shifts_count && shifts[next].onset == i) level = shifts[next++].center;
    const float height = (args.remainder.at(i, s) - level) - center;
    if (std::abs(height) > threshold) writer.Over(i, height);
  }
  writer.Finish();
}

struct EventLaunch {
  EventPlan plan;
  EventState state;
  EventLayout layout;
  bool is_shared;  // tiles fit in shared memory
  int64_t blocks;
  int64_t chunks;  // of the scan
  int64_t* sums;   // [chunks]
  float* tiles;
  size_t bytes;  // of the workspace
};

template <typename Device>
EventLaunch PlaceEvents(const EventArgs& args) {
  EventLaunch launch{};
  launch.plan = PlanEvents(args);
  const int64_t steps = launch.plan.steps;
  const int64_t blocks = launch.plan.blocks;
  constexpr int64_t kBanks = 32;
  constexpr int64_t kApart = kBanks / kEventTile;
  const int64_t used = steps + 3 * blocks;
  const int64_t pitch = (used + kBanks - 1 - kApart) / kBanks * kBanks + kApart;
  launch.layout = {pitch, 0, steps, steps + blocks, steps + 2 * blocks};
  const int64_t tile_bytes = kEventTile * pitch * static_cast<int64_t>(sizeof(float));
  launch.is_shared = tile_bytes <= static_cast<int64_t>(Device::SharedBytesMax());
  const int64_t series = args.remainder.series;
  launch.blocks = std::min(kEventBlocksMax, (series + kEventTile - 1) / kEventTile);
  launch.chunks = (series + kCountsAThread - 1) / kCountsAThread;
  const auto take = [&]<typename T>(T*& part, int64_t count) {
    part = reinterpret_cast<T*>(args.workspace.data() + launch.bytes);
    launch.bytes += RoundUp(static_cast<size_t>(count) * sizeof(T), 256);
  };
  EventState& state = launch.state;
  take(state.shifts, series * launch.plan.shifts_max);
  take(state.shift_counts, series);
  take(state.first_centers, series);
  take(state.centers, series);
  take(state.places, series);
  take(launch.sums, launch.chunks);
  take(launch.tiles, launch.is_shared ? 0 : launch.blocks * kEventTile * pitch);
  return launch;
}

template <typename Device>
size_t EventsWorkspaceBytes(const EventArgs& args) {
  EventArgs sizes = args;
  sizes.workspace = {};
  return PlaceEvents<Device>(sizes).bytes;
}

// Turns counts into places, and tells their sum.
template <typename Device>
void ScanCounts(const EventLaunch& launch, int64_t series, int64_t* total, Stream stream) {
  const auto last = [series] FORESHADOW_PORTABLE(int64_t chunk) {
    const int64_t end = (chunk + 1) * kCountsAThread;
    return end < series ? end : series;
  };
  int64_t* places = launch.state.places;
  int64_t* sums = launch.sums;
  const int64_t chunks = launch.chunks;
  Device::ForEach(chunks, stream, [=] FORESHADOW_PORTABLE(int64_t chunk) {
    int64_t sum = 0;
    for (int64_t s = chunk * kCountsAThread; s < last(chunk); ++s) sum += places[s];
    sums[chunk] = sum;
  });
  Device::ForEach(1, stream, [=] FORESHADOW_PORTABLE(int64_t) {
    int64_t sum = 0;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const int64_t count = sums[chunk];
      sums[chunk] = sum;
      sum += count;
    }
    *total = sum;
  });
  Device::ForEach(chunks, stream, [=] FORESHADOW_PORTABLE(int64_t chunk) {
    int64_t sum = sums[chunk];
    for (int64_t s = chunk * kCountsAThread; s < last(chunk); ++s) {
      const int64_t count = places[s];
      places[s] = sum;
      sum += count;
    }
  });
}

template <typename Device>
void Events(const EventArgs& args) {
  CheckEvents(args);
  const EventLaunch launch = PlaceEvents<Device>(args);
  FORESHADOW_CHECK(args.workspace.size() >= launch.bytes);
  const EventPlan plan = launch.plan;
  const EventState state = launch.state;
  const int64_t series = args.remainder.series;
  if (launch.is_shared) {
    Device::Launch(launch.blocks, kEventThreads,
                   static_cast<size_t>(kEventTile * launch.layout.pitch) * sizeof(float),
                   args.stream,
                   MeasureEvents<true>{args, plan, state, launch.layout, launch.blocks, nullptr});
  } else {
    Device::Launch(
        launch.blocks, kEventThreads, 0, args.stream,
        MeasureEvents<false>{args, plan, state, launch.layout, launch.blocks, launch.tiles});
  }
  Device::ForEach(series, args.stream, [=] FORESHADOW_PORTABLE(int64_t s) {
    int64_t count = 0;
    auto sink = [&](const Event&) { ++count; };
    WalkSeries(args, plan, state, s, sink);
    state.places[s] = count;
  });
  ScanCounts<Device>(launch, series, args.events_count, args.stream);
  const auto room = static_cast<int64_t>(args.events.size());
  Event* events = args.events.data();
  Device::ForEach(series, args.stream, [=] FORESHADOW_PORTABLE(int64_t s) {
    int64_t at = state.places[s];
    const int64_t end = s + 1 < series ? state.places[s + 1] : *args.events_count;
    if (at == end || at >= room) return;
    auto sink = [&](const Event& event) {
      if (at < room) events[at] = event;
      ++at;
    };
    WalkSeries(args, plan, state, s, sink);
  });
}

}  // namespace foreshadow::kernels::cuda
