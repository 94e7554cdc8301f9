// The samples of the history: rows of recent ones, written as they come, and chunks of packed ones,
// one a series and bucket. A sample lies in one of the two. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/statusor.h"
#include "service/history/database.h"
#include "service/history/keys.h"
#include "service/history/store.h"

namespace foreshadow::history {

class SampleTable {
 public:
  // `database` outlives it.
  static absl::StatusOr<std::unique_ptr<SampleTable>> Create(Database& database);

  // As HistoryStore's methods of these names.
  absl::StatusOr<Written> WriteSamples(const std::vector<Sample>& samples);
  absl::Status ReadSamples(int64_t from_ms,
                           const std::function<void(const std::vector<Sample>&)>& visit) const;
  absl::StatusOr<std::vector<Bin>> ReadSeries(int32_t account, SignalKind signal, int64_t from_ms,
                                              int64_t to_ms, Resolution resolution) const;
  absl::Status Maintain(int64_t now_ms, const Retention& retention, const std::atomic<bool>& stop);

 private:
  explicit SampleTable(Database& database) : database_(database) {}

  // write.cc
  int64_t& NewestMs(const Sample& sample);
  absl::StatusOr<uint64_t> WriteNew(const std::vector<Sample>& samples, Written& written);
  // read.cc
  absl::StatusOr<std::vector<Bin>> ReadBucket(uint32_t bucket, int32_t account, SignalKind signal,
                                              Resolution resolution) const;
  // maintain.cc
  absl::Status PackBucket(uint32_t bucket, const std::atomic<bool>& stop);
  absl::Status PackBlock(uint32_t bucket, uint32_t block);
  absl::Status MakeChunks(uint32_t bucket, uint32_t block, rocksdb::WriteBatch& batch) const;
  absl::Status Forget(int64_t now_ms, const Retention& retention);

  Database& database_;
  std::mutex write_mutex_;  // looking for duplicates and writing is one step; guards the next four
  std::vector<int64_t> newest_ms_;    // [series]: a later sample cannot be there already
  int64_t newest_at_open_ms_ = -1;    // no sample of any series was later then
  uint32_t packed_end_ = 0;           // no bucket from here on has chunks
  uint64_t writes_into_packing_ = 0;  // that touched packing_bucket_ or an earlier one
  std::atomic<uint32_t> packing_bucket_ = 0;
  std::mutex maintain_mutex_;
};

}  // namespace foreshadow::history
