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

// Replaces one column by what season and trend leave of it.
void TakeSeasonOut(const WideTable& table, size_t series, int32_t period,
                   std::vector<float>& remainder) {
  const kernels::Ops& ops = kernels::CpuOps();
  kernels::StlParams params;
  params.period = period;
  params.robust = true;  // a spike must not leak into the season it is measured against
  if (!ops.stl_check(params, table.steps).empty()) return;
  StepMajor<const float> observed = table.view();
  observed.data += series;
  observed.series = 1;
  const auto steps = static_cast<size_t>(table.steps);
  std::vector<float> parts(3 * steps);
  const auto part = [&](size_t at) {
    return StepMajor<float>{parts.data() + at * steps, table.steps, 1, 1};
  };
  SeriesStatus status;
  Workspace workspace(ops.stl_workspace_bytes(params, table.steps, 1));
  ops.stl({params, observed, part(0), part(1), part(2), {}, {&status, 1}, workspace.span()});
  if (status != SeriesStatus::kOk) return;
  for (size_t i = 0; i < steps; ++i) {
    remainder[i * static_cast<size_t>(table.series()) + series] = parts[2 * steps + i];
  }
}

void FindSpikes(StepMajor<const float> remainder, const PatternOptions& options,
                std::vector<Patterns>& found) {
  const kernels::Ops& ops = kernels::CpuOps();
  std::vector<float> scale(found.size());
  std::vector<float> threshold(found.size());
  std::vector<SeriesStatus> status(found.size());
  // Every other step at most starts a spike.
  std::vector<kernels::Spike> spikes(
      static_cast<size_t>((remainder.steps / 2 + 1) * remainder.series));
  int64_t count = 0;
  kernels::SpikeArgs args;
  args.remainder = remainder;
  args.false_alarms = static_cast<float>(options.false_alarms);
  args.scale = scale;
  args.threshold = threshold;
  args.spikes = spikes;
  args.spikes_count = &count;
  args.status = status;
  Workspace workspace(ops.spikes_workspace_bytes(args));
  args.workspace = workspace.span();
  ops.spikes(args);
  for (size_t s = 0; s < found.size(); ++s) {
    found[s].noise_status = status[s];
    found[s].scale = scale[s];
    found[s].threshold = threshold[s];
  }
  spikes.resize(std::min(spikes.size(), static_cast<size_t>(count)));
  for (const kernels::Spike& spike : spikes) {
    found[static_cast<size_t>(spike.series)].spikes.push_back(spike);
  }
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
  std::vector<float> remainder = table.values;
  for (size_t s = 0; s < found.size(); ++s) {
    if (!found[s].periods.empty()) {
      TakeSeasonOut(table, s, found[s].periods.front().steps, remainder);
    }
  }
  const StepMajor<const float> view{remainder.data(), table.steps, table.series(), table.series()};
  FindSpikes(view, options, found);
  if (!options.leader.empty()) {
    FindLeads(view, static_cast<size_t>(leader - table.names.begin()), options, found);
  }
  return found;
}

}  // namespace foreshadow::training
