#include "training/io/parquet.h"

#include <arrow/api.h>
#include <arrow/compute/cast.h>
#include <arrow/io/file.h>
#include <fmt/core.h>
#include <parquet/arrow/reader.h>

#include <limits>
#include <memory>

namespace foreshadow::training {
namespace {

// The columns of one batch, cast to what a row holds; null = there is no such column.
struct Columns {
  std::shared_ptr<arrow::Int64Array> time_ms;
  std::shared_ptr<arrow::StringArray> cell, account, application;
  std::array<std::shared_ptr<arrow::DoubleArray>, kTraceSignals> signals;
};

absl::Status Damaged(const std::string& path, const arrow::Status& status) {
  return absl::DataLossError(fmt::format("{}: {}", path, status.ToString()));
}

// Takes a column as `type`, by way of `first` if that is given; absent ones stay null.
template <typename Array>
absl::Status Take(const arrow::RecordBatch& batch, const std::string& path, std::string_view name,
                  bool required, std::initializer_list<std::shared_ptr<arrow::DataType>> casts,
                  std::shared_ptr<Array>& out) {
  std::shared_ptr<arrow::Array> column = batch.GetColumnByName(std::string(name));
  if (column == nullptr) {
    if (!required) return absl::OkStatus();
    return absl::InvalidArgumentError(
        fmt::format("{}: there is no column \"{}\"; a trace has one", path, name));
  }
  const std::string found = column->type()->ToString();
  for (const auto& type : casts) {
    if (column->type()->Equals(*type)) continue;
    auto cast = arrow::compute::Cast(*column, type);
    if (!cast.ok()) {
      return absl::InvalidArgumentError(fmt::format("{}: column \"{}\" is {}, which is no {}: {}",
                                                    path, name, found, type->ToString(),
                                                    cast.status().message()));
    }
    column = *cast;
  }
  out = std::static_pointer_cast<Array>(column);
  return absl::OkStatus();
}

absl::Status TakeAll(const arrow::RecordBatch& batch, const std::string& path, Columns& columns) {
  const auto text = {arrow::utf8()};
  const auto time = batch.GetColumnByName("timestamp");
  const bool is_timestamp = time != nullptr && time->type_id() == arrow::Type::TIMESTAMP;
  absl::Status status =
      is_timestamp
          ? Take(batch, path, "timestamp", true,
                 {arrow::timestamp(arrow::TimeUnit::MILLI), arrow::int64()}, columns.time_ms)
          : Take(batch, path, "timestamp", true, {arrow::int64()}, columns.time_ms);
  if (status.ok()) status = Take(batch, path, "cell", true, text, columns.cell);
  if (status.ok()) status = Take(batch, path, "account", true, text, columns.account);
  if (status.ok()) status = Take(batch, path, "application", false, text, columns.application);
  for (int signal = 0; signal < kTraceSignals && status.ok(); ++signal) {
    status = Take(batch, path, TraceSignalName(signal), false, {arrow::float64()},
                  columns.signals[signal]);
  }
  return status;
}

std::string_view Text(const std::shared_ptr<arrow::StringArray>& column, int64_t row) {
  return column == nullptr || column->IsNull(row) ? std::string_view() : column->GetView(row);
}

absl::Status EachRow(const Columns& columns, int64_t count, int64_t first, const std::string& path,
                     const std::function<absl::Status(const TraceRow&, int64_t)>& row_is) {
  for (int64_t i = 0; i < count; ++i) {
    if (columns.time_ms->IsNull(i)) {
      return absl::InvalidArgumentError(
          fmt::format("{}:{}: column \"timestamp\" is null", path, first + i));
    }
    TraceRow row{columns.time_ms->Value(i),
                 Text(columns.cell, i),
                 Text(columns.account, i),
                 Text(columns.application, i),
                 {}};
    for (int signal = 0; signal < kTraceSignals; ++signal) {
      const auto& column = columns.signals[signal];
      row.values[signal] = column == nullptr || column->IsNull(i)
                               ? std::numeric_limits<float>::quiet_NaN()
                               : static_cast<float>(column->Value(i));
    }
    if (absl::Status status = row_is(row, first + i); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace

bool IsParquet(const std::string& path) { return path.ends_with(".parquet"); }

absl::Status ReadParquetRows(const std::string& path,
                             const std::function<absl::Status(const TraceRow&, int64_t)>& row_is) {
  const auto file = arrow::io::ReadableFile::Open(path);
  if (!file.ok()) return absl::NotFoundError(fmt::format("{}: cannot be opened", path));
  const auto reader = parquet::arrow::OpenFile(*file, arrow::default_memory_pool());
  if (!reader.ok()) return Damaged(path, reader.status());
  const auto batches = (*reader)->GetRecordBatchReader();
  if (!batches.ok()) return Damaged(path, batches.status());
  int64_t row = 1;
  for (const auto& next : **batches) {
    if (!next.ok()) return Damaged(path, next.status());
    Columns columns;
    absl::Status status = TakeAll(**next, path, columns);
    if (status.ok()) status = EachRow(columns, (*next)->num_rows(), row, path, row_is);
    if (!status.ok()) return status;
    row += (*next)->num_rows();
  }
  return absl::OkStatus();
}

}  // namespace foreshadow::training
