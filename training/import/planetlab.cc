#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <limits>

#include "training/import/formats.h"

namespace foreshadow::training {
namespace {

absl::StatusOr<std::vector<float>> ReadPercents(const std::string& path) {
  auto reader = CsvReader::Open(path);
  if (!reader.ok()) return reader.status();
  std::vector<float> percents;
  auto more = reader->Next();
  for (; more.ok() && *more; more = reader->Next()) {
    if (reader->fields().size() != 1) {
      return absl::InvalidArgumentError(
          fmt::format("{}:{}: {} fields; PlanetLab files have one number a line", path,
                      reader->line(), reader->fields().size()));
    }
    auto value = ParseValue(reader->fields()[0], {path, reader->line(), "CPU %"}, false);
    if (!value.ok()) return value.status();
    percents.push_back(*value);
  }
  if (!more.ok()) return more.status();
  if (percents.empty()) return absl::InvalidArgumentError(fmt::format("{}: empty file", path));
  return percents;
}

}  // namespace

absl::StatusOr<Trace> ReadPlanetLab(const std::vector<std::string>& files, int64_t start_ms,
                                    int64_t step_ms, double cores) {
  Trace trace;
  trace.start_ms = start_ms;
  trace.step_ms = step_ms;
  std::vector<std::vector<float>> columns;
  for (const std::string& file : files) {
    auto percents = ReadPercents(file);
    if (!percents.ok()) return percents.status();
    trace.accounts.push_back({std::filesystem::path(file).filename().string(), "", ""});
    trace.steps = std::max(trace.steps, static_cast<int64_t>(percents->size()));
    columns.push_back(*std::move(percents));
  }
  trace.values.assign(static_cast<size_t>(trace.steps * trace.series()),
                      std::numeric_limits<float>::quiet_NaN());
  for (size_t account = 0; account < columns.size(); ++account) {
    for (size_t step = 0; step < columns[account].size(); ++step) {
      trace.values[step * static_cast<size_t>(trace.series()) + account * kTraceSignals] =
          static_cast<float>(columns[account][step] / 100.0 * cores);
    }
  }
  return trace;
}

}  // namespace foreshadow::training
