#include "service/analyze/block.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "kernels/ops.h"

namespace foreshadow {
namespace {

using kernels::SeriesStatus;
using kernels::StepMajor;

constexpr int kPeriods = 3;         // of a series
constexpr size_t kEventsKept = 8;   // newest spikes, and shifts, remembered a series
constexpr size_t kEventRoom = 205;  // a series, on average over the block

// One block on its way through the analysis. Each part queues its operations; what they say is kept
// after the wait.
struct Work {
  const AccountBlock& block;
  const AnalyzeSettings& settings;
  Arena& arena;
  PatternMemory& memory;

  const kernels::Ops& ops() const { return arena.ops(); }
  const StepMajor<const float>& observed() const { return block.observed; }
  size_t series() const { return static_cast<size_t>(block.observed.series); }
  // Of the fleet, from that of the block.
  size_t OfFleet(size_t series) const {
    return static_cast<size_t>(block.accounts[series / kSignals]) * kSignals + series % kSignals;
  }
  SeriesPattern& pattern(size_t series) const { return (*memory.series)[OfFleet(series)]; }
  StepMajor<float> Batch(size_t width) const {
    return arena.TakeBatch(block.observed.steps, static_cast<int64_t>(width));
  }
  absl::Status Wait() const {
    const std::string_view wrong = ops().wait(nullptr);
    return wrong.empty() ? absl::OkStatus() : absl::InternalError(std::string(wrong));
  }
};

struct Scales {
  Result<float> naive;  // [series]
};

Scales QueueScales(const Work& w) {
  Scales found{{w.arena, w.series()}};
  w.ops().naive_scale({w.observed(), /*season=*/1, found.naive.there()});
  found.naive.Fetch();
  return found;
}

void Keep(const Work& w, const Scales& found) {
  for (size_t s = 0; s < w.series(); ++s) {
    w.memory.naive_scale[w.OfFleet(s)] = found.naive.here()[s];
  }
}

struct Periods {
  Result<int32_t> periods;  // [series][kPeriods]
  Result<float> strengths;
  Result<SeriesStatus> status;  // [series]
};

Periods QueuePeriods(const Work& w) {
  const size_t n = w.series();
  Periods found{{w.arena, n * kPeriods}, {w.arena, n * kPeriods}, {w.arena, n}};
  const Arena::Mark mark = w.arena.mark();
  kernels::PeriodArgs args;
  args.observed = w.observed();
  args.significance = static_cast<float>(w.settings.period_significance);
  args.max_periods = kPeriods;
  args.periods = found.periods.there();
  args.strengths = found.strengths.there();
  args.status = found.status.there();
  args.workspace = w.arena.Take<std::byte>(w.ops().periods_workspace_bytes(args));
  w.ops().periods(args);
  w.arena.Back(mark);
  found.periods.Fetch();
  found.strengths.Fetch();
  found.status.Fetch();
  return found;
}

void Keep(const Work& w, const Periods& found) {
  for (size_t s = 0; s < w.series(); ++s) {
    const bool ok = found.status.here()[s] == SeriesStatus::kOk;
    SeriesPattern& pattern = w.pattern(s);
    for (size_t k = 0; k < kPeriods; ++k) {
      pattern.periods[k] = ok ? found.periods.here()[s * kPeriods + k] : 0;
      pattern.strengths[k] = ok ? found.strengths.here()[s * kPeriods + k] : 0;
    }
    w.memory.period_steps[w.OfFleet(s)] = pattern.periods[0];
  }
}

// The series that share a period, of which STL makes something at that length.
std::map<int32_t, std::vector<int32_t>> ByPeriod(const Work& w) {
  std::map<int32_t, std::vector<int32_t>> groups;
  for (size_t s = 0; s < w.series(); ++s) {
    const int32_t period = w.memory.period_steps[w.OfFleet(s)];
    if (period > 0) groups[period].push_back(static_cast<int32_t>(s));
  }
  std::erase_if(groups, [&](const auto& group) {
    kernels::StlParams params;
    params.period = group.first;
    return !w.ops().stl_check(params, w.observed().steps).empty();
  });
  return groups;
}

struct Seasons {
  StepMajor<float> residual;     // remainder where there is a season, else the series itself
  StepMajor<float> level;        // the series without its season
  std::vector<int32_t> members;  // series of the block, period after period
  Result<float> slope;           // [member]
  Result<float> strength;
};

// STL of the members first..first+count-1, which share a period.
void QueueStl(const Work& w, int32_t period, size_t first, size_t count,
              std::span<const int32_t> members, const Seasons& found) {
  const Arena::Mark mark = w.arena.mark();
  const std::span<const int32_t> columns = members.subspan(first, count);
  const StepMajor<float> observed = w.Batch(count);
  w.ops().gather({w.observed(), columns, observed});
  kernels::StlArgs args;
  args.params.period = period;
  args.observed = observed;
  args.seasonal = w.Batch(count);
  args.trend = w.Batch(count);
  args.remainder = w.Batch(count);
  args.status = w.arena.Take<SeriesStatus>(count);
  args.workspace = w.arena.Take<std::byte>(
      w.ops().stl_workspace_bytes(args.params, observed.steps, observed.series));
  w.ops().stl(args);
  kernels::DeseasonArgs out;
  out.slope_steps = static_cast<int32_t>(std::min<int64_t>(period, observed.steps - 1));
  out.seasonal = args.seasonal;
  out.trend = args.trend;
  out.remainder = args.remainder;
  out.decomposed = args.status;
  out.columns = columns;
  out.residual = found.residual;
  out.level = found.level;
  out.slope = found.slope.there().subspan(first, count);
  out.strength = found.strength.there().subspan(first, count);
  w.ops().deseason(out);
  w.arena.Back(mark);
}

Seasons QueueSeasons(const Work& w) {
  const auto groups = ByPeriod(w);
  std::vector<int32_t> members;
  for (const auto& [period, group] : groups) {
    members.insert(members.end(), group.begin(), group.end());
  }
  const size_t count = members.size();
  Seasons found{w.Batch(w.series()),
                w.Batch(w.series()),
                std::move(members),
                {w.arena, count},
                {w.arena, count}};
  w.ops().gather({w.observed(), {}, found.residual});
  w.ops().gather({w.observed(), {}, found.level});
  const std::span<const int32_t> there = w.arena.Bring(found.members);
  size_t first = 0;
  for (const auto& [period, group] : groups) {
    QueueStl(w, period, first, group.size(), there, found);
    first += group.size();
  }
  found.slope.Fetch();
  found.strength.Fetch();
  return found;
}

void Keep(const Work& w, const Seasons& found) {
  for (size_t s = 0; s < w.series(); ++s) {
    w.pattern(s).trend_per_step = 0;
    w.pattern(s).seasonal_strength = 0;
  }
  for (size_t i = 0; i < found.members.size(); ++i) {
    SeriesPattern& pattern = w.pattern(static_cast<size_t>(found.members[i]));
    pattern.trend_per_step = found.slope.here()[i];
    pattern.seasonal_strength = found.strength.here()[i];
  }
}

struct Events {
  Result<kernels::Event> events;
  Result<int64_t> count;  // [1]
};

Events QueueEvents(const Work& w, const Seasons& seasons) {
  const size_t n = w.series();
  Events found{{w.arena, n * kEventRoom}, {w.arena, 1}};
  kernels::EventArgs args;
  args.remainder = seasons.residual;
  args.level = seasons.level;
  args.false_alarms = static_cast<float>(w.settings.spike_false_alarms);
  const Arena::Mark mark = w.arena.mark();
  args.scale = w.arena.Take<float>(n);
  args.threshold = w.arena.Take<float>(n);
  args.events = found.events.there();
  args.events_count = found.count.there().data();
  args.status = w.arena.Take<SeriesStatus>(n);
  args.workspace = w.arena.Take<std::byte>(w.ops().events_workspace_bytes(args));
  w.ops().events(args);
  w.arena.Back(mark);
  found.count.Fetch();
  return found;
}

template <typename T>
void KeepNewest(std::vector<T>& kept, const T& event) {
  if (kept.size() == kEventsKept) kept.erase(kept.begin());
  kept.push_back(event);
}

void Keep(const Work& w, std::span<const kernels::Event> events) {
  for (size_t s = 0; s < w.series(); ++s) {
    w.pattern(s).spikes.clear();
    w.pattern(s).level_shifts.clear();
  }
  const int64_t start_ms = w.block.end_ms - (w.observed().steps - 1) * w.block.step_ms;
  for (const kernels::Event& event : events) {
    SeriesPattern& pattern = w.pattern(static_cast<size_t>(event.series));
    const int64_t onset_ms = start_ms + event.onset * w.block.step_ms;
    if (event.kind == kernels::EventKind::kSpike) {
      KeepNewest(pattern.spikes, {onset_ms, event.duration, event.height, event.shape});
    } else {
      KeepNewest(pattern.level_shifts,
                 {onset_ms, event.duration, event.before, event.after, event.score});
    }
  }
}

struct Lags {
  size_t lags;
  std::vector<int32_t> leaders;  // [account * kResources + resource] series of the block
  std::vector<int32_t> followers;
  Result<int32_t> lag;  // [pair]
  Result<float> correlation;
  Result<float> p_value;
  Result<SeriesStatus> status;
  Result<float> correlations;  // [lag][pair]
  Result<float> effective_pairs;
};

// The mutation rate of each account against each of its resources.
Lags QueueLags(const Work& w, const Seasons& seasons) {
  std::vector<int32_t> leaders;
  std::vector<int32_t> followers;
  for (int64_t a = 0; a < std::ssize(w.block.accounts); ++a) {
    for (int r = 0; r < kResources; ++r) {
      leaders.push_back(static_cast<int32_t>(SeriesOf(a, SignalKind::kMutationRate)));
      followers.push_back(static_cast<int32_t>(SeriesOf(a, static_cast<SignalKind>(r))));
    }
  }
  const size_t n = leaders.size();
  const size_t lags = static_cast<size_t>(w.settings.lag_steps_max) + 1;
  Lags found{lags,         std::move(leaders),  std::move(followers),
             {w.arena, n}, {w.arena, n},        {w.arena, n},
             {w.arena, n}, {w.arena, lags * n}, {w.arena, lags * n}};
  const StepMajor<float> leader = w.Batch(n);
  const StepMajor<float> follower = w.Batch(n);
  w.ops().gather({seasons.residual, w.arena.Bring(found.leaders), leader});
  w.ops().gather({seasons.residual, w.arena.Bring(found.followers), follower});
  const auto table = [&](const Result<float>& of) -> StepMajor<float> {
    const auto width = static_cast<int64_t>(n);
    return {of.there().data(), static_cast<int64_t>(lags), width, width};
  };
  kernels::LagArgs args;
  args.leader = leader;
  args.follower = follower;
  args.max_lag = w.settings.lag_steps_max;
  args.lag = found.lag.there();
  args.correlation = found.correlation.there();
  args.p_value = found.p_value.there();
  args.status = found.status.there();
  args.correlations = table(found.correlations);
  args.effective_pairs = table(found.effective_pairs);
  args.workspace = w.arena.Take<std::byte>(w.ops().lags_workspace_bytes(args));
  w.ops().lags(args);
  found.lag.Fetch();
  found.correlation.Fetch();
  found.p_value.Fetch();
  found.status.Fetch();
  found.correlations.Fetch();
  found.effective_pairs.Fetch();
  return found;
}

void Keep(const Work& w, const Lags& found) {
  const size_t n = found.followers.size();
  for (size_t i = 0; i < n; ++i) {
    SeriesPattern& pattern = w.pattern(static_cast<size_t>(found.followers[i]));
    const bool ok = found.status.here()[i] == SeriesStatus::kOk;
    pattern.lag_steps = ok ? found.lag.here()[i] : 0;
    pattern.lag_correlation = ok ? found.correlation.here()[i] : 0;
    pattern.lag_p_value = ok ? found.p_value.here()[i] : 1;
  }
  LagTables& tables = w.memory.lags;
  for (size_t lag = 0; lag < found.lags; ++lag) {
    for (size_t i = 0; i < n; ++i) {
      const auto pair =
          static_cast<size_t>(w.block.accounts[i / kResources]) * kResources + i % kResources;
      const size_t at = lag * static_cast<size_t>(tables.pairs) + pair;
      tables.correlations[at] = found.correlations.here()[lag * n + i];
      tables.effective_pairs[at] = found.effective_pairs.here()[lag * n + i];
    }
  }
}

}  // namespace

absl::Status AnalyzeBlock(const AccountBlock& block, const AnalyzeSettings& settings, Arena& arena,
                          PatternMemory& memory) {
  const Work w{block, settings, arena, memory};
  const Scales scales = QueueScales(w);
  const Periods periods = QueuePeriods(w);
  if (absl::Status status = w.Wait(); !status.ok()) return status;
  Keep(w, periods);

  const Seasons seasons = QueueSeasons(w);
  Events events = QueueEvents(w, seasons);
  const Lags lags = QueueLags(w, seasons);
  if (absl::Status status = w.Wait(); !status.ok()) return status;

  const size_t found =
      std::min(static_cast<size_t>(events.count.here()[0]), events.events.there().size());
  events.events.Fetch(found);
  if (absl::Status status = w.Wait(); !status.ok()) return status;
  Keep(w, scales);
  Keep(w, seasons);
  Keep(w, events.events.here().first(found));
  Keep(w, lags);
  return absl::OkStatus();
}

}  // namespace foreshadow
