#include "training/train/series_set.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "training/io/trace.h"

namespace foreshadow::training {
namespace {

// Accounts of all traces, by first appearance.
struct Accounts {
  std::vector<TraceAccount> list;
  std::unordered_map<std::string, int64_t> index;

  void Add(const TraceAccount& account) {
    if (index.try_emplace(account.id, std::ssize(list)).second) list.push_back(account);
  }
};

int32_t ApplicationIndex(const std::string& name, std::vector<std::string>& names) {
  if (name.empty()) return -1;
  const auto found = std::ranges::find(names, name);
  const auto at = static_cast<int32_t>(found - names.begin());
  if (found == names.end()) names.push_back(name);
  return at;
}

absl::Status CheckFollows(const std::string& path, const Trace& trace, const SeriesSet& set) {
  if (trace.step_ms != set.step_ms) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: one sample every {} ms, the trace before: {}", path, trace.step_ms, set.step_ms));
  }
  const int64_t off = trace.start_ms - set.TimeMs(set.steps);
  if (off < 0 || off % set.step_ms != 0) {
    return absl::InvalidArgumentError(
        fmt::format("{}: starts at {} ms: allowed is {} ms or a whole number of steps later", path,
                    trace.start_ms, set.TimeMs(set.steps)));
  }
  return absl::OkStatus();
}

bool AnySample(const std::vector<Trace>& traces, const std::vector<std::vector<int64_t>>& places,
               int64_t account, int signal) {
  for (size_t f = 0; f < traces.size(); ++f) {
    const int64_t at = places[f][account];
    if (at < 0) continue;
    const auto view = traces[f].view();
    for (int64_t t = 0; t < traces[f].steps; ++t) {
      if (!std::isnan(view.at(t, at * kTraceSignals + signal))) return true;
    }
  }
  return false;
}

// Traces that follow each other, as one set; paths for errors only.
absl::StatusOr<SeriesSet> Join(std::span<const std::string> paths,
                               const std::vector<Trace>& traces) {
  SeriesSet set;
  Accounts accounts;
  for (size_t f = 0; f < traces.size(); ++f) {
    const Trace& trace = traces[f];
    if (f == 0) {
      set.start_ms = trace.start_ms;
      set.step_ms = trace.step_ms;
    } else if (absl::Status status = CheckFollows(paths[f], trace, set); !status.ok()) {
      return status;
    }
    set.file_starts.push_back((trace.start_ms - set.start_ms) / set.step_ms);
    set.steps = set.file_starts.back() + trace.steps;
    for (const TraceAccount& account : trace.accounts) accounts.Add(account);
  }

  // places[file][account]: its position in that file, -1 = not there.
  std::vector<std::vector<int64_t>> places;
  for (const Trace& trace : traces) {
    places.emplace_back(accounts.list.size(), -1);
    for (int64_t i = 0; i < std::ssize(trace.accounts); ++i) {
      places.back()[accounts.index[trace.accounts[i].id]] = i;
    }
  }
  struct Column {
    int64_t account;
    int signal;
  };
  std::vector<Column> columns;
  for (int64_t a = 0; a < std::ssize(accounts.list); ++a) {
    for (int signal = 0; signal < kTraceSignals; ++signal) {
      if (!AnySample(traces, places, a, signal)) continue;
      columns.push_back({a, signal});
      set.signals.push_back(static_cast<models::SignalKind>(signal));
      set.accounts.push_back(accounts.list[a].id);
      set.applications.push_back(
          ApplicationIndex(accounts.list[a].application, set.application_names));
    }
  }
  set.values.assign(static_cast<size_t>(set.steps * set.series()),
                    std::numeric_limits<float>::quiet_NaN());
  for (size_t f = 0; f < traces.size(); ++f) {
    const auto view = traces[f].view();
    for (int64_t t = 0; t < traces[f].steps; ++t) {
      float* row = set.values.data() + (set.file_starts[f] + t) * set.series();
      for (size_t c = 0; c < columns.size(); ++c) {
        const int64_t at = places[f][columns[c].account];
        if (at >= 0) row[c] = view.at(t, at * kTraceSignals + columns[c].signal);
      }
    }
  }
  return set;
}

bool Continues(const Trace& before, const Trace& trace) {
  if (trace.start_ms < before.start_ms + before.steps * before.step_ms) return false;
  Accounts accounts;
  for (const TraceAccount& account : before.accounts) accounts.Add(account);
  return std::ranges::any_of(trace.accounts,
                             [&](const TraceAccount& a) { return accounts.index.contains(a.id); });
}

}  // namespace

absl::StatusOr<SeriesSet> ReadSeries(std::span<const std::string> paths) {
  std::vector<Trace> traces;
  for (const std::string& path : paths) {
    auto trace = ReadTrace(path);
    if (!trace.ok()) return trace.status();
    traces.push_back(*std::move(trace));
  }
  return Join(paths, traces);
}

absl::StatusOr<std::vector<SeriesSet>> ReadSeriesSets(std::span<const std::string> paths) {
  std::vector<SeriesSet> sets;
  std::vector<Trace> traces;
  size_t first = 0;  // path of the first of `traces`
  const auto join = [&]() -> absl::Status {
    auto set = Join(paths.subspan(first, traces.size()), traces);
    if (!set.ok()) return set.status();
    if (!sets.empty() && set->step_ms != sets.front().step_ms) {
      return absl::InvalidArgumentError(fmt::format("{}: one sample every {} ms, {}: {}",
                                                    paths[first], set->step_ms, paths[0],
                                                    sets.front().step_ms));
    }
    sets.push_back(*std::move(set));
    return absl::OkStatus();
  };
  for (size_t i = 0; i < paths.size(); ++i) {
    auto trace = ReadTrace(paths[i]);
    if (!trace.ok()) return trace.status();
    if (!traces.empty() && !Continues(traces.back(), *trace)) {
      if (absl::Status status = join(); !status.ok()) return status;
      traces.clear();
      first = i;
    }
    traces.push_back(*std::move(trace));
  }
  if (absl::Status status = join(); !status.ok()) return status;
  return sets;
}

}  // namespace foreshadow::training
