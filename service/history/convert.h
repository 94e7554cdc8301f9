// Format 1 of the data folder, which kept samples by time: read once, to become format 2.
#pragma once

#include <rocksdb/db.h>

#include "absl/status/status.h"
#include "service/history/database.h"

namespace foreshadow::history {

inline constexpr const char* kOldFormat = "1";
inline constexpr const char* kOldSamples = "samples";  // its column family

rocksdb::ColumnFamilyOptions OldSamplesOptions();

// Moves all samples from there into `database`. After a crash it goes on where it was.
absl::Status ConvertOldSamples(Database& database, rocksdb::ColumnFamilyHandle* old);

}  // namespace foreshadow::history
