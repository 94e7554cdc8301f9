// Writing samples: each once, the first value wins.
#include <rocksdb/db.h>

#include <algorithm>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "service/history/chunk.h"
#include "service/history/rows.h"
#include "service/history/sample_table.h"

namespace foreshadow::history {
namespace {

// Rows of one batch, by time and block.
class RowSet {
 public:
  void Put(const Sample& sample) {
    const std::pair id(sample.time_ms, static_cast<uint32_t>(sample.account) / kBlockAccounts);
    if (last_ == nullptr || id != last_id_) {
      last_ = &rows_[id];
      last_id_ = id;
    }
    PutEntry(sample, *last_);
  }
  template <typename Take>
  void ForEach(Take take) const {
    for (const auto& [id, row] : rows_) {
      const uint32_t bucket = BucketOf(id.first);
      take(RowKey{bucket, id.second, static_cast<uint32_t>(id.first - StartMs(bucket))}, row);
    }
  }
  const std::string* Find(const RowKey& key) const {
    const auto it = rows_.find({key.time_ms(), key.block});
    return it == rows_.end() ? nullptr : &it->second;
  }
  bool empty() const { return rows_.empty(); }

 private:
  using Id = std::pair<int64_t, uint32_t>;
  absl::flat_hash_map<Id, std::string> rows_;
  std::string* last_ = nullptr;  // of the newest Put; only Put adds, so it stays where it is
  Id last_id_;
};

using Place = std::pair<int64_t, int64_t>;  // time, series

Place PlaceOf(const Sample& s) { return {s.time_ms, SeriesOf(s.account, s.signal)}; }

// What is held already at the places of some samples; nothing where nothing is.
class Held {
 public:
  explicit Held(const std::vector<Sample>& wanted) {
    for (const Sample& sample : wanted) values_.try_emplace(PlaceOf(sample));
  }
  void Tell(const Sample& sample) {
    const auto it = values_.find(PlaceOf(sample));
    if (it != values_.end()) it->second = sample.value;
  }
  std::optional<float>& At(const Sample& sample) { return values_.find(PlaceOf(sample))->second; }

 private:
  absl::flat_hash_map<Place, std::optional<float>> values_;
};

// Looks distinct keys up at once; tells each value that is there.
template <typename Take>
absl::Status LookUp(const Database& database, Family family, std::vector<std::string> keys,
                    Take take) {
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  const std::vector<rocksdb::Slice> slices(keys.begin(), keys.end());
  std::vector<rocksdb::PinnableSlice> values(keys.size());
  std::vector<rocksdb::Status> statuses(keys.size());
  database.db().MultiGet({}, database.family(family), keys.size(), slices.data(), values.data(),
                         statuses.data(), /*sorted_input=*/true);
  for (size_t i = 0; i < keys.size(); ++i) {
    if (statuses[i].ok()) {
      take(keys[i], values[i].ToStringView());
    } else if (!statuses[i].IsNotFound() && !statuses[i].IsCorruption()) {
      return ToStatus(statuses[i], "reading samples");
    }
    // What is damaged cannot be read again: as good as not there. Reading and `verify` tell of it.
  }
  return absl::OkStatus();
}

absl::Status LookUp(const Database& database, const std::vector<Sample>& late,
                    const RowSet& of_batch, uint32_t packed_end, Held& held) {
  std::vector<std::string> row_keys;
  std::vector<std::string> chunk_keys;
  for (const Sample& sample : late) {
    if (row_keys.empty() || row_keys.back() != RowKey::Of(sample).Text()) {
      row_keys.push_back(RowKey::Of(sample).Text());
    }
    const ChunkKey chunk = ChunkKey::Of(sample);
    if (chunk.bucket < packed_end) chunk_keys.push_back(chunk.Text());
  }
  const auto tell = [&held](const Sample& sample) { held.Tell(sample); };
  for (const std::string& key : row_keys) {
    const RowKey row_key = RowKey::From(key);
    if (const std::string* row = of_batch.Find(row_key)) ForEachEntry(row_key, *row, tell);
  }
  absl::Status status = LookUp(
      database, kRecent, std::move(row_keys),
      [&](const auto& key, std::string_view row) { ForEachEntry(RowKey::From(key), row, tell); });
  if (!status.ok() || chunk_keys.empty()) return status;
  return LookUp(database, kChunks, std::move(chunk_keys),
                [&](const auto& key, std::string_view bytes) {
                  const ChunkKey chunk = ChunkKey::From(key);
                  const auto points = DecodePoints(StartMs(chunk.bucket), bytes);
                  if (!points.ok()) return;
                  for (const Point& point : *points) {
                    tell({static_cast<int32_t>(chunk.account),
                          static_cast<SignalKind>(chunk.signal), point.time_ms, point.value});
                  }
                });
}

}  // namespace

int64_t& SampleTable::NewestMs(const Sample& sample) {
  const auto series = static_cast<size_t>(SeriesOf(sample.account, sample.signal));
  if (series >= newest_ms_.size()) {
    newest_ms_.resize((series / kSignals + 1) * kSignals, newest_at_open_ms_);
  }
  return newest_ms_[series];
}

absl::StatusOr<Written> SampleTable::WriteSamples(const std::vector<Sample>& samples) {
  Written written;
  const auto number = WriteNew(samples, written);
  if (!number.ok()) return number.status();
  // Duplicates too are only told of once the first of them is on the disk.
  if (absl::Status status = database_.WaitDurable(*number); !status.ok()) return status;
  return written;
}

absl::StatusOr<uint64_t> SampleTable::WriteNew(const std::vector<Sample>& samples,
                                               Written& written) {
  const std::lock_guard lock(write_mutex_);
  RowSet rows;
  std::vector<Sample> late;  // or there already
  uint32_t oldest_bucket = UINT32_MAX;
  written.added.reserve(samples.size());
  const auto add = [&](const Sample& sample) {
    rows.Put(sample);
    written.added.push_back(sample);
    oldest_bucket = std::min(oldest_bucket, BucketOf(sample.time_ms));
  };
  for (const Sample& sample : samples) {
    int64_t& newest_ms = NewestMs(sample);
    if (sample.time_ms <= newest_ms) {
      late.push_back(sample);
      continue;
    }
    newest_ms = sample.time_ms;
    add(sample);
  }
  if (!late.empty()) {
    Held held(late);
    absl::Status status = LookUp(database_, late, rows, packed_end_, held);
    if (!status.ok()) return status;
    for (const Sample& sample : late) {
      std::optional<float>& value = held.At(sample);
      if (!value) {
        value = sample.value;
        add(sample);
      } else if (*value == sample.value) {
        ++written.duplicate_count;
      } else {
        written.conflicts.push_back(sample);
      }
    }
  }
  if (rows.empty()) return database_.appended();
  rocksdb::WriteBatch batch;
  rows.ForEach([&](const RowKey& key, const std::string& row) {
    batch.Merge(database_.family(kRecent), key.Text(), row);
  });
  if (oldest_bucket <= packing_bucket_) ++writes_into_packing_;
  return database_.Append(batch, "writing samples");
}

}  // namespace foreshadow::history
