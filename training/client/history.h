// Calls of the History service, as plain data.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "service/tls/credentials.h"

namespace foreshadow::training {

struct BackupMade {
  uint32_t id = 0;
  std::string folder;
  uint64_t bytes = 0;
};
absl::StatusOr<BackupMade> AskForBackup(const std::string& server, const tls::ClientFiles& files);

struct SeriesQuery {
  std::string account;
  int signal = 0;  // by SignalKind
  int64_t from_ms = 0;
  int64_t to_ms = 0;   // 0 = all there is
  int resolution = 0;  // samples, 5 minutes, 1 hour
};
// As CSV with a header: timestamp and value, or timestamp, mean, min, max and count.
absl::StatusOr<std::string> ReadSeriesCsv(const std::string& server, const tls::ClientFiles& files,
                                          const SeriesQuery& query);

}  // namespace foreshadow::training
