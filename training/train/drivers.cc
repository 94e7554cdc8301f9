#include "training/train/drivers.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string_view>
#include <unordered_map>

#include "kernels/ops.h"
#include "models/leads.h"
#include "training/workspace.h"

namespace foreshadow::training {
namespace {

constexpr int64_t kChunkPairs = 64;
constexpr int64_t kHourMs = 3'600'000;

struct Pair {
  int64_t leader;
  int64_t follower;
};

std::vector<Pair> PairsOf(const SeriesSet& set) {
  std::unordered_map<std::string_view, int64_t> leaders;
  for (int64_t s = 0; s < set.series() && !set.accounts.empty(); ++s) {
    if (set.signals[s] == models::SignalKind::kMutationRate) leaders[set.accounts[s]] = s;
  }
  std::vector<Pair> pairs;
  for (int64_t s = 0; s < set.series() && !leaders.empty(); ++s) {
    const auto leader = leaders.find(set.accounts[s]);
    if (leader != leaders.end() && leader->second != s) pairs.push_back({leader->second, s});
  }
  return pairs;
}

// What chunk after chunk is worked out in, [step][pair].
struct Scratch {
  std::vector<float> leader, follower;
  std::vector<int32_t> lag;
  std::vector<float> correlation, p_value;
  std::vector<kernels::SeriesStatus> status;
};

void FindInChunk(const SeriesSet& set, std::span<const Pair> pairs, int64_t begin, int64_t end,
                 Scratch& scratch, std::vector<models::Driver>& drivers) {
  const auto count = static_cast<int64_t>(pairs.size());
  const int64_t steps = end - begin - 1;
  const auto cells = static_cast<size_t>(steps * count);
  scratch.leader.resize(cells);
  scratch.follower.resize(cells);
  for (int64_t t = 0; t < steps; ++t) {
    const float* row = set.values.data() + (begin + t) * set.series();
    const float* next = row + set.series();
    for (int64_t i = 0; i < count; ++i) {
      scratch.leader[t * count + i] = next[pairs[i].leader] - row[pairs[i].leader];
      scratch.follower[t * count + i] = next[pairs[i].follower] - row[pairs[i].follower];
    }
  }
  scratch.lag.resize(pairs.size());
  scratch.correlation.resize(pairs.size());
  scratch.p_value.resize(pairs.size());
  scratch.status.resize(pairs.size());
  kernels::LagArgs args;
  args.leader = {scratch.leader.data(), steps, count, count};
  args.follower = {scratch.follower.data(), steps, count, count};
  args.max_lag = static_cast<int>(kHourMs / set.step_ms);
  args.lag = scratch.lag;
  args.correlation = scratch.correlation;
  args.p_value = scratch.p_value;
  args.status = scratch.status;
  const kernels::Ops& ops = kernels::CpuOps();
  Workspace workspace(ops.lags_workspace_bytes(args));
  args.workspace = workspace.span();
  ops.lags(args);
  for (int64_t i = 0; i < count; ++i) {
    const bool found = scratch.status[i] == kernels::SeriesStatus::kOk &&
                       models::IsLead(scratch.lag[i], scratch.p_value[i]);
    if (!found) continue;
    drivers[pairs[i].follower] = {static_cast<int32_t>(pairs[i].leader), scratch.lag[i],
                                  scratch.correlation[i]};
  }
}

}  // namespace

std::vector<models::Driver> FindDrivers(const SeriesSet& set, int64_t end) {
  std::vector<models::Driver> drivers(static_cast<size_t>(set.series()));
  const int64_t begin = std::max<int64_t>(0, end - kDriverMemoryMs / set.step_ms);
  const std::vector<Pair> pairs = PairsOf(set);
  if (end - begin < 2) return drivers;
  Scratch scratch;
  for (int64_t first = 0; first < std::ssize(pairs); first += kChunkPairs) {
    const auto count = std::min<int64_t>(kChunkPairs, std::ssize(pairs) - first);
    FindInChunk(set, std::span(pairs).subspan(first, count), begin, end, scratch, drivers);
  }
  return drivers;
}

}  // namespace foreshadow::training
