#include <fmt/core.h>

#include <limits>

#include "training/import/formats.h"

namespace foreshadow::training {

absl::StatusOr<Trace> ReadWide(const std::vector<std::string>& files, models::SignalKind signal) {
  if (files.size() != 1) {
    return absl::InvalidArgumentError(
        fmt::format("{} input files; the csv format takes one", files.size()));
  }
  auto table = ReadWideCsv(files[0], {.allow_negative = false});
  if (!table.ok()) return table.status();
  if (table->step_ms == 0) {
    return absl::InvalidArgumentError(
        fmt::format("{}: a first column \"timestamp\" and at least two rows are needed", files[0]));
  }
  Trace trace;
  trace.start_ms = table->start_ms;
  trace.step_ms = table->step_ms;
  trace.steps = table->steps;
  for (const std::string& name : table->names) trace.accounts.push_back({name, "", ""});
  trace.values.assign(static_cast<size_t>(trace.steps * trace.series()),
                      std::numeric_limits<float>::quiet_NaN());
  for (size_t i = 0; i < table->values.size(); ++i) {
    trace.values[i * kTraceSignals + static_cast<size_t>(signal)] = table->values[i];
  }
  return trace;
}

}  // namespace foreshadow::training
