#include "training/io/trace.h"

#include <fmt/core.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "training/io/parquet.h"
#include "training/io/text_writer.h"

namespace foreshadow::training {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

constexpr std::array<std::string_view, 4 + kTraceSignals> kColumns = {
    "timestamp", "cell",    "account", "application",  "cpu",
    "memory",    "network", "storage", "mutation_rate"};
constexpr size_t kFirstSignal = 4;

bool HasHeader(const CsvReader& csv) {
  const auto fields = csv.fields();
  return std::equal(fields.begin(), fields.end(), kColumns.begin(), kColumns.end());
}

absl::Status CheckHeader(const CsvReader& csv) {
  const auto fields = csv.fields();
  if (HasHeader(csv)) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "{}:{}: not a trace: the header is \"{}\", not \"{}\"; `foreshadow import --format "
      "csv` makes one of a file with a column an account",
      csv.path(), csv.line(), fmt::join(fields, ","), fmt::join(kColumns, ",")));
}

// Names come back to people in messages and tables, and accounts are keys on the wire.
absl::Status CheckName(std::string_view name, bool required, const CsvPlace& place) {
  const bool printable =
      std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c <= '~'; });
  if (printable && name.size() <= kTraceNameBytesMax && !(required && name.empty())) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("{}:{}: column \"{}\": \"{}\" is not {} to {} printable ASCII characters without "
                  "spaces",
                  place.file, place.line, place.column, name.substr(0, 40), required ? 1 : 0,
                  kTraceNameBytesMax));
}

}  // namespace

absl::StatusOr<bool> IsTrace(const std::string& path) {
  auto csv = CsvReader::Open(path);
  if (!csv.ok()) return csv.status();
  const auto more = csv->Next();
  if (!more.ok()) return more.status();
  return *more && HasHeader(*csv);
}

std::string_view TraceSignalName(int signal) {
  return kColumns[kFirstSignal + static_cast<size_t>(signal)];
}

absl::StatusOr<TraceReader> TraceReader::Open(const std::string& path) {
  auto csv = CsvReader::Open(path);
  if (!csv.ok()) return csv.status();
  auto more = csv->Next();
  if (!more.ok()) return more.status();
  if (!*more) return absl::InvalidArgumentError(fmt::format("{}: empty file, no header", path));
  const absl::Status status = CheckHeader(*csv);
  if (!status.ok()) return status;
  return TraceReader(*std::move(csv));
}

namespace {

// What every row must be, wherever it comes from.
absl::Status CheckRow(const TraceRow& row, int64_t time_before_ms, CsvPlace place) {
  if (row.time_ms < time_before_ms) {
    return absl::InvalidArgumentError(fmt::format(
        "{}:{}: column \"timestamp\": {} ms is older than the row before, {} ms; a trace "
        "is in time order",
        place.file, place.line, row.time_ms, time_before_ms));
  }
  const std::array<std::string_view, 3> names = {row.cell, row.account, row.application};
  for (size_t i = 0; i < names.size(); ++i) {
    place.column = kColumns[i + 1];
    const absl::Status status = CheckName(names[i], i != 2, place);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<bool> TraceReader::Next() {
  auto more = csv_.Next();
  if (!more.ok() || !*more) return more;
  const auto fields = csv_.fields();
  if (fields.size() != kColumns.size()) {
    return absl::InvalidArgumentError(fmt::format("{}:{}: {} fields where the header has {}",
                                                  path(), line(), fields.size(), kColumns.size()));
  }
  CsvPlace place{path(), line(), kColumns[0]};
  auto time_ms = ParseTime(fields[0], place);
  if (!time_ms.ok()) return time_ms.status();
  const int64_t time_before_ms = row_.time_ms;
  row_ = {*time_ms, fields[1], fields[2], fields[3], {}};
  if (absl::Status status = CheckRow(row_, time_before_ms, place); !status.ok()) return status;
  for (size_t i = kFirstSignal; i < kColumns.size(); ++i) {
    place.column = kColumns[i];
    auto value = ParseValue(fields[i], place, false);
    if (!value.ok()) return value.status();
    row_.values[i - kFirstSignal] = *value;
  }
  return true;
}

namespace {

// The rows of a trace as they come in, before its grid of times is known.
struct Rows {
  std::vector<int64_t> times_ms;
  std::vector<std::vector<float>> values;  // [time][account * kTraceSignals + signal], ragged
  std::vector<bool> seen;                  // [account] at the newest time
  std::unordered_map<std::string, size_t> index;
};

absl::Status AddRow(const TraceRow& row, const std::string& path, int64_t line, Rows& rows,
                    Trace& trace) {
  const auto [entry, added] = rows.index.try_emplace(std::string(row.account), rows.index.size());
  const size_t account = entry->second;
  if (added) {
    trace.accounts.push_back(
        {std::string(row.account), std::string(row.cell), std::string(row.application)});
    rows.seen.push_back(false);
  }
  const TraceAccount& known = trace.accounts[account];
  if (known.cell != row.cell || known.application != row.application) {
    return absl::InvalidArgumentError(fmt::format(
        "{}:{}: account \"{}\" is in cell \"{}\" with application \"{}\" here, in "
        "\"{}\" with \"{}\" "
        "before; an account keeps both throughout a trace",
        path, line, known.id, row.cell, row.application, known.cell, known.application));
  }
  if (rows.times_ms.empty() || rows.times_ms.back() != row.time_ms) {
    rows.times_ms.push_back(row.time_ms);
    rows.values.emplace_back(rows.index.size() * kTraceSignals, kMissing);
    std::fill(rows.seen.begin(), rows.seen.end(), false);
  }
  if (rows.seen[account]) {
    return absl::InvalidArgumentError(
        fmt::format("{}:{}: account \"{}\" twice at {} ms", path, line, known.id, row.time_ms));
  }
  rows.seen[account] = true;
  std::vector<float>& values = rows.values.back();
  if (values.size() < (account + 1) * kTraceSignals) {
    values.resize((account + 1) * kTraceSignals, kMissing);
  }
  std::copy(row.values.begin(), row.values.end(),
            values.begin() + static_cast<std::ptrdiff_t>(account * kTraceSignals));
  return absl::OkStatus();
}

absl::Status SetGrid(const std::string& path, std::span<const int64_t> times_ms, Trace& trace) {
  if (times_ms.size() < 2) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} different time(s); a trace has at least two", path, times_ms.size()));
  }
  trace.start_ms = times_ms.front();
  trace.step_ms = std::numeric_limits<int64_t>::max();
  for (size_t i = 1; i < times_ms.size(); ++i) {
    trace.step_ms = std::min(trace.step_ms, times_ms[i] - times_ms[i - 1]);
  }
  absl::Status status = CheckTimeUnit(path, trace.start_ms, trace.step_ms);
  if (!status.ok()) return status;
  for (int64_t time_ms : times_ms) {
    if ((time_ms - trace.start_ms) % trace.step_ms == 0) continue;
    return absl::InvalidArgumentError(
        fmt::format("{}: the time {} ms is not a whole number of steps of {} ms after the first; "
                    "times must lie "
                    "on one grid",
                    path, time_ms, trace.step_ms));
  }
  trace.steps = (times_ms.back() - trace.start_ms) / trace.step_ms + 1;
  if (trace.steps > kTraceValuesMax / trace.series()) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} steps of {} series; at most {} values can be loaded", path, trace.steps,
                    trace.series(), kTraceValuesMax));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Trace> ReadTrace(const std::string& path) {
  Rows rows;
  Trace trace;
  absl::Status status = absl::OkStatus();
  if (IsParquet(path)) {
    int64_t time_before_ms = std::numeric_limits<int64_t>::min();
    status = ReadParquetRows(path, [&](const TraceRow& row, int64_t number) {
      const absl::Status sound = CheckRow(row, time_before_ms, {path, number, ""});
      time_before_ms = row.time_ms;
      return sound.ok() ? AddRow(row, path, number, rows, trace) : sound;
    });
  } else {
    auto reader = TraceReader::Open(path);
    if (!reader.ok()) return reader.status();
    auto more = reader->Next();
    for (; more.ok() && *more && status.ok(); more = reader->Next()) {
      status = AddRow(reader->row(), path, reader->line(), rows, trace);
    }
    if (status.ok()) status = more.status();
  }
  if (!status.ok()) return status;
  status = SetGrid(path, rows.times_ms, trace);
  if (!status.ok()) return status;
  trace.values.assign(static_cast<size_t>(trace.steps * trace.series()), kMissing);
  for (size_t i = 0; i < rows.times_ms.size(); ++i) {
    const int64_t step = (rows.times_ms[i] - trace.start_ms) / trace.step_ms;
    std::copy(rows.values[i].begin(), rows.values[i].end(),
              trace.values.begin() + step * trace.series());
    rows.values[i] = {};
  }
  return trace;
}

struct TraceWriter::Impl {
  std::string path;
  TextWriter file;
  fmt::memory_buffer line;
  int64_t lines = 0;

  absl::Status AppendName(std::string_view name, size_t column) {
    const absl::Status status = CheckName(name, column != 3, {path, lines + 1, kColumns[column]});
    if (status.ok()) fmt::format_to(std::back_inserter(line), "{},", CsvField(name));
    return status;
  }

  absl::Status Flush() {
    const absl::Status status = file.Write({line.data(), line.size()});
    line.clear();
    ++lines;
    return status;
  }
};

TraceWriter::TraceWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TraceWriter::TraceWriter(TraceWriter&&) noexcept = default;
TraceWriter& TraceWriter::operator=(TraceWriter&&) noexcept = default;
TraceWriter::~TraceWriter() = default;

absl::StatusOr<TraceWriter> TraceWriter::Create(const std::string& path) {
  auto file = TextWriter::Create(path);
  if (!file.ok()) return file.status();
  auto impl = std::make_unique<Impl>(path, *std::move(file));
  fmt::format_to(std::back_inserter(impl->line), "{}\n", fmt::join(kColumns, ","));
  const absl::Status status = impl->Flush();
  if (!status.ok()) return status;
  return TraceWriter(std::move(impl));
}

absl::Status TraceWriter::Write(const TraceRow& row) {
  Impl& out = *impl_;
  out.line.clear();
  fmt::format_to(std::back_inserter(out.line), "{},", row.time_ms);
  const std::array<std::string_view, 3> names = {row.cell, row.account, row.application};
  for (size_t i = 0; i < names.size(); ++i) {
    if (absl::Status status = out.AppendName(names[i], i + 1); !status.ok()) return status;
  }
  for (size_t i = 0; i < row.values.size(); ++i) {
    if (i > 0) out.line.push_back(',');
    // The shortest text that reads back as the same float.
    if (!std::isnan(row.values[i]))
      fmt::format_to(std::back_inserter(out.line), "{}", row.values[i]);
  }
  out.line.push_back('\n');
  return out.Flush();
}

absl::Status TraceWriter::Close() { return impl_->file.Close(); }

absl::Status WriteTrace(const Trace& trace, const std::string& path) {
  auto writer = TraceWriter::Create(path);
  if (!writer.ok()) return writer.status();
  for (int64_t step = 0; step < trace.steps; ++step) {
    const float* values = trace.values.data() + step * trace.series();
    for (const TraceAccount& account : trace.accounts) {
      TraceRow row{
          trace.start_ms + step * trace.step_ms, account.cell, account.id, account.application, {}};
      std::copy_n(values, kTraceSignals, row.values.begin());
      values += kTraceSignals;
      const bool silent = std::all_of(row.values.begin(), row.values.end(),
                                      [](float value) { return std::isnan(value); });
      if (silent && step > 0) continue;
      const absl::Status status = writer->Write(row);
      if (!status.ok()) return status;
    }
  }
  return writer->Close();
}

}  // namespace foreshadow::training
