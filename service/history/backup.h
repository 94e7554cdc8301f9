// Copies of the history that a running server makes, and the way back. A folder of backups holds
// several; files that they have in common are there once, each with its checksum.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "service/history/store.h"

namespace foreshadow::history {

class Database;

// Makes one more and drops all but the newest `kept`. Beside writers; one at a time.
absl::StatusOr<BackupInfo> MakeBackup(Database& database, const std::string& folder, int kept);

// Oldest first. NOT_FOUND when the folder holds none.
absl::StatusOr<std::vector<BackupInfo>> ListBackups(const std::string& folder);

// Checks a backup (id 0 = the newest) and makes it the data folder `to`, which must be empty or not
// be there. No server may run on it.
absl::StatusOr<BackupInfo> RestoreBackup(const std::string& folder, uint32_t id,
                                         const std::string& to);

}  // namespace foreshadow::history
