#include "training/train/series_set.h"

#include <fmt/core.h>

#include <cmath>
#include <limits>
#include <unordered_map>

#include "training/io/trace.h"

namespace foreshadow::training {
namespace {

// Accounts of all traces, by first appearance.
struct Accounts {
  std::vector<std::string> ids;
  std::unordered_map<std::string, int64_t> index;
};

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

}  // namespace

absl::StatusOr<SeriesSet> ReadSeries(std::span<const std::string> paths) {
  SeriesSet set;
  Accounts accounts;
  std::vector<Trace> traces;
  for (const std::string& path : paths) {
    auto trace = ReadTrace(path);
    if (!trace.ok()) return trace.status();
    if (traces.empty()) {
      set.start_ms = trace->start_ms;
      set.step_ms = trace->step_ms;
    } else if (absl::Status status = CheckFollows(path, *trace, set); !status.ok()) {
      return status;
    }
    set.file_starts.push_back((trace->start_ms - set.start_ms) / set.step_ms);
    set.steps = set.file_starts.back() + trace->steps;
    for (const TraceAccount& account : trace->accounts) {
      if (accounts.index.try_emplace(account.id, std::ssize(accounts.ids)).second) {
        accounts.ids.push_back(account.id);
      }
    }
    traces.push_back(*std::move(trace));
  }

  // places[file][account]: its position in that file, -1 = not there.
  std::vector<std::vector<int64_t>> places;
  for (const Trace& trace : traces) {
    places.emplace_back(accounts.ids.size(), -1);
    for (int64_t i = 0; i < std::ssize(trace.accounts); ++i) {
      places.back()[accounts.index[trace.accounts[i].id]] = i;
    }
  }
  struct Column {
    int64_t account;
    int signal;
  };
  std::vector<Column> columns;
  for (int64_t a = 0; a < std::ssize(accounts.ids); ++a) {
    for (int signal = 0; signal < kTraceSignals; ++signal) {
      if (!AnySample(traces, places, a, signal)) continue;
      columns.push_back({a, signal});
      set.signals.push_back(static_cast<models::SignalKind>(signal));
      set.accounts.push_back(accounts.ids[a]);
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

}  // namespace foreshadow::training
