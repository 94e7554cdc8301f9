// The RocksDB below the history: its column families, how it is opened, how it is written durably,
// and what its errors mean. Any thread.
#pragma once

#include <rocksdb/db.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "service/history/bins.h"

namespace foreshadow::history {

inline constexpr const char* kFormat = "2";
inline constexpr const char* kFormatKey = "format";

enum Family : size_t {
  kDefault,
  kRecent,
  kChunks,
  kFiveMinutes,
  kHours,
  kAccounts,
  kState,
  kAudit,
  kCommands,
  kFamilies
};
const char* Name(Family family);

// Where samples or summaries of a resolution lie once they are packed.
constexpr Family PackedFamily(Resolution resolution) {
  return resolution == Resolution::kHour          ? kHours
         : resolution == Resolution::kFiveMinutes ? kFiveMinutes
                                                  : kChunks;
}

constexpr Resolution ResolutionOf(Family packed) {
  return packed == kHours         ? Resolution::kHour
         : packed == kFiveMinutes ? Resolution::kFiveMinutes
                                  : Resolution::kSamples;
}

// The first bucket that is not forgotten, by resolution; what a compaction meets before it, it
// drops.
class KeptFrom {
 public:
  static constexpr size_t kResolutions = 3;
  uint32_t operator[](Resolution r) const { return bucket_[static_cast<size_t>(r)]; }
  void Set(Resolution r, uint32_t bucket) { bucket_[static_cast<size_t>(r)] = bucket; }

 private:
  std::atomic<uint32_t> bucket_[kResolutions]{};
};

absl::Status ToStatus(const rocksdb::Status& status, const std::string& doing);

class Database {
 public:
  enum class Access : uint8_t { kWrite, kRead };  // kRead: beside a server that has it open

  static absl::StatusOr<std::unique_ptr<Database>> Open(const std::string& folder, Access access);
  ~Database();

  // Whole and durable, or not at all.
  absl::Status Write(rocksdb::WriteBatch& batch, const std::string& doing);

  // The same in two steps, so that many writers share one wait for the disk: Append makes it
  // visible and numbers it, WaitDurable returns when all up to that number is on the disk.
  absl::StatusOr<uint64_t> Append(rocksdb::WriteBatch& batch, const std::string& doing);
  absl::Status WaitDurable(uint64_t number);
  uint64_t appended() const { return appended_; }

  // NOT_FOUND when it is not there.
  absl::StatusOr<std::string> Get(Family family, const std::string& key,
                                  const std::string& doing) const;
  rocksdb::ColumnFamilyHandle* family(Family family) const { return families_[family]; }
  rocksdb::DB& db() const { return *db_; }
  KeptFrom& kept_from() { return *kept_from_; }
  const KeptFrom& kept_from() const { return *kept_from_; }

 private:
  Database() = default;
  absl::Status CheckFormat(const std::string& folder, Access access);
  absl::Status ReadKeptFrom();
  absl::Status LeaveFailure();

  std::shared_ptr<KeptFrom> kept_from_ = std::make_shared<KeptFrom>();
  std::unique_ptr<rocksdb::DB> db_;
  std::vector<rocksdb::ColumnFamilyHandle*> families_;
  std::atomic<bool> failed_ = false;  // the newest write did; RocksDB then takes no other
  std::atomic<uint64_t> appended_ = 0;
  std::mutex sync_mutex_;
  uint64_t durable_ = 0;
};

inline constexpr const char* kKeptFromKey = "kept_from";

// Options of all families, for RocksDB's tools.
rocksdb::DBOptions DatabaseOptions();
std::vector<rocksdb::ColumnFamilyDescriptor> FamilyDescriptors(
    const std::shared_ptr<KeptFrom>& kept_from);

}  // namespace foreshadow::history
