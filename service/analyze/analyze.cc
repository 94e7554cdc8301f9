#include "service/analyze/analyze.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <span>
#include <string_view>
#include <utility>

#include "kernels/algo/strength.h"
#include "kernels/ops.h"

namespace foreshadow {
namespace {

using kernels::SeriesStatus;
using kernels::StepMajor;

constexpr int64_t kBlockAccounts = 64;  // 320 series at once: wide enough for SIMD, fits in cache
constexpr size_t kEventsKept = 8;       // newest spikes, and shifts, remembered a series
constexpr int kEventRoom = 64 * 1024;   // events of one block of accounts

// Scratch of one Analyze call, grown as needed and kept for the next block.
struct Scratch {
  std::vector<std::byte> bytes;

  std::span<std::byte> Aligned(size_t size) {
    constexpr size_t kAlignment = 64;
    if (bytes.size() < size + kAlignment) bytes.resize(size + kAlignment);
    const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
    return {bytes.data() + (kAlignment - address % kAlignment) % kAlignment, size};
  }
};

// A dense batch of its own.
struct Matrix {
  std::vector<float> values;
  int64_t steps = 0;
  int64_t series = 0;

  Matrix(int64_t steps_count, int64_t series_count)
      : values(static_cast<size_t>(steps_count * series_count),
               std::numeric_limits<float>::quiet_NaN()),
        steps(steps_count),
        series(series_count) {}
  StepMajor<float> view() { return {values.data(), steps, series, series}; }
};

// Columns of a batch, side by side; row by row, as both lie in memory.
void Gather(StepMajor<const float> from, std::span<const int64_t> columns, StepMajor<float> to) {
  for (int64_t step = 0; step < from.steps; ++step) {
    for (size_t i = 0; i < columns.size(); ++i) {
      to.at(step, static_cast<int64_t>(i)) = from.at(step, columns[i]);
    }
  }
}

// One block of accounts on its way through the analysis.
struct Block {
  const kernels::Ops& ops;
  const AnalyzeSettings& settings;
  StepMajor<const float> observed;  // [steps][series of the block]
  int64_t end_ms;
  int64_t step_ms;
  std::span<SeriesPattern> patterns;
  std::span<int32_t> period_steps;
  Matrix residual;                    // remainder where there is a season, else the series itself
  Matrix level;                       // the series without its season
  StepMajor<float> lag_correlations;  // [lags][accounts * kResources of the block]
  StepMajor<float> lag_effective_pairs;
  Scratch& scratch;
};

void FindPeriods(Block& b) {
  const auto n = static_cast<size_t>(b.observed.series);
  constexpr int kPeriods = 3;
  std::vector<int32_t> periods(n * kPeriods);
  std::vector<float> strengths(n * kPeriods);
  std::vector<SeriesStatus> status(n);
  kernels::PeriodArgs args;
  args.observed = b.observed;
  args.significance = static_cast<float>(b.settings.period_significance);
  args.max_periods = kPeriods;
  args.periods = periods;
  args.strengths = strengths;
  args.status = status;
  args.workspace = b.scratch.Aligned(b.ops.periods_workspace_bytes(args));
  b.ops.periods(args);
  for (size_t s = 0; s < n; ++s) {
    const bool ok = status[s] == SeriesStatus::kOk;
    for (int k = 0; k < kPeriods; ++k) {
      b.patterns[s].periods[k] = ok ? periods[s * kPeriods + k] : 0;
      b.patterns[s].strengths[k] = ok ? strengths[s * kPeriods + k] : 0;
    }
    b.period_steps[s] = b.patterns[s].periods[0];
  }
}

// STL of the block's series that share a period.
void Decompose(Block& b, int32_t period, std::span<const int64_t> members) {
  const auto n = static_cast<int64_t>(members.size());
  Matrix observed(b.observed.steps, n);
  Matrix seasonal(b.observed.steps, n);
  Matrix trend(b.observed.steps, n);
  Matrix remainder(b.observed.steps, n);
  Gather(b.observed, members, observed.view());
  std::vector<SeriesStatus> status(members.size());
  kernels::StlArgs args;
  args.params.period = period;
  if (!b.ops.stl_check(args.params, b.observed.steps).empty()) return;
  args.observed = observed.view();
  args.seasonal = seasonal.view();
  args.trend = trend.view();
  args.remainder = remainder.view();
  args.status = status;
  args.workspace = b.scratch.Aligned(b.ops.stl_workspace_bytes(args.params, b.observed.steps, n));
  b.ops.stl(args);
  std::vector<int64_t> done;  // of members
  for (int64_t i = 0; i < n; ++i) {
    if (status[i] != SeriesStatus::kOk) continue;
    done.push_back(i);
    SeriesPattern& pattern = b.patterns[members[i]];
    const int64_t last = b.observed.steps - 1;
    const int64_t span = std::min<int64_t>(period, last);
    pattern.trend_per_step =
        (trend.view().at(last, i) - trend.view().at(last - span, i)) / static_cast<float>(span);
    pattern.seasonal_strength =
        static_cast<float>(kernels::SeasonalStrength(seasonal.view(), remainder.view(), i));
  }
  for (int64_t step = 0; step < b.observed.steps; ++step) {
    for (const int64_t i : done) {
      b.residual.view().at(step, members[i]) = remainder.view().at(step, i);
      b.level.view().at(step, members[i]) -= seasonal.view().at(step, i);
    }
  }
}

void DecomposeAll(Block& b) {
  for (int64_t step = 0; step < b.observed.steps; ++step) {
    const float* row = &b.observed.at(step, 0);
    std::copy_n(row, b.observed.series, &b.residual.view().at(step, 0));
    std::copy_n(row, b.observed.series, &b.level.view().at(step, 0));
  }
  std::map<int32_t, std::vector<int64_t>> by_period;
  for (int64_t s = 0; s < b.observed.series; ++s) {
    b.patterns[s].trend_per_step = 0;
    b.patterns[s].seasonal_strength = 0;
    if (b.period_steps[s] > 0) by_period[b.period_steps[s]].push_back(s);
  }
  for (const auto& [period, members] : by_period) Decompose(b, period, members);
}

template <typename T>
void KeepNewest(std::vector<T>& kept, const T& event) {
  if (kept.size() == kEventsKept) kept.erase(kept.begin());
  kept.push_back(event);
}

void FindEvents(Block& b) {
  const auto n = static_cast<size_t>(b.observed.series);
  std::vector<float> scale(n);
  std::vector<float> threshold(n);
  std::vector<SeriesStatus> status(n);
  std::vector<kernels::Event> events(kEventRoom);
  int64_t found = 0;
  kernels::EventArgs args;
  args.remainder = b.residual.view();
  args.level = b.level.view();
  args.false_alarms = static_cast<float>(b.settings.spike_false_alarms);
  args.scale = scale;
  args.threshold = threshold;
  args.events = events;
  args.events_count = &found;
  args.status = status;
  args.workspace = b.scratch.Aligned(b.ops.events_workspace_bytes(args));
  b.ops.events(args);
  for (SeriesPattern& pattern : b.patterns) {
    pattern.spikes.clear();
    pattern.level_shifts.clear();
  }
  events.resize(static_cast<size_t>(std::min<int64_t>(found, kEventRoom)));
  const int64_t start_ms = b.end_ms - (b.observed.steps - 1) * b.step_ms;
  for (const kernels::Event& event : events) {
    SeriesPattern& pattern = b.patterns[event.series];
    const int64_t onset_ms = start_ms + event.onset * b.step_ms;
    if (event.kind == kernels::EventKind::kSpike) {
      KeepNewest(pattern.spikes, {onset_ms, event.duration, event.height, event.shape});
    } else {
      KeepNewest(pattern.level_shifts,
                 {onset_ms, event.duration, event.before, event.after, event.score});
    }
  }
}

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

// The mutation rate of each account against each of its resources.
void FindLags(Block& b) {
  const int64_t accounts = b.observed.series / kSignals;
  const int64_t pairs = accounts * kResources;
  Matrix leader(b.observed.steps, pairs);
  Matrix follower(b.observed.steps, pairs);
  std::vector<int64_t> leaders;
  std::vector<int64_t> followers;
  for (int64_t a = 0; a < accounts; ++a) {
    for (int r = 0; r < kResources; ++r) {
      leaders.push_back(SeriesOf(a, SignalKind::kMutationRate));
      followers.push_back(SeriesOf(a, static_cast<SignalKind>(r)));
    }
  }
  Gather(b.residual.view(), leaders, leader.view());
  Gather(b.residual.view(), followers, follower.view());
  const auto n = static_cast<size_t>(pairs);
  std::vector<int32_t> lag(n);
  std::vector<float> correlation(n);
  std::vector<float> p_value(n);
  std::vector<SeriesStatus> status(n);
  kernels::LagArgs args;
  args.leader = leader.view();
  args.follower = follower.view();
  args.max_lag = b.settings.lag_steps_max;
  args.lag = lag;
  args.correlation = correlation;
  args.p_value = p_value;
  args.status = status;
  args.correlations = b.lag_correlations;
  args.effective_pairs = b.lag_effective_pairs;
  args.workspace = b.scratch.Aligned(b.ops.lags_workspace_bytes(args));
  b.ops.lags(args);
  for (size_t i = 0; i < n; ++i) {
    SeriesPattern& pattern = b.patterns[SeriesOf(static_cast<int64_t>(i) / kResources,
                                                 static_cast<SignalKind>(i % kResources))];
    const bool ok = status[i] == SeriesStatus::kOk;
    pattern.lag_steps = ok ? lag[i] : 0;
    pattern.lag_correlation = ok ? correlation[i] : 0;
    pattern.lag_p_value = ok ? p_value[i] : 1;
  }
}

void AnalyzeAccounts(const WindowView& window, const AnalyzeSettings& settings, int64_t first,
                     int64_t count, PatternMemory& memory, Scratch& scratch) {
  const int64_t series = first * kSignals;
  const int64_t series_count = count * kSignals;
  StepMajor<const float> observed = window.values;
  observed.data += series;
  observed.series = series_count;
  const auto of_block = [&](std::vector<float>& table) {
    return StepMajor<float>{table.data() + first * kResources, memory.lags.lags, count * kResources,
                            memory.lags.pairs};
  };
  const kernels::Ops& ops = kernels::CpuOps();
  ops.naive_scale(
      {observed, /*season=*/1, std::span(memory.naive_scale).subspan(series, series_count)});
  Block block{ops,
              settings,
              observed,
              window.end_ms,
              window.step_ms,
              std::span(*memory.series).subspan(series, series_count),
              std::span(memory.period_steps).subspan(series, series_count),
              Matrix(observed.steps, series_count),
              Matrix(observed.steps, series_count),
              of_block(memory.lags.correlations),
              of_block(memory.lags.effective_pairs),
              scratch};
  FindPeriods(block);
  DecomposeAll(block);
  FindEvents(block);
  FindLags(block);
}

}  // namespace

void Analyze(const WindowView& window, const AnalyzeSettings& settings, uint64_t tick_count,
             PatternMemory& memory, const models::Stop& stop) {
  const int64_t series = window.values.series;
  const int64_t accounts = series / kSignals;
  if (memory.series.use_count() > 1) {
    memory.series = std::make_shared<std::vector<SeriesPattern>>(*memory.series);
  }
  memory.series->resize(static_cast<size_t>(series));
  memory.period_steps.resize(static_cast<size_t>(series), 0);
  memory.naive_scale.resize(static_cast<size_t>(series), 0);
  Grow(int64_t{settings.lag_steps_max} + 1, accounts * kResources, memory.lags);

  std::vector<int64_t> due;  // first accounts of blocks
  const auto rota = static_cast<uint64_t>(settings.rota_ticks);
  for (int64_t first = 0; first < accounts; first += kBlockAccounts) {
    const int64_t count = std::min(kBlockAccounts, accounts - first);
    const bool its_turn = static_cast<uint64_t>(first / kBlockAccounts) % rota == tick_count % rota;
    if (its_turn || first + count > memory.analyzed_accounts) due.push_back(first);
  }
  const int threads = models::ThreadCount(0);
  std::vector<Scratch> scratches(static_cast<size_t>(threads));
  const auto work = [&](int64_t at, int64_t, int worker) {
    const int64_t count = std::min(kBlockAccounts, accounts - due[at]);
    AnalyzeAccounts(window, settings, due[at], count, memory, scratches[worker]);
  };
  models::ForChunks(std::ssize(due), 1, threads, work, stop);
  memory.analyzed_accounts = accounts;
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
  Scratch scratch;
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
    args.workspace = scratch.Aligned(kernels::CpuOps().periods_workspace_bytes(args));
    kernels::CpuOps().periods(args);
  }
  for (size_t s = 0; s < periods.size(); ++s) {
    if (status[s] != SeriesStatus::kOk) periods[s] = 0;
  }
  return periods;
}

}  // namespace foreshadow
