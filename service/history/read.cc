// Reading samples back: rows and chunks side by side.
#include <fmt/core.h>
#include <rocksdb/db.h>

#include <algorithm>
#include <array>

#include "service/history/chunk.h"
#include "service/history/cursor.h"
#include "service/history/rows.h"
#include "service/history/sample_table.h"

namespace foreshadow::history {
namespace {

// All samples of one block of accounts, by series.
class Block {
 public:
  void Clear() {
    for (auto& points : series_) points.clear();
  }
  std::vector<Point>& At(uint32_t account, uint8_t signal) {
    return series_[account % kBlockAccounts * kSignals + signal];
  }
  void Visit(uint32_t block, int64_t from_ms,
             const std::function<void(const std::vector<Sample>&)>& visit) {
    std::vector<Sample> samples;
    for (size_t i = 0; i < series_.size(); ++i) {
      std::vector<Point>& points = series_[i];
      SortOnce(points);
      const auto account = static_cast<int32_t>(block * kBlockAccounts + i / kSignals);
      for (const Point& point : points) {
        if (point.time_ms < from_ms) continue;
        samples.push_back(
            {account, static_cast<SignalKind>(i % kSignals), point.time_ms, point.value});
      }
    }
    if (!samples.empty()) visit(samples);
  }

 private:
  std::array<std::vector<Point>, kBlockAccounts * kSignals> series_;
};

void TakeRow(std::string_view key, std::string_view value, Block& block, Damage& damage) {
  const bool good = ForEachEntry(RowKey::From(key), value, [&](const Sample& s) {
    block.At(static_cast<uint32_t>(s.account), static_cast<uint8_t>(s.signal))
        .push_back({s.time_ms, s.value});
  });
  if (!good) damage.Add(kRecent, key, "it is no row of samples");
}

void TakeChunk(std::string_view key, std::string_view value, Block& block, Damage& damage) {
  const ChunkKey chunk = ChunkKey::From(key);
  const auto points = DecodePoints(StartMs(chunk.bucket), value);
  if (!points.ok() || chunk.signal >= kSignals) {
    damage.Add(kChunks, key, std::string(points.status().message()));
    return;
  }
  std::vector<Point>& series = block.At(chunk.account, chunk.signal);
  series.insert(series.end(), points->begin(), points->end());
}

}  // namespace

absl::Status SampleTable::ReadSamples(
    int64_t from_ms, const std::function<void(const std::vector<Sample>&)>& visit) const {
  const Snapshot snapshot(database_.db());
  const uint32_t first = std::max(BucketOf(std::max<int64_t>(0, from_ms)),
                                  database_.kept_from()[Resolution::kSamples]);
  Damage damage;
  std::vector<Cursor> chunks;
  std::vector<Cursor> rows;
  for (const uint32_t bucket : BucketsOf(database_, kChunks, snapshot, first, damage)) {
    chunks.emplace_back(database_, kChunks, snapshot, bucket, ChunkKey::kBytes, damage);
  }
  for (const uint32_t bucket : BucketsOf(database_, kRecent, snapshot, first, damage)) {
    rows.emplace_back(database_, kRecent, snapshot, bucket, RowKey::kBytes, damage);
  }
  const auto block_of = [](const Cursor& cursor) {
    return ChunkKey::From(cursor.key()).account / kBlockAccounts;
  };
  Block block;
  for (;;) {
    uint32_t next = UINT32_MAX;
    for (const Cursor& cursor : chunks) {
      if (cursor.valid()) next = std::min(next, block_of(cursor));
    }
    for (const Cursor& cursor : rows) {
      if (cursor.valid()) next = std::min(next, RowKey::From(cursor.key()).block);
    }
    if (next == UINT32_MAX) break;
    block.Clear();
    for (Cursor& cursor : chunks) {
      for (; cursor.valid() && block_of(cursor) == next; cursor.Next()) {
        TakeChunk(cursor.key(), cursor.value(), block, damage);
      }
    }
    for (Cursor& cursor : rows) {
      for (; cursor.valid() && RowKey::From(cursor.key()).block == next; cursor.Next()) {
        TakeRow(cursor.key(), cursor.value(), block, damage);
      }
    }
    block.Visit(next, from_ms, visit);
  }
  return damage.status();
}

absl::StatusOr<std::vector<Bin>> SampleTable::ReadBucket(uint32_t bucket, int32_t account,
                                                         SignalKind signal,
                                                         Resolution resolution) const {
  const Snapshot snapshot(database_.db());
  rocksdb::ReadOptions at;
  at.snapshot = snapshot.get();
  const ChunkKey key{bucket, static_cast<uint32_t>(account), static_cast<uint8_t>(signal)};
  // Summaries of a bucket whose samples are there are made of these, late ones included.
  const bool of_samples = bucket >= database_.kept_from()[Resolution::kSamples];
  const Family family = of_samples ? kChunks : PackedFamily(resolution);
  std::string bytes;
  const rocksdb::Status found =
      database_.db().Get(at, database_.family(family), key.Text(), &bytes);
  if (!found.ok() && !found.IsNotFound()) return ToStatus(found, "reading a series");
  const auto damaged = [&](const absl::Status& status) {
    Damage damage;
    damage.Add(family, key.Text(), std::string(status.message()));
    return damage.status();
  };
  if (!of_samples) {
    if (found.IsNotFound() || resolution == Resolution::kSamples) return std::vector<Bin>();
    auto bins = DecodeBins(StartMs(bucket), bytes);
    return bins.ok() ? bins : damaged(bins.status());
  }
  std::vector<Point> points;
  if (found.ok()) {
    auto decoded = DecodePoints(StartMs(bucket), bytes);
    if (!decoded.ok()) return damaged(decoded.status());
    points = *std::move(decoded);
  }
  Damage damage;
  const uint32_t block = key.account / kBlockAccounts;
  Cursor rows(database_, kRecent, snapshot, bucket, RowKey::kBytes, damage, block);
  for (; rows.valid() && RowKey::From(rows.key()).block == block; rows.Next()) {
    ForEachEntry(RowKey::From(rows.key()), rows.value(), [&](const Sample& s) {
      if (s.account == account && s.signal == signal) points.push_back({s.time_ms, s.value});
    });
  }
  if (!damage.status().ok()) return damage.status();
  SortOnce(points);
  return Summarize(points, resolution);
}

absl::StatusOr<std::vector<Bin>> SampleTable::ReadSeries(int32_t account, SignalKind signal,
                                                         int64_t from_ms, int64_t to_ms,
                                                         Resolution resolution) const {
  std::vector<Bin> series;
  std::vector<uint32_t> buckets;
  Damage damage;
  {
    const Snapshot snapshot(database_.db());
    const uint32_t first = BucketOf(std::max<int64_t>(0, from_ms));
    for (const Family family : {kRecent, kChunks, PackedFamily(resolution)}) {
      const auto more = BucketsOf(database_, family, snapshot, first, damage);
      buckets.insert(buckets.end(), more.begin(), more.end());
    }
  }
  std::sort(buckets.begin(), buckets.end());
  buckets.erase(std::unique(buckets.begin(), buckets.end()), buckets.end());
  for (const uint32_t bucket : buckets) {
    if (StartMs(bucket) >= to_ms) break;
    if (bucket < database_.kept_from()[resolution]) continue;
    const auto bins = ReadBucket(bucket, account, signal, resolution);
    if (!bins.ok()) return bins.status();
    for (const Bin& bin : *bins) {
      if (bin.start_ms >= from_ms && bin.start_ms < to_ms) series.push_back(bin);
    }
  }
  if (absl::Status status = damage.status(); !status.ok()) return status;
  return series;
}

}  // namespace foreshadow::history
