// Reads CSV, plain or gzipped, by libcsv and zlib: rows one after another, or a whole wide table of
// series. Values only; a reader belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/series.h"

namespace foreshadow::training {

// A row longer than this is refused: it is no CSV, or a file whose line ends got lost.
inline constexpr size_t kCsvRowBytesMax = 16u << 20;

// Where a value stands, for error messages.
struct CsvPlace {
  std::string_view file;
  int64_t line = 0;  // 1 = first
  std::string_view column;
};

// Row after row of a file. A mark of UTF-8 before the first is skipped; spaces and tabs around
// unquoted fields are dropped, blank lines skipped.
class CsvReader {
 public:
  // NOT_FOUND when the file cannot be opened. `delimiter` separates fields.
  static absl::StatusOr<CsvReader> Open(const std::string& path, char delimiter = ',');
  CsvReader(CsvReader&&) noexcept;
  CsvReader& operator=(CsvReader&&) noexcept;
  ~CsvReader();

  // Moves to the next row; false at the end. INVALID_ARGUMENT for text that is no CSV, DATA_LOSS
  // for a damaged or cut gzip stream; both name file and line.
  absl::StatusOr<bool> Next();

  // Of the current row; valid until Next.
  std::span<const std::string_view> fields() const;
  int64_t line() const;  // the row's last line
  const std::string& path() const;

 private:
  struct Impl;
  explicit CsvReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A finite number; empty = NaN. INVALID_ARGUMENT naming the place for anything else, "nan" and
// "inf" and, unless allowed, a negative number included.
absl::StatusOr<float> ParseValue(std::string_view text, const CsvPlace& place, bool allow_negative);

// Unix milliseconds, or ISO 8601 with `T` or a space between date and time; UTC unless it ends in
// an offset. Not before 1970.
absl::StatusOr<int64_t> ParseTime(std::string_view text, const CsvPlace& place);

// INVALID_ARGUMENT where times are most likely seconds that were read as milliseconds: of 1970 to
// 1973, and steps of at most 10 s.
absl::Status CheckTimeUnit(const std::string& path, int64_t first_ms, int64_t step_ms);

// A text as a field of CSV (RFC 4180): quoted where it must be.
std::string CsvField(std::string_view text);

// Series side by side: what decompose, patterns and forecast read.
struct WideTable {
  std::vector<std::string> names;  // [series], none twice
  int64_t steps = 0;
  int64_t start_ms = 0;       // of the first step; 0 without a timestamp column
  int64_t step_ms = 0;        // 0 without a timestamp column
  std::vector<float> values;  // [step][series]; NaN = missing

  int64_t series() const { return static_cast<int64_t>(names.size()); }
  kernels::StepMajor<const float> view() const {
    return {values.data(), steps, series(), series()};
  }
};

struct WideCsvOptions {
  bool allow_negative = true;
};

// Reads a file with a header, a column a series and, optionally, a first column of times: one that
// is called `timestamp`, or whose first value is a date in ISO 8601. Times
// ascend on a grid (its step is the smallest distance that occurs); steps without a row are
// missing. Errors as CsvReader's and ParseValue's; also ragged rows, names empty or twice, no data
// row.
absl::StatusOr<WideTable> ReadWideCsv(const std::string& path, const WideCsvOptions& options = {});

}  // namespace foreshadow::training
