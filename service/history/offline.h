// What one does with a data folder beside the server, or without it: look at it whole, and save
// what can be read of a damaged one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace foreshadow::history {

struct FamilySurvey {
  std::string name;
  int64_t entries_count = 0;
  uint64_t file_bytes = 0;  // estimated by the database, without its log
};

struct Survey {
  int64_t accounts_count = 0;
  int64_t recent_samples_count = 0;  // not packed yet
  int64_t packed_samples_count = 0;
  int64_t five_minutes_count = 0;
  int64_t hours_count = 0;
  int64_t oldest_ms = 0;  // of all samples; 0 = there is none
  int64_t newest_ms = 0;
  std::vector<FamilySurvey> families;
  absl::Status damage;  // DATA_LOSS names what is damaged; all else was counted
};

// Reads everything and checks every checksum. It sees the folder as it is when it begins; a server
// may run on it.
absl::StatusOr<Survey> SurveyFolder(const std::string& folder);

struct Repaired {
  std::string damaged_folder;  // where the folder is now as it was
  int64_t lost_accounts_count = 0;
  Survey survey;        // of the new one
  absl::Status damage;  // what was left out
};

// Writes what can be read into a new folder and puts it in the old one's place. An account that
// cannot be read stays as "lost-INDEX", pinned, so that the samples of all others stay theirs.
// UNAVAILABLE when a server runs on it.
absl::StatusOr<Repaired> RepairFolder(const std::string& folder);

}  // namespace foreshadow::history
