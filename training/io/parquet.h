// Traces out of Apache Parquet, as data lakes keep them: the columns of training/io/trace.h by
// name, in any order.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "training/io/trace.h"

namespace foreshadow::training {

// Whether the name ends in .parquet.
bool IsParquet(const std::string& path);

// Calls row_is(row, number) for each row, numbered from 1; its error ends the reading and is
// returned. Timestamps are Unix milliseconds or Parquet's own, signals any numbers, null = missing;
// a signal or the application may lack its column. NOT_FOUND when the file cannot be opened,
// DATA_LOSS when it is no sound Parquet, INVALID_ARGUMENT naming a column that is missing or of
// another type.
absl::Status ReadParquetRows(const std::string& path,
                             const std::function<absl::Status(const TraceRow&, int64_t)>& row_is);

}  // namespace foreshadow::training
