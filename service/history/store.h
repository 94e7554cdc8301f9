// What must outlive the process: samples, accounts, decisions and the audit log, in one RocksDB.
// docs/formats/history.md tells the bytes. Every method may be called from any thread; writes are
// durable when they return OK, and on an error nothing of them was kept.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "service/tick/types.h"

namespace foreshadow {

// Which of a batch's samples were new.
struct Written {
  std::vector<Sample> added;
  std::vector<Sample> conflicts;  // another value is held for that account, signal and time
  int64_t duplicate_count = 0;
};

class HistoryStore {
 public:
  // Opens or creates. UNAVAILABLE when another process has it open, PERMISSION_DENIED or
  // FAILED_PRECONDITION when the folder cannot be used, DATA_LOSS when it is damaged.
  static absl::StatusOr<std::unique_ptr<HistoryStore>> Open(const std::string& folder);
  ~HistoryStore();

  // Keeps the samples that are new: of one account, signal and time the first value wins.
  absl::StatusOr<Written> WriteSamples(const std::vector<Sample>& samples);
  // Calls `visit` with the samples at or after `from_ms`, by time, in pieces.
  absl::Status ReadSamples(int64_t from_ms,
                           const std::function<void(const std::vector<Sample>&)>& visit) const;
  // Time of the newest sample; 0 = none.
  int64_t NewestSampleMs() const;
  // Forgets samples before that time.
  absl::Status ForgetSamplesBefore(int64_t time_ms);

  // Accounts under their indices; cells are kept by id.
  absl::Status WriteAccounts(const std::vector<std::pair<int32_t, Account>>& accounts,
                             const std::vector<Cell>& cells);
  // In the order of their indices. FAILED_PRECONDITION names an account whose cell is not in
  // `cells` any more.
  absl::StatusOr<std::vector<Account>> ReadAccounts(const std::vector<Cell>& cells) const;

  // One step: the decisions, the audit records of the actions by action id, and that the commands
  // up to that number are taken.
  absl::Status WriteDecisions(const std::string& decisions,
                              const std::vector<std::pair<uint64_t, std::string>>& audit,
                              uint64_t commands_taken);
  absl::StatusOr<std::string> ReadDecisions() const;                // NOT_FOUND: none yet
  absl::StatusOr<std::string> ReadAudit(uint64_t action_id) const;  // NOT_FOUND

  // What a model carries from tick to tick, any number of bytes; the old ones are replaced.
  absl::Status WriteCarried(const std::string& model, const std::string& bytes);
  absl::StatusOr<std::string> ReadCarried(const std::string& model) const;  // NOT_FOUND: none yet

  // A command waits here, under an ascending number, until decisions that took it are written.
  absl::Status WriteCommand(uint64_t number, const Command& command);
  absl::StatusOr<std::vector<std::pair<uint64_t, Command>>> ReadCommands() const;

 private:
  struct Impl;
  explicit HistoryStore(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace foreshadow
