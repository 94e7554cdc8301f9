// What must outlive the process: samples, accounts, decisions and the audit log. Every method may
// be called from any thread; writes are durable when they return OK. `Open` gives the store that
// the server uses, in RocksDB; docs/formats/history.md tells its bytes. Tests have another, in
// memory, and one suite holds both to this contract.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "service/history/bins.h"
#include "service/tick/types.h"

namespace foreshadow {

// Time is cut into buckets of that length: what is packed, and what is forgotten, is a whole
// bucket.
inline constexpr int64_t kBucketMs = 12 * 3'600'000;

// Which of a batch's samples were new.
struct Written {
  std::vector<Sample> added;
  std::vector<Sample> conflicts;  // another value is held for that account, signal and time
  int64_t duplicate_count = 0;
};

// How long samples, and their summaries, are kept, at least; up to a bucket longer. 0 = none.
struct Retention {
  int64_t samples_ms = 0;
  int64_t five_minutes_ms = 0;
  int64_t hours_ms = 0;
};

struct BackupInfo {
  uint32_t id = 0;      // ascending
  int64_t made_ms = 0;  // by the wall clock
  uint64_t bytes = 0;   // of its files, those included that other backups have as well
  uint32_t files_count = 0;
};

class HistoryStore {
 public:
  // Opens or creates. UNAVAILABLE when another process has it open, PERMISSION_DENIED or
  // FAILED_PRECONDITION when the folder cannot be used, DATA_LOSS when it is damaged.
  static absl::StatusOr<std::unique_ptr<HistoryStore>> Open(const std::string& folder);
  virtual ~HistoryStore() = default;

  // Keeps the samples that are new: of one account, signal and time the first value wins. On an
  // error it is not known what was kept; writing the same again is harmless.
  virtual absl::StatusOr<Written> WriteSamples(const std::vector<Sample>& samples) = 0;
  // Calls `visit` with the samples at or after `from_ms`, in pieces: all of some accounts, by
  // account, signal and time. DATA_LOSS names what is damaged; all else was visited.
  virtual absl::Status ReadSamples(
      int64_t from_ms, const std::function<void(const std::vector<Sample>&)>& visit) const = 0;
  // One series' samples at from_ms <= time < to_ms, or the summaries that begin there, by time; a
  // sample is a summary of itself. Summaries outlive the samples that they are of.
  virtual absl::StatusOr<std::vector<Bin>> ReadSeries(int32_t account, SignalKind signal,
                                                      int64_t from_ms, int64_t to_ms,
                                                      Resolution resolution) const = 0;
  // Packs and summarises the buckets that ended by `now_ms`, forgets those whose time is over.
  // Beside writers and readers; CANCELLED soon after `stop` is set.
  virtual absl::Status Maintain(int64_t now_ms, const Retention& retention,
                                const std::atomic<bool>& stop) = 0;

  // Adds a copy of everything to the backups in `folder` and keeps the newest `kept` of them;
  // beside writers and readers.
  virtual absl::StatusOr<BackupInfo> Backup(const std::string& folder, int kept) = 0;

  // Accounts under their indices; cells are kept by id.
  virtual absl::Status WriteAccounts(const std::vector<std::pair<int32_t, Account>>& accounts,
                                     const std::vector<Cell>& cells) = 0;
  // In the order of their indices. FAILED_PRECONDITION names an account whose cell is not in
  // `cells` any more.
  virtual absl::StatusOr<std::vector<Account>> ReadAccounts(
      const std::vector<Cell>& cells) const = 0;

  // One step: the decisions, the audit records of the actions by action id, and that the commands
  // up to that number are taken.
  virtual absl::Status WriteDecisions(const std::string& decisions,
                                      const std::vector<std::pair<uint64_t, std::string>>& audit,
                                      uint64_t commands_taken) = 0;
  virtual absl::StatusOr<std::string> ReadDecisions() const = 0;                // NOT_FOUND: none
  virtual absl::StatusOr<std::string> ReadAudit(uint64_t action_id) const = 0;  // NOT_FOUND

  // What a model carries from tick to tick, any number of bytes; the old ones are replaced.
  virtual absl::Status WriteCarried(const std::string& model, const std::string& bytes) = 0;
  virtual absl::StatusOr<std::string> ReadCarried(const std::string& model) const = 0;  // NOT_FOUND

  // A command waits here, under an ascending number, until decisions that took it are written.
  virtual absl::Status WriteCommand(uint64_t number, const Command& command) = 0;
  virtual absl::StatusOr<std::vector<std::pair<uint64_t, Command>>> ReadCommands() const = 0;
};

}  // namespace foreshadow
