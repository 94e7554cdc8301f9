#include "training/io/csv.h"

#include <csv.h>
#include <fmt/core.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <unordered_set>
#include <utility>

#include "absl/time/time.h"

namespace foreshadow::training {
namespace {

constexpr size_t kChunkBytes = 256u << 10;

// By as much the room for a field grows; libcsv's own 128 copies a long one thousands of times.
constexpr size_t kFieldGrowthBytes = 64u << 10;

// Spreadsheets begin a file with it.
constexpr std::string_view kUtf8Mark = "\xef\xbb\xbf";

// More steps between the first and the last time than this is a mistake in the times, not a table.
constexpr int64_t kWideStepsMax = 50'000'000;

// Long values are cut in messages.
std::string Quoted(std::string_view text) {
  constexpr size_t kShown = 40;
  if (text.size() <= kShown) return fmt::format("\"{}\"", text);
  return fmt::format("\"{}...\"", text.substr(0, kShown));
}

absl::Status BadValue(const CsvPlace& place, std::string_view text, std::string_view allowed) {
  return absl::InvalidArgumentError(fmt::format("{}:{}: column {}: {} is not {}", place.file,
                                                place.line, Quoted(place.column), Quoted(text),
                                                allowed));
}

}  // namespace

struct CsvReader::Impl {
  std::string path;
  gzFile file = nullptr;
  csv_parser parser{};
  std::array<char, kChunkBytes> chunk;
  size_t chunk_begin = 0;
  size_t chunk_end = 0;
  bool begun = false;
  bool at_end = false;
  int64_t line = 0;  // lines fed to the parser
  size_t row_bytes = 0;

  std::string text;                             // of the current row's fields, one after another
  std::vector<std::pair<size_t, size_t>> ends;  // begin and size of each field in `text`
  std::vector<std::string_view> fields;
  bool row_done = false;

  ~Impl() {
    csv_free(&parser);
    if (file != nullptr) gzclose(file);
  }

  static void OnField(void* data, size_t size, void* self) {
    auto* impl = static_cast<Impl*>(self);
    impl->ends.emplace_back(impl->text.size(), size);
    impl->text.append(static_cast<const char*>(data), size);
  }
  static void OnRow(int, void* self) { static_cast<Impl*>(self)->row_done = true; }

  absl::Status Fill();
  absl::Status Feed();
  absl::Status Finish();
  absl::Status ParserError() {
    return absl::InvalidArgumentError(
        fmt::format("{}:{}: not CSV: {}", path, line + 1, csv_strerror(csv_error(&parser))));
  }
};

absl::Status CsvReader::Impl::Fill() {
  const int size = gzread(file, chunk.data(), static_cast<unsigned>(chunk.size()));
  int error = Z_OK;
  const char* message = gzerror(file, &error);
  // A cut gzip stream is Z_BUF_ERROR after the last bytes that could be read.
  if (size < 0 || error == Z_BUF_ERROR) {
    return absl::DataLossError(fmt::format("{}: after line {}: {}", path, line,
                                           error == Z_ERRNO ? std::strerror(errno) : message));
  }
  chunk_end = static_cast<size_t>(size);
  const bool is_marked = !begun && std::string_view(chunk.data(), chunk_end).starts_with(kUtf8Mark);
  chunk_begin = is_marked ? kUtf8Mark.size() : 0;
  begun = true;
  at_end = size == 0;
  return absl::OkStatus();
}

// Gives the parser the rest of one line: so the line of a row is known, and a row is whole before
// the next begins.
absl::Status CsvReader::Impl::Feed() {
  const char* begin = chunk.data() + chunk_begin;
  const size_t left = chunk_end - chunk_begin;
  const void* newline = std::memchr(begin, '\n', left);
  const size_t size = newline != nullptr
                          ? static_cast<size_t>(static_cast<const char*>(newline) - begin) + 1
                          : left;
  row_bytes += size;
  if (row_bytes > kCsvRowBytesMax) {
    return absl::InvalidArgumentError(
        fmt::format("{}:{}: a row of more than {} bytes", path, line + 1, kCsvRowBytesMax));
  }
  if (csv_parse(&parser, begin, size, OnField, OnRow, this) != size) return ParserError();
  chunk_begin += size;
  if (newline != nullptr) ++line;
  return absl::OkStatus();
}

absl::Status CsvReader::Impl::Finish() {
  if (csv_fini(&parser, OnField, OnRow, this) != 0) return ParserError();
  if (row_done) ++line;
  return absl::OkStatus();
}

CsvReader::CsvReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
CsvReader::CsvReader(CsvReader&&) noexcept = default;
CsvReader& CsvReader::operator=(CsvReader&&) noexcept = default;
CsvReader::~CsvReader() = default;

absl::StatusOr<CsvReader> CsvReader::Open(const std::string& path, char delimiter) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  csv_init(&impl->parser, CSV_STRICT | CSV_STRICT_FINI);
  csv_set_delim(&impl->parser, static_cast<unsigned char>(delimiter));
  csv_set_blk_size(&impl->parser, kFieldGrowthBytes);
  errno = 0;
  impl->file = gzopen(path.c_str(), "rb");
  if (impl->file == nullptr) {
    return absl::NotFoundError(fmt::format("{}: cannot be opened: {}", path, std::strerror(errno)));
  }
  gzbuffer(impl->file, static_cast<unsigned>(kChunkBytes));
  return CsvReader(std::move(impl));
}

absl::StatusOr<bool> CsvReader::Next() {
  Impl& in = *impl_;
  in.text.clear();
  in.ends.clear();
  in.row_done = false;
  in.row_bytes = 0;
  while (!in.row_done && !in.at_end) {
    absl::Status status;
    if (in.chunk_begin == in.chunk_end) status = in.Fill();
    if (status.ok()) status = in.at_end ? in.Finish() : in.Feed();
    if (!status.ok()) return status;
  }
  in.fields.clear();
  for (const auto& [begin, size] : in.ends) in.fields.emplace_back(in.text.data() + begin, size);
  return in.row_done;
}

std::span<const std::string_view> CsvReader::fields() const { return impl_->fields; }
int64_t CsvReader::line() const { return impl_->line; }
const std::string& CsvReader::path() const { return impl_->path; }

std::string CsvField(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  // Twice the size and two quotes is the most that quoting can need.
  std::string quoted(2 * text.size() + 2, '\0');
  quoted.resize(csv_write(quoted.data(), quoted.size(), text.data(), text.size()));
  return quoted;
}

absl::StatusOr<float> ParseValue(std::string_view text, const CsvPlace& place,
                                 bool allow_negative) {
  if (text.empty()) return std::numeric_limits<float>::quiet_NaN();
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool whole = error == std::errc() && end == text.data() + text.size();
  if (!whole || !std::isfinite(static_cast<float>(value)) || (value < 0 && !allow_negative)) {
    return BadValue(place, text,
                    allow_negative
                        ? "a finite number (leave the field empty if it is missing)"
                        : "a finite number >= 0 (leave the field empty if it is missing)");
  }
  return static_cast<float>(value);
}

namespace {

std::optional<int64_t> ParseDate(std::string_view text) {
  const std::string copy(text);
  absl::Time time;
  std::string ignored;
  for (const char* format : {"%Y-%m-%dT%H:%M:%E*S%Ez", "%Y-%m-%d %H:%M:%E*S%Ez",
                             "%Y-%m-%dT%H:%M:%E*S", "%Y-%m-%d %H:%M:%E*S"}) {
    if (absl::ParseTime(format, copy, absl::UTCTimeZone(), &time, &ignored)) {
      return absl::ToUnixMillis(time);
    }
  }
  return std::nullopt;
}

}  // namespace

absl::StatusOr<int64_t> ParseTime(std::string_view text, const CsvPlace& place) {
  int64_t time_ms = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), time_ms);
  if (error != std::errc() || end != text.data() + text.size()) {
    time_ms = ParseDate(text).value_or(-1);
  }
  if (time_ms < 0) {
    return BadValue(place, text,
                    "a time: Unix milliseconds or ISO 8601, e.g. 2026-01-31T08:00:00Z");
  }
  return time_ms;
}

absl::Status CheckTimeUnit(const std::string& path, int64_t first_ms, int64_t step_ms) {
  constexpr int64_t kYear1973S = 100'000'000;
  constexpr int64_t kYear5138S = 100'000'000'000;
  constexpr int64_t kStepSMax = 10'000;
  if (first_ms < kYear1973S || first_ms >= kYear5138S || step_ms > kStepSMax) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(fmt::format(
      "{}: its first time, {}, is read as milliseconds since 1970, and steps are {} ms; "
      "if these are seconds, write {}000",
      path, first_ms, step_ms, first_ms));
}

namespace {

absl::Status CheckHeader(const std::string& path, int64_t line,
                         std::span<const std::string> names) {
  if (names.empty()) {
    return absl::InvalidArgumentError(fmt::format("{}:{}: the header names no series", path, line));
  }
  if (names.size() == 1 && names[0].find_first_of(";\t|") != std::string::npos) {
    return absl::InvalidArgumentError(
        fmt::format("{}:{}: the header {} is one column: columns are separated by commas", path,
                    line, Quoted(names[0])));
  }
  std::unordered_set<std::string_view> seen;
  for (const std::string& name : names) {
    if (name.empty() || !seen.insert(name).second) {
      return absl::InvalidArgumentError(fmt::format("{}:{}: header: the series name {} is {}", path,
                                                    line, Quoted(name),
                                                    name.empty() ? "empty" : "used twice"));
    }
  }
  return absl::OkStatus();
}

// Moves rows to their place on the grid of their times.
absl::Status SpreadOverTime(const std::string& path, std::span<const int64_t> times_ms,
                            std::span<const int64_t> lines, WideTable& table) {
  table.start_ms = times_ms.front();
  if (times_ms.size() < 2) return absl::OkStatus();
  table.step_ms = std::numeric_limits<int64_t>::max();
  for (size_t i = 1; i < times_ms.size(); ++i) {
    table.step_ms = std::min(table.step_ms, times_ms[i] - times_ms[i - 1]);
  }
  absl::Status status = CheckTimeUnit(path, table.start_ms, table.step_ms);
  if (!status.ok()) return status;
  for (size_t i = 1; i < times_ms.size(); ++i) {
    if ((times_ms[i] - table.start_ms) % table.step_ms == 0) continue;
    return absl::InvalidArgumentError(
        fmt::format("{}:{}: column \"timestamp\": {} ms is not a whole number of steps of {} ms "
                    "after the first "
                    "row; times must lie on one grid",
                    path, lines[i], times_ms[i], table.step_ms));
  }
  const int64_t steps = (times_ms.back() - table.start_ms) / table.step_ms + 1;
  if (steps > kWideStepsMax) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: {} steps of {} ms between the first and the last time; at most {} are allowed", path,
        steps, table.step_ms, kWideStepsMax));
  }
  if (steps == table.steps) return absl::OkStatus();
  std::vector<float> rows = std::move(table.values);
  const size_t width = table.names.size();
  table.values.assign(static_cast<size_t>(steps) * width, std::numeric_limits<float>::quiet_NaN());
  for (size_t i = 0; i < times_ms.size(); ++i) {
    const int64_t step = (times_ms[i] - table.start_ms) / table.step_ms;
    std::copy_n(rows.begin() + static_cast<std::ptrdiff_t>(i * width), width,
                table.values.begin() + step * static_cast<int64_t>(width));
  }
  table.steps = steps;
  return absl::OkStatus();
}

// Appends one row's values and, with times, its time.
absl::Status AppendRow(const CsvReader& reader, bool timed, const WideCsvOptions& options,
                       WideTable& table, std::vector<int64_t>& times_ms) {
  const auto fields = reader.fields();
  const size_t expected = table.names.size() + (timed ? 1 : 0);
  if (fields.size() != expected) {
    return absl::InvalidArgumentError(fmt::format("{}:{}: {} fields where the header has {}",
                                                  reader.path(), reader.line(), fields.size(),
                                                  expected));
  }
  CsvPlace place{reader.path(), reader.line(), "timestamp"};
  if (timed) {
    auto time_ms = ParseTime(fields[0], place);
    if (!time_ms.ok()) return time_ms.status();
    if (!times_ms.empty() && *time_ms <= times_ms.back()) {
      return absl::InvalidArgumentError(
          fmt::format("{}:{}: column \"timestamp\": {} is not after the row before; times ascend",
                      reader.path(), reader.line(), Quoted(fields[0])));
    }
    times_ms.push_back(*time_ms);
  }
  for (size_t i = 0; i < table.names.size(); ++i) {
    place.column = table.names[i];
    auto value = ParseValue(fields[i + (timed ? 1 : 0)], place, options.allow_negative);
    if (!value.ok()) return value.status();
    table.values.push_back(*value);
  }
  ++table.steps;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<WideTable> ReadWideCsv(const std::string& path, const WideCsvOptions& options) {
  auto reader = CsvReader::Open(path);
  if (!reader.ok()) return reader.status();
  auto more = reader->Next();
  if (!more.ok()) return more.status();
  if (!*more) return absl::InvalidArgumentError(fmt::format("{}: empty file, no header", path));

  WideTable table;
  table.names.assign(reader->fields().begin(), reader->fields().end());
  const int64_t header_line = reader->line();
  more = reader->Next();
  if (!more.ok()) return more.status();
  const bool timed =
      table.names[0] == "timestamp" || (*more && ParseDate(reader->fields()[0]).has_value());
  if (timed) table.names.erase(table.names.begin());
  absl::Status status = CheckHeader(path, header_line, table.names);
  if (!status.ok()) return status;

  std::vector<int64_t> times_ms, lines;
  int64_t line_before = header_line;
  for (; more.ok() && *more; more = reader->Next()) {
    // With a single column a missing sample and a blank line would look alike.
    if (!timed && table.names.size() == 1 && reader->line() != line_before + 1) {
      return absl::InvalidArgumentError(
          fmt::format("{}:{}: blank line; write \"\" for a missing sample", path, line_before + 1));
    }
    line_before = reader->line();
    lines.push_back(reader->line());
    status = AppendRow(*reader, timed, options, table, times_ms);
    if (!status.ok()) return status;
  }
  if (!more.ok()) return more.status();
  if (table.steps == 0) return absl::InvalidArgumentError(fmt::format("{}: no data row", path));
  if (timed) status = SpreadOverTime(path, times_ms, lines, table);
  if (!status.ok()) return status;
  return table;
}

}  // namespace foreshadow::training
