#include "service/analyze/analyze.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <new>
#include <span>
#include <string_view>
#include <utility>

#include "kernels/check.h"
#include "kernels/ops.h"
#include "service/analyze/block.h"

namespace foreshadow {
namespace {

using kernels::SeriesStatus;
using kernels::StepMajor;

constexpr int64_t kBlockAccounts = 64;  // 320 series at once: wide enough for SIMD, fits in cache

// The memory that the analysis of some accounts takes at its height, in batches of their series.
constexpr int64_t kBatchesHeld = 16;

// Room for more accounts; what is known of the others stays.
void Grow(int64_t lags, int64_t pairs, LagTables& tables) {
  if (tables.lags == lags && tables.pairs == pairs) return;
  const int64_t kept = tables.lags == lags ? std::min(tables.pairs, pairs) : 0;
  for (std::vector<float>* table : {&tables.correlations, &tables.effective_pairs}) {
    std::vector<float> grown(static_cast<size_t>(lags * pairs), 0);
    for (int64_t lag = 0; lag < lags && kept > 0; ++lag) {
      std::copy_n(table->begin() + lag * tables.pairs, kept, grown.begin() + lag * pairs);
    }
    *table = std::move(grown);
  }
  tables.lags = lags;
  tables.pairs = pairs;
}

// The accounts first..first+count-1.
struct Range {
  int64_t first;
  int64_t count;
};

// Makes room for the accounts of the window, and gives the blocks that are due.
std::vector<Range> Prepare(const WindowView& window, const AnalyzeSettings& settings,
                           uint64_t tick_count, PatternMemory& memory) {
  const int64_t series = window.values.series;
  const int64_t accounts = series / kSignals;
  if (memory.series.use_count() > 1) {
    memory.series = std::make_shared<std::vector<SeriesPattern>>(*memory.series);
  }
  memory.series->resize(static_cast<size_t>(series));
  memory.period_steps.resize(static_cast<size_t>(series), 0);
  memory.naive_scale.resize(static_cast<size_t>(series), 0);
  Grow(int64_t{settings.lag_steps_max} + 1, accounts * kResources, memory.lags);

  std::vector<Range> due;
  const auto rota = static_cast<uint64_t>(settings.rota_ticks);
  for (int64_t first = 0; first < accounts; first += kBlockAccounts) {
    const int64_t count = std::min(kBlockAccounts, accounts - first);
    const bool its_turn = static_cast<uint64_t>(first / kBlockAccounts) % rota == tick_count % rota;
    if (its_turn || first + count > memory.analyzed_accounts) due.push_back({first, count});
  }
  return due;
}

std::vector<int32_t> AccountsOf(std::span<const Range> ranges) {
  std::vector<int32_t> accounts;
  for (const Range& range : ranges) {
    for (int64_t i = 0; i < range.count; ++i) {
      accounts.push_back(static_cast<int32_t>(range.first + i));
    }
  }
  return accounts;
}

// The series of those accounts, gathered out of the whole window.
absl::Status AnalyzeOnDevice(const WindowView& window, std::span<const Range> ranges,
                             const AnalyzeSettings& settings, Arena& arena, PatternMemory& memory) {
  arena.Clear();
  const std::vector<int32_t> accounts = AccountsOf(ranges);
  std::vector<int32_t> columns;
  for (const int32_t account : accounts) {
    for (int32_t signal = 0; signal < kSignals; ++signal) {
      columns.push_back(account * kSignals + signal);
    }
  }
  const StepMajor<float> observed = arena.TakeBatch(window.values.steps, std::ssize(columns));
  arena.ops().gather({window.values, arena.Bring(columns), observed});
  return AnalyzeBlock({accounts, observed, window.end_ms, window.step_ms}, settings, arena, memory);
}

}  // namespace

void Analyze(const WindowView& window, const AnalyzeSettings& settings, uint64_t tick_count,
             PatternMemory& memory, const models::Stop& stop) {
  const std::vector<Range> due = Prepare(window, settings, tick_count, memory);
  const int threads = models::ThreadCount(0);
  std::vector<Arena> arenas;
  arenas.reserve(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i) arenas.emplace_back(kernels::CpuOps());
  const auto work = [&](int64_t at, int64_t, int worker) {
    const Range& range = due[at];
    StepMajor<const float> observed = window.values;
    observed.data += range.first * kSignals;
    observed.series = range.count * kSignals;
    arenas[worker].Clear();
    const absl::Status status =
        AnalyzeBlock({AccountsOf({&range, 1}), observed, window.end_ms, window.step_ms}, settings,
                     arenas[worker], memory);
    FORESHADOW_CHECK(status.ok());  // the CPU has nothing to report
  };
  models::ForChunks(std::ssize(due), 1, threads, work, stop);
  memory.analyzed_accounts = window.values.series / kSignals;
}

absl::Status AnalyzeOn(AnalyzeDevice& device, const Window& window, const AnalyzeSettings& settings,
                       uint64_t tick_count, PatternMemory& memory, const models::Stop& stop) {
  absl::Status status = device.window.Follow(window);
  if (!status.ok()) return status;
  const WindowView view = device.window.view();
  const std::vector<Range> due = Prepare(window.view(), settings, tick_count, memory);
  const int64_t batch_bytes =
      std::max<int64_t>(1, view.values.steps) * kBlockAccounts * kSignals * int64_t{sizeof(float)};
  const int64_t most = std::max<int64_t>(1, device.work_bytes / (kBatchesHeld * batch_bytes));
  try {
    for (int64_t at = 0; at < std::ssize(due) && !(stop && stop()); at += most) {
      const auto count = static_cast<size_t>(std::min(most, std::ssize(due) - at));
      status =
          AnalyzeOnDevice(view, std::span(due).subspan(at, count), settings, device.arena, memory);
      if (!status.ok()) break;
    }
  } catch (const std::bad_alloc&) {
    status = absl::ResourceExhaustedError("no room to work in");
  }
  if (!status.ok()) {
    device.window.Drop();
    device.arena.Drop();
    return status;
  }
  memory.analyzed_accounts = window.series() / kSignals;
  return status;
}

void PoolLeads(const Fleet& fleet, const AnalyzeSettings& settings, uint64_t tick_count,
               PatternMemory& memory) {
  const auto rota = static_cast<uint64_t>(settings.rota_ticks);
  const bool its_turn = tick_count % rota == rota - 1;
  if (!its_turn && memory.pooled_pairs == memory.lags.pairs) return;
  memory.pooled_pairs = memory.lags.pairs;
  std::map<std::pair<std::string_view, int>, std::vector<int32_t>> groups;
  const auto accounts = static_cast<size_t>(memory.lags.pairs / kResources);
  for (size_t a = 0; a < accounts; ++a) {
    const std::string& application = fleet.accounts[a].application;
    if (application.empty()) continue;
    for (int r = 0; r < kResources; ++r) {
      groups[{application, r}].push_back(static_cast<int32_t>(a) * kResources + r);
    }
  }
  std::vector<int32_t> members;
  std::vector<int32_t> ends;
  for (const auto& [name, of_group] : groups) {
    members.insert(members.end(), of_group.begin(), of_group.end());
    ends.push_back(static_cast<int32_t>(members.size()));
  }
  const size_t n = ends.size();
  std::vector<int32_t> lag(n);
  std::vector<int32_t> pooled(n);
  std::vector<float> correlation(n);
  std::vector<float> p_value(n);
  std::vector<float> heterogeneity(n);
  std::vector<float> heterogeneity_p_value(n);
  std::vector<SeriesStatus> status(n);
  kernels::LagPoolArgs args;
  const LagTables& lags = memory.lags;
  args.correlations = {lags.correlations.data(), lags.lags, lags.pairs, lags.pairs};
  args.effective_pairs = {lags.effective_pairs.data(), lags.lags, lags.pairs, lags.pairs};
  args.members = members;
  args.group_ends = ends;
  args.lag = lag;
  args.correlation = correlation;
  args.p_value = p_value;
  args.heterogeneity = heterogeneity;
  args.heterogeneity_p_value = heterogeneity_p_value;
  args.members_pooled = pooled;
  args.status = status;
  kernels::CpuOps().lag_pool(args);
  std::vector<PooledLead> leads;
  size_t g = 0;
  for (const auto& [name, of_group] : groups) {
    if (status[g] == SeriesStatus::kOk) {
      leads.push_back({std::string(name.first), static_cast<SignalKind>(name.second), pooled[g],
                       lag[g], correlation[g], p_value[g], heterogeneity[g],
                       heterogeneity_p_value[g]});
    }
    ++g;
  }
  memory.pooled_leads = std::make_shared<const std::vector<PooledLead>>(std::move(leads));
}

std::vector<int32_t> StrongestPeriods(StepMajor<const float> observed, double significance) {
  std::vector<int32_t> periods(static_cast<size_t>(observed.series));
  std::vector<float> strengths(periods.size());
  std::vector<SeriesStatus> status(periods.size());
  constexpr int64_t kBlockSeries = kBlockAccounts * kSignals;
  Arena arena(kernels::CpuOps());
  for (int64_t first = 0; first < observed.series; first += kBlockSeries) {
    const auto count = static_cast<size_t>(std::min(kBlockSeries, observed.series - first));
    kernels::PeriodArgs args;
    args.observed = {observed.data + first, observed.steps, static_cast<int64_t>(count),
                     observed.stride};
    args.significance = static_cast<float>(significance);
    args.max_periods = 1;
    args.periods = std::span(periods).subspan(first, count);
    args.strengths = std::span(strengths).subspan(first, count);
    args.status = std::span(status).subspan(first, count);
    arena.Clear();
    args.workspace = arena.Take<std::byte>(kernels::CpuOps().periods_workspace_bytes(args));
    kernels::CpuOps().periods(args);
  }
  for (size_t s = 0; s < periods.size(); ++s) {
    if (status[s] != SeriesStatus::kOk) periods[s] = 0;
  }
  return periods;
}

}  // namespace foreshadow
