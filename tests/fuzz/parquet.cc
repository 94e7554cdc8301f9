// Rows of Parquet.
#include "training/io/parquet.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <parquet/arrow/writer.h>

#include "kernels/check.h"
#include "tests/fuzz/bytes_file.h"
#include "tests/fuzz/target.h"

namespace foreshadow::fuzz {

std::vector<std::string> Seeds() {
  arrow::Int64Builder times;
  arrow::StringBuilder names;
  arrow::DoubleBuilder values;
  for (int row = 0; row < 4; ++row) {
    FORESHADOW_CHECK(times.Append(1'700'000'000'000 + row * 60'000).ok());
    FORESHADOW_CHECK(names.Append("x").ok());
    FORESHADOW_CHECK((row == 2 ? values.AppendNull() : values.Append(row)).ok());
  }
  const auto time = times.Finish();
  const auto name = names.Finish();
  const auto value = values.Finish();
  FORESHADOW_CHECK(time.ok() && name.ok() && value.ok());
  const auto table = arrow::Table::Make(
      arrow::schema({arrow::field("timestamp", arrow::int64()), arrow::field("cell", arrow::utf8()),
                     arrow::field("account", arrow::utf8()),
                     arrow::field("cpu", arrow::float64())}),
      {*time, *name, *name, *value});
  const auto stream = arrow::io::BufferOutputStream::Create();
  FORESHADOW_CHECK(stream.ok());
  FORESHADOW_CHECK(
      ::parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), *stream, 4).ok());
  return {(*(*stream)->Finish())->ToString(), ""};
}

}  // namespace foreshadow::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace foreshadow;
  static fuzz::BytesFile file;
  file.Set(data, size);
  size_t bytes = 0;
  const absl::Status status =
      training::ReadParquetRows(file.path(), [&](const training::TraceRow& row, int64_t) {
        // What a row says is judged by ReadTrace; that all of it can be read is judged here.
        bytes += row.cell.size() + row.account.size() + row.application.size();
        for (const char c : row.account) bytes += static_cast<uint8_t>(c);
        return absl::OkStatus();
      });
  FORESHADOW_CHECK(status.ok() || !status.message().empty());
  return 0;
}
