// Keeps the journal of a running server: a file a run in server.journal_dir, the oldest removed
// when the folder is full. Nothing that goes wrong with it ends a tick: the recording ends, and
// says so. Of the tick's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "service/config/config.h"
#include "service/journal/journal.h"

namespace foreshadow::journal {

inline constexpr char kSuffix[] = ".journal";

// The journals in a folder, oldest first; NOT_FOUND when the folder is not there.
absl::StatusOr<std::vector<std::string>> ListJournals(const std::string& folder);

class Recorder {
 public:
  // Begins the file of this run. `accounts` were known before, `decisions` is what an earlier run
  // left ("" = none). The error names server.journal_dir.
  static absl::StatusOr<std::unique_ptr<Recorder>> Open(const Config& config, int64_t accounts,
                                                        std::string decisions, int64_t now_ms);

  void Begin(int64_t tick_ms, const Inbox& inbox, const ModelList& models,
             const models::Forecaster* candidate);
  void End(Decided decided);

  // Why nothing is recorded any more; "" while it is.
  const std::string& alert() const { return alert_; }

 private:
  Recorder(std::unique_ptr<Writer> writer, std::string folder, int64_t bytes_max, int64_t others);
  void Check(const absl::Status& status);
  void MakeRoom();

  std::unique_ptr<Writer> writer_;  // null when the recording has ended
  std::string folder_;
  int64_t bytes_max_;
  int64_t other_bytes_;  // of earlier runs
  std::string alert_;
};

}  // namespace foreshadow::journal
