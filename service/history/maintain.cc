// Packing what is no longer recent, and forgetting what is too old.
#include <fmt/core.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>

#include <algorithm>
#include <map>

#include "service/history/chunk.h"
#include "service/history/cursor.h"
#include "service/history/rows.h"
#include "service/history/sample_table.h"

namespace foreshadow::history {
namespace {

using SeriesKey = std::pair<uint32_t, uint8_t>;  // account, signal

// Gives back the space of a range whose entries are dropped or deleted.
absl::Status Shrink(Database& database, Family family, uint32_t first, uint32_t end) {
  const std::string from = KeyOf(first);
  const std::string to = KeyOf(end);
  const rocksdb::Slice from_slice(from);
  const rocksdb::Slice to_slice(to);
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  return ToStatus(
      database.db().CompactRange(options, database.family(family), &from_slice, &to_slice),
      "giving back space");
}

}  // namespace

absl::StatusOr<std::unique_ptr<SampleTable>> SampleTable::Create(Database& database) {
  std::unique_ptr<SampleTable> self(new SampleTable(database));
  const Snapshot snapshot(database.db());
  Damage damage;  // told of by whoever reads
  const auto packed = BucketsOf(database, kChunks, snapshot, 0, damage);
  const auto recent = BucketsOf(database, kRecent, snapshot, 0, damage);
  if (!packed.empty()) {
    self->packed_end_ = packed.back() + 1;
    self->newest_at_open_ms_ = StartMs(self->packed_end_) - 1;
  }
  if (recent.empty()) return self;
  // The newest row of each block; the bucket may have very many rows.
  rocksdb::ReadOptions options;
  options.snapshot = snapshot.get();
  std::unique_ptr<rocksdb::Iterator> it(
      database.db().NewIterator(options, database.family(kRecent)));
  for (it->SeekForPrev(KeyOf(recent.back() + 1));
       it->Valid() && it->key().size() == RowKey::kBytes;) {
    const RowKey row = RowKey::From(it->key().ToStringView());
    if (row.bucket != recent.back()) break;
    self->newest_at_open_ms_ = std::max(self->newest_at_open_ms_, row.time_ms());
    it->SeekForPrev(KeyOf(row.bucket, row.block));
  }
  if (!it->status().ok()) self->newest_at_open_ms_ = StartMs(recent.back() + 1) - 1;
  return self;
}

absl::Status SampleTable::Maintain(int64_t now_ms, const Retention& retention,
                                   const std::atomic<bool>& stop) {
  const std::lock_guard one_at_a_time(maintain_mutex_);
  Damage damage;
  std::vector<uint32_t> buckets;
  {
    const Snapshot snapshot(database_.db());
    buckets = BucketsOf(database_, kRecent, snapshot, 0, damage);
  }
  for (const uint32_t bucket : buckets) {
    if (StartMs(bucket + 1) > now_ms) break;
    absl::Status status = PackBucket(bucket, stop);
    if (absl::IsDataLoss(status)) {
      damage.Add(kRecent, KeyOf(bucket, 0u, 0u), std::string(status.message()));
    } else if (!status.ok()) {
      return status;
    }
  }
  if (absl::Status status = Forget(now_ms, retention); !status.ok()) return status;
  return damage.status();
}

absl::Status SampleTable::PackBucket(uint32_t bucket, const std::atomic<bool>& stop) {
  packing_bucket_ = std::max<uint32_t>(packing_bucket_, bucket);
  Damage damage;
  for (uint32_t block = 0;; ++block) {
    if (stop) return absl::CancelledError("packing was stopped");
    {
      const Snapshot snapshot(database_.db());
      const Cursor next(database_, kRecent, snapshot, bucket, RowKey::kBytes, damage, block);
      if (!next.valid()) break;
      block = RowKey::From(next.key()).block;
    }
    absl::Status status = PackBlock(bucket, block);
    if (absl::IsDataLoss(status)) {
      damage.Add(kRecent, KeyOf(bucket, block, 0u), std::string(status.message()));
    } else if (!status.ok()) {
      return status;
    }
  }
  if (absl::Status status = Shrink(database_, kRecent, bucket, bucket + 1); !status.ok()) {
    return status;
  }
  return damage.status();
}

// Rows of a block become chunks, together with the chunks that are there already, in one write. It
// is made ready beside writers; only when one of them wrote into the bucket meanwhile, again
// without.
absl::Status SampleTable::PackBlock(uint32_t bucket, uint32_t block) {
  std::unique_lock lock(write_mutex_);
  packed_end_ = std::max(packed_end_, bucket + 1);
  for (bool alone = false;; alone = true) {
    const uint64_t writes = writes_into_packing_;
    if (!alone) lock.unlock();
    rocksdb::WriteBatch batch;
    absl::Status status = MakeChunks(bucket, block, batch);
    if (!status.ok()) return status;
    if (!alone) lock.lock();
    if (writes_into_packing_ == writes) return database_.Write(batch, "packing samples");
  }
}

absl::Status SampleTable::MakeChunks(uint32_t bucket, uint32_t block,
                                     rocksdb::WriteBatch& batch) const {
  const bool is_forgotten = bucket < database_.kept_from()[Resolution::kSamples];
  const Snapshot snapshot(database_.db());
  Damage damage;
  std::map<SeriesKey, std::vector<Point>> series;
  Cursor rows(database_, kRecent, snapshot, bucket, RowKey::kBytes, damage, block);
  for (; rows.valid() && RowKey::From(rows.key()).block == block; rows.Next()) {
    const bool good = ForEachEntry(RowKey::From(rows.key()), rows.value(), [&](const Sample& s) {
      series[{static_cast<uint32_t>(s.account), static_cast<uint8_t>(s.signal)}].push_back(
          {s.time_ms, s.value});
    });
    if (!good) damage.Add(kRecent, rows.key(), "it is no row of samples");
  }
  // What is damaged stays as it is, for `repair`.
  if (absl::Status status = damage.status(); !status.ok()) return status;
  batch.DeleteRange(database_.family(kRecent), KeyOf(bucket, block), KeyOf(bucket, block + 1));
  if (is_forgotten) return absl::OkStatus();
  rocksdb::ReadOptions at;
  at.snapshot = snapshot.get();
  for (auto& [id, points] : series) {
    const std::string key = ChunkKey{bucket, id.first, id.second}.Text();
    std::string bytes;
    const rocksdb::Status found = database_.db().Get(at, database_.family(kChunks), key, &bytes);
    if (found.ok()) {
      const auto packed = DecodePoints(StartMs(bucket), bytes);
      if (!packed.ok()) {
        damage.Add(kChunks, key, std::string(packed.status().message()));
        return damage.status();
      }
      points.insert(points.begin(), packed->begin(), packed->end());
    } else if (!found.IsNotFound()) {
      return ToStatus(found, "packing samples");
    }
    SortOnce(points);
    if (points.size() >= kChunkCountMax) {
      damage.Add(kChunks, key, fmt::format("{} samples are too many to pack", points.size()));
      return damage.status();
    }
    batch.Put(database_.family(kChunks), key, EncodePoints(StartMs(bucket), points));
    for (const Resolution r : {Resolution::kFiveMinutes, Resolution::kHour}) {
      batch.Put(database_.family(PackedFamily(r)), key,
                EncodeBins(StartMs(bucket), Summarize(points, r)));
    }
  }
  return absl::OkStatus();
}

absl::Status SampleTable::Forget(int64_t now_ms, const Retention& retention) {
  KeptFrom& kept_from = database_.kept_from();
  std::string text;
  std::vector<std::pair<Resolution, uint32_t>> moved;
  for (const auto& [resolution, kept_ms] :
       {std::pair(Resolution::kSamples, retention.samples_ms),
        std::pair(Resolution::kFiveMinutes, retention.five_minutes_ms),
        std::pair(Resolution::kHour, retention.hours_ms)}) {
    const uint32_t from =
        std::max<uint32_t>(kept_from[resolution], BucketOf(std::max<int64_t>(0, now_ms - kept_ms)));
    if (from > kept_from[resolution]) moved.emplace_back(resolution, from);
    PutBigEndian(from, text);
  }
  if (moved.empty()) return absl::OkStatus();
  rocksdb::WriteBatch batch;
  batch.Put(database_.family(kState), kKeptFromKey, text);
  if (absl::Status status = database_.Write(batch, "forgetting old samples"); !status.ok()) {
    return status;
  }
  for (const auto& [resolution, from] : moved) kept_from.Set(resolution, from);
  // What the compaction filter drops is given back at once.
  for (const auto& [resolution, from] : moved) {
    if (absl::Status status = Shrink(database_, PackedFamily(resolution), 0, from); !status.ok()) {
      return status;
    }
  }
  return absl::OkStatus();
}

}  // namespace foreshadow::history
