#include "training/patterns/find.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

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
  const auto view = [&](auto& values) { return StepMajor{values.data(), steps, 1, 1}; };
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

void FindLeads(StepMajor<const float> remainder, size_t leader, const PatternOptions& options,
               std::vector<Patterns>& found) {
  const kernels::Ops& ops = kernels::CpuOps();
  const size_t n = found.size();
  std::vector<float> leaders(static_cast<size_t>(remainder.steps) * n);
  for (int64_t i = 0; i < remainder.steps; ++i) {
    std::fill_n(leaders.begin() + i * static_cast<int64_t>(n), n,
                remainder.at(i, static_cast<int64_t>(leader)));
  }
  std::vector<int32_t> lag(n);
  std::vector<float> correlation(n);
  std::vector<float> p_value(n);
  std::vector<SeriesStatus> status(n);
  kernels::LagArgs args;
  args.leader = {leaders.data(), remainder.steps, remainder.series, remainder.series};
  args.follower = remainder;
  args.max_lag = options.max_lag;
  args.lag = lag;
  args.correlation = correlation;
  args.p_value = p_value;
  args.status = status;
  Workspace workspace(ops.lags_workspace_bytes(args));
  args.workspace = workspace.span();
  ops.lags(args);
  for (size_t s = 0; s < n; ++s) {
    found[s].has_lead = s != leader;
    found[s].lead = {status[s], lag[s], correlation[s], p_value[s]};
  }
}

}  // namespace

absl::StatusOr<std::vector<Patterns>> FindPatterns(const WideTable& table,
                                                   const PatternOptions& options) {
  const auto leader = std::find(table.names.begin(), table.names.end(), options.leader);
  if (!options.leader.empty() && leader == table.names.end()) {
    return absl::NotFoundError(fmt::format("--leader {}: no such column; there are {}",
                                           options.leader, fmt::join(table.names, ", ")));
  }
  std::vector<Patterns> found(table.names.size());
  for (size_t s = 0; s < found.size(); ++s) found[s].name = table.names[s];
  FindPeriods(table, options, found);
  std::vector<float> remainder(table.values.size());
  std::vector<float> level(table.values.size());
  const auto view = [&](std::vector<float>& values) {
    return StepMajor<float>{values.data(), table.steps, table.series(), table.series()};
  };
  for (size_t s = 0; s < found.size(); ++s) {
    const auto series = static_cast<int64_t>(s);
    const int32_t period = found[s].periods.empty() ? 0 : found[s].periods.front().steps;
    const Parts parts = TakeSeasonOut(ColumnOf(table.view(), series), period);
    PutColumn(parts.remainder, view(remainder), series);
    PutColumn(parts.level, view(level), series);
  }
  FindEvents(view(remainder), view(level), options, found);
  if (TakeShiftsOut(table, found, view(remainder), view(level))) {
    FindEvents(view(remainder), view(level), options, found);
  }
  if (!options.leader.empty()) {
    FindLeads(view(remainder), static_cast<size_t>(leader - table.names.begin()), options, found);
  }
  return found;
}

}  // namespace foreshadow::training
