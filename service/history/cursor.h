// Walking the history's database: what is damaged is told of and stepped over.
#pragma once

#include <rocksdb/db.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "service/history/database.h"

namespace foreshadow::history {

class Snapshot {
 public:
  explicit Snapshot(rocksdb::DB& db) : db_(db), snapshot_(db.GetSnapshot()) {}
  ~Snapshot() { db_.ReleaseSnapshot(snapshot_); }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;
  const rocksdb::Snapshot* get() const { return snapshot_; }

 private:
  rocksdb::DB& db_;
  const rocksdb::Snapshot* snapshot_;
};

// What was found to be damaged.
class Damage {
 public:
  void Add(Family family, std::string_view key, const std::string& why);
  // DATA_LOSS with the count and the words of the first few.
  absl::Status status() const;
  int64_t count() const { return count_; }

 private:
  int64_t count_ = 0;
  std::string words_;
};

// "chunks, 2011-03-03T12:00:00Z, account 5, memory".
std::string Words(Family family, std::string_view key);

// The entries of one bucket, by key, from that account or block on. Keys of another size than
// `key_bytes` are damage. `damage` outlives it.
class Cursor {
 public:
  Cursor(const Database& database, Family family, const Snapshot& snapshot, uint32_t bucket,
         size_t key_bytes, Damage& damage, uint32_t from = 0);

  bool valid() const { return it_->Valid(); }
  void Next();
  std::string_view key() const { return it_->key().ToStringView(); }
  std::string_view value() const { return it_->value().ToStringView(); }

 private:
  void Settle();

  Family family_;
  uint32_t bucket_;
  size_t key_bytes_;
  Damage* damage_;
  uint32_t at_;  // account or block that is looked at
  std::unique_ptr<std::string> end_;
  std::unique_ptr<rocksdb::Slice> end_slice_;
  std::unique_ptr<rocksdb::Iterator> it_;
};

// The buckets, from `first` on, of which something is there, ascending.
std::vector<uint32_t> BucketsOf(const Database& database, Family family, const Snapshot& snapshot,
                                uint32_t first, Damage& damage);

// Everything of a family that is not cut into buckets, by key.
void ForEach(const Database& database, Family family, const Snapshot& snapshot, Damage& damage,
             const std::function<void(std::string_view key, std::string_view value)>& take);

}  // namespace foreshadow::history
