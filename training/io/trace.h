// The trace: long CSV, gzipped if its name ends in .gz, with the header
//   timestamp,cell,account,application,cpu,memory,network,storage,mutation_rate
// one row an account and time, rows in time order. A field left empty is a missing sample. Times
// are Unix milliseconds or ISO 8601 UTC; units are the signals' own (cores, bytes, bytes/s, bytes,
// operations/s).
// A reader or writer belongs to one thread.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/series.h"
#include "models/forecaster.h"
#include "training/io/csv.h"

namespace foreshadow::training {

inline constexpr int kTraceSignals = models::kSignalKinds;
inline constexpr size_t kTraceNameBytesMax = 256;  // of a cell, an account or an application

struct TraceRow {
  int64_t time_ms = 0;
  std::string_view cell;                      // never empty
  std::string_view account;                   // never empty, printable ASCII without spaces
  std::string_view application;               // "" = unknown
  std::array<float, kTraceSignals> values{};  // in SignalKind's order; NaN = missing
};

class TraceReader {
 public:
  static absl::StatusOr<TraceReader> Open(const std::string& path);

  // Moves to the next row; false at the end. Refuses rows that are older than the row before.
  absl::StatusOr<bool> Next();
  const TraceRow& row() const { return row_; }  // valid until Next
  int64_t line() const { return csv_.line(); }
  const std::string& path() const { return csv_.path(); }

 private:
  explicit TraceReader(CsvReader csv) : csv_(std::move(csv)) {}
  CsvReader csv_;
  TraceRow row_;
};

// Whether a CSV has the header of a trace. NOT_FOUND when the file cannot be opened.
absl::StatusOr<bool> IsTrace(const std::string& path);

// The column of a signal, e.g. "cpu".
std::string_view TraceSignalName(int signal);

struct TraceAccount {
  std::string id;
  std::string cell;
  std::string application;
};

// A whole trace on an even grid of times.
struct Trace {
  std::vector<TraceAccount> accounts;  // by first appearance
  int64_t start_ms = 0;                // time of step 0
  int64_t step_ms = 0;
  int64_t steps = 0;
  std::vector<float> values;  // [step][account * kTraceSignals + signal]; NaN = missing

  int64_t series() const { return static_cast<int64_t>(accounts.size()) * kTraceSignals; }
  kernels::StepMajor<const float> view() const {
    return {values.data(), steps, series(), series()};
  }
};

// Reads all of a trace, CSV or (by its name) Parquet. Besides the errors of TraceReader and of
// training/io/parquet.h: an account twice at one time, an account that
// changes its cell or application, times off the grid (the step is the smallest distance that
// occurs), fewer than two times.
absl::StatusOr<Trace> ReadTrace(const std::string& path);

// Values that a trace in memory may have (32 GiB of them): beyond, a file belongs into a database.
inline constexpr int64_t kTraceValuesMax = int64_t{8} << 30;

class TraceWriter {
 public:
  // Writes to `path`.part and gives it its name in Close.
  static absl::StatusOr<TraceWriter> Create(const std::string& path);
  TraceWriter(TraceWriter&&) noexcept;
  TraceWriter& operator=(TraceWriter&&) noexcept;
  ~TraceWriter();  // without Close: removes what was written

  // INVALID_ARGUMENT for a name that TraceReader would refuse.
  absl::Status Write(const TraceRow& row);
  absl::Status Close();

 private:
  struct Impl;
  explicit TraceWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Writes all of a trace. An account's row is left out where all its signals are missing, but for
// the first step: that row makes the account known.
absl::Status WriteTrace(const Trace& trace, const std::string& path);

}  // namespace foreshadow::training
