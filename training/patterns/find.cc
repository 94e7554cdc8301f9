#include "training/patterns/find.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <map>
#include <span>
#include <utility>

#include "training/workspace.h"

namespace foreshadow::training {
namespace {

using kernels::SeriesStatus;
using kernels::StepMajor;

void FindPeriods(const WideTable& table, const PatternOptions& options,
                 std::vector<Patterns>& found) {
  const kernels::Ops& ops = kernels::CpuOps();
  const auto kept = static_cast<size_t>(options.max_periods);
  std::vector<int32_t> periods(found.size() * kept);
  std::vector<float> strengths(found.size() * kept);
  std::vector<SeriesStatus> status(found.size());
  kernels::PeriodArgs args;
  args.observed = table.view();
  args.max_period = options.max_period;
  args.significance = static_cast<float>(options.significance);
  args.max_periods = options.max_periods;
  args.periods = periods;
  args.strengths = strengths;
  args.status = status;
  Workspace workspace(ops.periods_workspace_bytes(args));
  args.workspace = workspace.span();
  ops.periods(args);
  for (size_t s = 0; s < found.size(); ++s) {
    found[s].status = status[s];
    for (size_t k = s * kept; k < (s + 1) * kept && periods[k] > 0; ++k) {
      found[s].periods.push_back({periods[k], strengths[k]});
    }
  }
}

// A column without its season, and without season and trend.
struct Parts {
  std::vector<float> level;
  std::vector<float> remainder;
};

// Both are the column itself where it cannot be decomposed.
Parts TakeSeasonOut(const std::vector<float>& column, int32_t period) {
  const kernels::Ops& ops = kernels::CpuOps();
  const auto steps = static_cast<int64_t>(column.size());
  Parts parts{column, column};
  kernels::StlParams params;
  params.period = period;
  params.robust = true;  // a spike must not leak into the season it is measured against
  if (period == 0 || !ops.stl_check(params, steps).empty()) return parts;
  std::vector<float> seasonal(column.size());
  std::vector<float> trend(column.size());
  std::vector<float> remainder(column.size());
  const auto view = [&](auto& values) {
    using Sample = std::remove_pointer_t<decltype(values.data())>;
    return StepMajor<Sample>{values.data(), steps, 1, 1};
  };
  SeriesStatus status;
  Workspace workspace(ops.stl_workspace_bytes(params, steps, 1));
  ops.stl({params,
           view(column),
           view(seasonal),
           view(trend),
           view(remainder),
           {},
           {&status, 1},
           workspace.span()});
  if (status != SeriesStatus::kOk) return parts;
  for (size_t i = 0; i < column.size(); ++i) parts.level[i] -= seasonal[i];
  parts.remainder = std::move(remainder);
  return parts;
}

std::vector<float> ColumnOf(StepMajor<const float> table, int64_t series) {
  std::vector<float> column(static_cast<size_t>(table.steps));
  for (int64_t i = 0; i < table.steps; ++i) column[static_cast<size_t>(i)] = table.at(i, series);
  return column;
}

void PutColumn(const std::vector<float>& column, StepMajor<float> table, int64_t series) {
  for (int64_t i = 0; i < table.steps; ++i) table.at(i, series) = column[static_cast<size_t>(i)];
}

void FindEvents(StepMajor<const float> remainder, StepMajor<const float> level,
                const PatternOptions& options, std::vector<Patterns>& found) {
  const kernels::Ops& ops = kernels::CpuOps();
  std::vector<float> scale(found.size());
  std::vector<float> threshold(found.size());
  std::vector<SeriesStatus> status(found.size());
  // A step at most starts a spike or a shift.
  std::vector<kernels::Event> events(static_cast<size_t>(remainder.steps * remainder.series));
  int64_t count = 0;
  kernels::EventArgs args;
  args.remainder = remainder;
  args.level = level;
  args.false_alarms = static_cast<float>(options.false_alarms);
  args.shift_false_alarms = static_cast<float>(options.shift_false_alarms);
  args.scale = scale;
  args.threshold = threshold;
  args.events = events;
  args.events_count = &count;
  args.status = status;
  Workspace workspace(ops.events_workspace_bytes(args));
  args.workspace = workspace.span();
  ops.events(args);
  for (size_t s = 0; s < found.size(); ++s) {
    found[s].noise_status = status[s];
    found[s].scale = scale[s];
    found[s].threshold = threshold[s];
    found[s].events.clear();
  }
  events.resize(std::min(events.size(), static_cast<size_t>(count)));
  for (const kernels::Event& event : events) {
    found[static_cast<size_t>(event.series)].events.push_back(event);
  }
}

// A trend follows a shift slowly, and leaves in the remainder what it is late by. So a column that
// shifts is decomposed once more without its shifts. False when none shifts.
bool TakeShiftsOut(const WideTable& table, const std::vector<Patterns>& found,
                   StepMajor<float> remainder, StepMajor<float> level) {
  bool any = false;
  for (size_t s = 0; s < found.size(); ++s) {
    const auto series = static_cast<int64_t>(s);
    const bool shifts = std::any_of(
        found[s].events.begin(), found[s].events.end(),
        [](const kernels::Event& e) { return e.kind == kernels::EventKind::kLevelShift; });
    if (!shifts || found[s].periods.empty()) continue;
    any = true;
    std::vector<float> steps(static_cast<size_t>(table.steps), 0);
    for (const kernels::Event& event : found[s].events) {
      if (event.kind != kernels::EventKind::kLevelShift) continue;
      for (size_t i = static_cast<size_t>(event.onset); i < steps.size(); ++i) {
        steps[i] += event.height;
      }
    }
    std::vector<float> column = ColumnOf(table.view(), series);
    for (size_t i = 0; i < steps.size(); ++i) column[i] -= steps[i];
    Parts parts = TakeSeasonOut(column, found[s].periods.front().steps);
    for (size_t i = 0; i < steps.size(); ++i) parts.level[i] += steps[i];
    PutColumn(parts.remainder, remainder, series);
    PutColumn(parts.level, level, series);
  }
  return any;
}

// Leaders and followers side by side, and what correlation makes of them.
struct LeadPairs {
  StepMajor<const float> from;
  std::vector<size_t> followers;       // columns of `from`
  std::vector<size_t> leaders;         // likewise, one a follower
  std::vector<float> correlations;     // [lags][pair]
  std::vector<float> effective_pairs;  // likewise
};

void FindLeads(LeadPairs& pairs, const PatternOptions& options, std::vector<Patterns>& found) {
  const kernels::Ops& ops = kernels::CpuOps();
  const size_t n = pairs.followers.size();
  const auto width = static_cast<int64_t>(n);
  const int64_t steps = pairs.from.steps;
  std::vector<float> leader(static_cast<size_t>(steps) * n);
  std::vector<float> follower(leader.size());
  for (int64_t i = 0; i < steps; ++i) {
    for (size_t k = 0; k < n; ++k) {
      const size_t at = static_cast<size_t>(i) * n + k;
      leader[at] = pairs.from.at(i, static_cast<int64_t>(pairs.leaders[k]));
      follower[at] = pairs.from.at(i, static_cast<int64_t>(pairs.followers[k]));
    }
  }
  const int64_t lags = int64_t{options.max_lag} + 1;
  pairs.correlations.resize(static_cast<size_t>(lags) * n);
  pairs.effective_pairs.resize(pairs.correlations.size());
  std::vector<int32_t> lag(n);
  std::vector<float> correlation(n);
  std::vector<float> p_value(n);
  std::vector<SeriesStatus> status(n);
  kernels::LagArgs args;
  args.leader = {leader.data(), steps, width, width};
  args.follower = {follower.data(), steps, width, width};
  args.max_lag = options.max_lag;
  args.lag = lag;
  args.correlation = correlation;
  args.p_value = p_value;
  args.status = status;
  args.correlations = {pairs.correlations.data(), lags, width, width};
  args.effective_pairs = {pairs.effective_pairs.data(), lags, width, width};
  Workspace workspace(ops.lags_workspace_bytes(args));
  args.workspace = workspace.span();
  ops.lags(args);
  for (size_t k = 0; k < n; ++k) {
    found[pairs.followers[k]].has_lead = true;
    found[pairs.followers[k]].lead = {status[k], lag[k], correlation[k], p_value[k]};
  }
}

constexpr int kResources = kTraceSignals - 1;  // the mutation rate is the last signal

// Pairs are [account][resource].
std::vector<PooledLead> PoolLeads(const LeadPairs& pairs, std::span<const TraceAccount> accounts) {
  std::map<std::pair<std::string, int>, std::vector<int32_t>> groups;
  for (size_t a = 0; a < accounts.size(); ++a) {
    if (accounts[a].application.empty()) continue;
    for (int r = 0; r < kResources; ++r) {
      groups[{accounts[a].application, r}].push_back(static_cast<int32_t>(a) * kResources + r);
    }
  }
  std::vector<int32_t> members;
  std::vector<int32_t> ends;
  for (const auto& [name, of_group] : groups) {
    members.insert(members.end(), of_group.begin(), of_group.end());
    ends.push_back(static_cast<int32_t>(members.size()));
  }
  const size_t n = ends.size();
  std::vector<int32_t> lag(n), pooled(n);
  std::vector<float> correlation(n), p_value(n), heterogeneity(n), heterogeneity_p_value(n);
  std::vector<SeriesStatus> status(n);
  const auto width = static_cast<int64_t>(pairs.followers.size());
  const int64_t lags = std::ssize(pairs.correlations) / width;
  kernels::CpuOps().lag_pool({{pairs.correlations.data(), lags, width, width},
                              {pairs.effective_pairs.data(), lags, width, width},
                              members,
                              ends,
                              lag,
                              correlation,
                              p_value,
                              heterogeneity,
                              heterogeneity_p_value,
                              pooled,
                              status});
  std::vector<PooledLead> leads;
  for (const auto& [name, of_group] : groups) {
    const size_t g = leads.size();
    leads.push_back({name.first, std::string(TraceSignalName(name.second)), status[g], pooled[g],
                     lag[g], correlation[g], p_value[g], heterogeneity[g],
                     heterogeneity_p_value[g]});
  }
  return leads;
}

// All but the leads. The remainder is what they are looked for in.
std::vector<Patterns> FindAlone(const WideTable& table, const PatternOptions& options,
                                StepMajor<float> remainder) {
  std::vector<Patterns> found(table.names.size());
  for (size_t s = 0; s < found.size(); ++s) found[s].name = table.names[s];
  FindPeriods(table, options, found);
  std::vector<float> levels(table.values.size());
  const StepMajor<float> level{levels.data(), table.steps, table.series(), table.series()};
  for (size_t s = 0; s < found.size(); ++s) {
    const auto series = static_cast<int64_t>(s);
    const int32_t period = found[s].periods.empty() ? 0 : found[s].periods.front().steps;
    const Parts parts = TakeSeasonOut(ColumnOf(table.view(), series), period);
    PutColumn(parts.remainder, remainder, series);
    PutColumn(parts.level, level, series);
  }
  FindEvents(remainder, level, options, found);
  if (TakeShiftsOut(table, found, remainder, level)) FindEvents(remainder, level, options, found);
  return found;
}

}  // namespace

absl::StatusOr<std::vector<Patterns>> FindPatterns(const WideTable& table,
                                                   const PatternOptions& options) {
  const auto named = std::find(table.names.begin(), table.names.end(), options.leader);
  if (!options.leader.empty() && named == table.names.end()) {
    return absl::NotFoundError(fmt::format("--leader {}: no such column; there are {}",
                                           options.leader, fmt::join(table.names, ", ")));
  }
  std::vector<float> values(table.values.size());
  const StepMajor<float> remainder{values.data(), table.steps, table.series(), table.series()};
  std::vector<Patterns> found = FindAlone(table, options, remainder);
  if (options.leader.empty()) return found;
  const auto leader = static_cast<size_t>(named - table.names.begin());
  LeadPairs pairs{remainder, {}, {}, {}, {}};
  for (size_t s = 0; s < found.size(); ++s) {
    if (s == leader) continue;
    pairs.followers.push_back(s);
    pairs.leaders.push_back(leader);
  }
  FindLeads(pairs, options, found);
  return found;
}

WideTable TableOf(const Trace& trace) {
  WideTable table;
  for (const TraceAccount& account : trace.accounts) {
    for (int signal = 0; signal < kTraceSignals; ++signal) {
      table.names.push_back(fmt::format("{}.{}", account.id, TraceSignalName(signal)));
    }
  }
  table.steps = trace.steps;
  table.start_ms = trace.start_ms;
  table.step_ms = trace.step_ms;
  table.values = trace.values;
  return table;
}

absl::StatusOr<TracePatterns> FindPatterns(const Trace& trace, const WideTable& table,
                                           const PatternOptions& options) {
  if (!options.leader.empty()) {
    auto found = FindPatterns(table, options);
    if (!found.ok()) return found.status();
    return TracePatterns{*std::move(found), {}};
  }
  std::vector<float> values(table.values.size());
  const StepMajor<float> remainder{values.data(), table.steps, table.series(), table.series()};
  TracePatterns patterns{FindAlone(table, options, remainder), {}};
  LeadPairs pairs{remainder, {}, {}, {}, {}};
  for (size_t a = 0; a < trace.accounts.size(); ++a) {
    for (size_t r = 0; r < kResources; ++r) {
      pairs.followers.push_back(a * kTraceSignals + r);
      pairs.leaders.push_back(a * kTraceSignals + kResources);
    }
  }
  FindLeads(pairs, options, patterns.series);
  patterns.pooled = PoolLeads(pairs, trace.accounts);
  return patterns;
}

}  // namespace foreshadow::training
