#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <map>

#include "training/import/formats.h"

namespace foreshadow::training {
namespace {

constexpr std::array<std::string_view, 11> kColumns = {"Timestamp [ms]",
                                                       "CPU cores",
                                                       "CPU capacity provisioned [MHZ]",
                                                       "CPU usage [MHZ]",
                                                       "CPU usage [%]",
                                                       "Memory capacity provisioned [KB]",
                                                       "Memory usage [KB]",
                                                       "Disk read throughput [KB/s]",
                                                       "Disk write throughput [KB/s]",
                                                       "Network received throughput [KB/s]",
                                                       "Network transmitted throughput [KB/s]"};

// Times below are seconds: as milliseconds they would lie before March 1973.
constexpr int64_t kSecondsBelow = 100'000'000'000;

struct Sum {
  std::array<double, kTraceSignals> total{};
  std::array<int, kTraceSignals> count{};
};

using Steps = std::map<int64_t, Sum>;  // by time divided by the step

// One row's signals; NaN = missing. Without cores the machine is off or unknown: no CPU then.
std::array<double, kTraceSignals> Signals(const std::array<float, kColumns.size()>& row) {
  constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
  const double cores = row[1];
  return {cores > 0 ? cores * row[4] / 100.0 : kMissing, 1024.0 * row[6],
          1024.0 * (double{row[9]} + row[10]), kMissing, row[8]};
}

absl::Status AddRow(const CsvReader& reader, int64_t step_ms, Steps& steps) {
  const auto fields = reader.fields();
  if (fields.size() != kColumns.size()) {
    return absl::InvalidArgumentError(fmt::format("{}:{}: {} fields; Bitbrains files have {}",
                                                  reader.path(), reader.line(), fields.size(),
                                                  kColumns.size()));
  }
  CsvPlace place{reader.path(), reader.line(), kColumns[0]};
  auto time = ParseTime(fields[0], place);
  if (!time.ok()) return time.status();
  const int64_t time_ms = *time < kSecondsBelow ? *time * 1000 : *time;
  std::array<float, kColumns.size()> row{};
  for (size_t i = 1; i < kColumns.size(); ++i) {
    place.column = kColumns[i];
    auto value = ParseValue(fields[i], place, false);
    if (!value.ok()) return value.status();
    row[i] = *value;
  }
  Sum& sum = steps[time_ms / step_ms];
  const auto signals = Signals(row);
  for (size_t i = 0; i < signals.size(); ++i) {
    if (std::isnan(signals[i])) continue;
    sum.total[i] += signals[i];
    ++sum.count[i];
  }
  return absl::OkStatus();
}

absl::StatusOr<Steps> ReadFile(const std::string& path, int64_t step_ms) {
  auto reader = CsvReader::Open(path, ';');
  if (!reader.ok()) return reader.status();
  auto more = reader->Next();
  if (!more.ok()) return more.status();
  if (!*more || reader->fields()[0] != kColumns[0]) {
    return absl::InvalidArgumentError(
        fmt::format("{}:1: not a Bitbrains file: its header does not begin with \"{}\" and a "
                    "semicolon",
                    path, kColumns[0]));
  }
  Steps steps;
  for (more = reader->Next(); more.ok() && *more; more = reader->Next()) {
    const absl::Status status = AddRow(*reader, step_ms, steps);
    if (!status.ok()) return status;
  }
  if (!more.ok()) return more.status();
  if (steps.empty()) return absl::InvalidArgumentError(fmt::format("{}: no data row", path));
  return steps;
}

}  // namespace

absl::StatusOr<Trace> ReadBitbrains(const std::vector<std::string>& files, int64_t step_ms) {
  Trace trace;
  trace.step_ms = step_ms;
  std::vector<Steps> machines;
  int64_t first = std::numeric_limits<int64_t>::max(), last = 0;
  for (const std::string& file : files) {
    auto steps = ReadFile(file, step_ms);
    if (!steps.ok()) return steps.status();
    first = std::min(first, steps->begin()->first);
    last = std::max(last, steps->rbegin()->first);
    trace.accounts.push_back({"vm-" + std::filesystem::path(file).stem().string(), "", ""});
    machines.push_back(*std::move(steps));
  }
  trace.start_ms = first * step_ms;
  trace.steps = last - first + 1;
  if (trace.steps > kTraceValuesMax / trace.series()) {
    return absl::InvalidArgumentError(
        fmt::format("{} steps of {} ms between the first and the last time of {} files; at most {} "
                    "values can be held",
                    trace.steps, step_ms, files.size(), kTraceValuesMax));
  }
  trace.values.assign(static_cast<size_t>(trace.steps * trace.series()),
                      std::numeric_limits<float>::quiet_NaN());
  for (size_t account = 0; account < machines.size(); ++account) {
    for (const auto& [step, sum] : machines[account]) {
      float* out = &trace.values[static_cast<size_t>((step - first) * trace.series()) +
                                 account * kTraceSignals];
      for (size_t i = 0; i < sum.total.size(); ++i) {
        if (sum.count[i] > 0) out[i] = static_cast<float>(sum.total[i] / sum.count[i]);
      }
    }
  }
  return trace;
}

}  // namespace foreshadow::training
