#include "service/history/cursor.h"

#include <absl/time/time.h>
#include <fmt/core.h>

#include "service/history/keys.h"

namespace foreshadow::history {
namespace {

constexpr int64_t kShownMax = 5;         // damaged keys that an error names
constexpr uint32_t kStepsMax = 100'000;  // accounts or blocks that one damaged place may hide

std::string Clock(int64_t time_ms) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixMillis(time_ms), absl::UTCTimeZone());
}

}  // namespace

std::string Words(Family family, std::string_view key) {
  if (family == kRecent && key.size() == RowKey::kBytes) {
    const RowKey row = RowKey::From(key);
    return fmt::format("{}, {}, accounts {} to {}", Name(family), Clock(row.time_ms()),
                       row.block * kBlockAccounts, (row.block + 1) * kBlockAccounts - 1);
  }
  if (family != kRecent && key.size() == ChunkKey::kBytes) {
    const ChunkKey chunk = ChunkKey::From(key);
    return fmt::format(
        "{}, {}, account {}, {}", Name(family), Clock(StartMs(chunk.bucket)), chunk.account,
        chunk.signal < kSignals ? foreshadow::Name(static_cast<SignalKind>(chunk.signal))
                                : "unknown signal");
  }
  return fmt::format("{}, a key of {} bytes", Name(family), key.size());
}

void Damage::Add(Family family, std::string_view key, const std::string& why) {
  if (count_ < kShownMax) {
    words_ += fmt::format("{}{}: {}", count_ == 0 ? "" : "; ", Words(family, key), why);
  }
  ++count_;
}

absl::Status Damage::status() const {
  if (count_ == 0) return absl::OkStatus();
  return absl::DataLossError(fmt::format("{} places of the history are damaged: {}{}", count_,
                                         words_, count_ > kShownMax ? "; ..." : ""));
}

Cursor::Cursor(const Database& database, Family family, const Snapshot& snapshot, uint32_t bucket,
               size_t key_bytes, Damage& damage, uint32_t from)
    : family_(family),
      bucket_(bucket),
      key_bytes_(key_bytes),
      damage_(&damage),
      at_(from),
      end_(std::make_unique<std::string>(KeyOf(bucket + 1))),
      end_slice_(std::make_unique<rocksdb::Slice>(*end_)) {
  rocksdb::ReadOptions options;
  options.snapshot = snapshot.get();
  options.iterate_upper_bound = end_slice_.get();
  options.fill_cache = false;
  it_.reset(database.db().NewIterator(options, database.family(family)));
  it_->Seek(KeyOf(bucket, from));
  Settle();
}

void Cursor::Next() {
  it_->Next();
  Settle();
}

// A damaged place ends an iterator; it is asked to go on behind it.
void Cursor::Settle() {
  for (;;) {
    if (it_->Valid()) {
      if (it_->key().size() == key_bytes_) {
        at_ = GetBigEndian<uint32_t>(it_->key().data() + sizeof(uint32_t));
        return;
      }
      damage_->Add(family_, key(), "the key has the wrong size");
      it_->Next();
      continue;
    }
    if (it_->status().ok()) return;
    damage_->Add(family_, KeyOf(bucket_, at_, uint8_t{0}), it_->status().ToString());
    for (uint32_t step = 0; step < kStepsMax && !it_->Valid() && !it_->status().ok(); ++step) {
      it_->Seek(KeyOf(bucket_, ++at_));
    }
    if (!it_->Valid()) return;
  }
}

std::vector<uint32_t> BucketsOf(const Database& database, Family family, const Snapshot& snapshot,
                                uint32_t first, Damage& damage) {
  rocksdb::ReadOptions options;
  options.snapshot = snapshot.get();
  std::unique_ptr<rocksdb::Iterator> it(
      database.db().NewIterator(options, database.family(family)));
  const auto bucket_here = [&] { return GetBigEndian<uint32_t>(it->key().data()); };
  it->SeekToLast();
  if (it->Valid() && it->key().empty()) return {};  // nothing but the family's mark
  const uint32_t last = it->Valid() ? bucket_here() : first + kStepsMax;
  std::vector<uint32_t> buckets;
  bool is_damaged = false;
  for (uint32_t bucket = first; bucket <= last; ++bucket) {
    it->Seek(KeyOf(bucket));
    if (!it->Valid() && it->status().ok()) break;
    if (!it->Valid()) {
      // Its beginning is damaged; its end may tell that it is there.
      if (!is_damaged) damage.Add(family, KeyOf(bucket, 0u, uint8_t{0}), it->status().ToString());
      is_damaged = true;
      it->SeekForPrev(KeyOf(bucket + 1));
      if (!it->Valid() || it->key().empty() || bucket_here() != bucket) continue;
    }
    bucket = bucket_here();
    buckets.push_back(bucket);
  }
  return buckets;
}

void ForEach(const Database& database, Family family, const Snapshot& snapshot, Damage& damage,
             const std::function<void(std::string_view key, std::string_view value)>& take) {
  rocksdb::ReadOptions options;
  options.snapshot = snapshot.get();
  std::unique_ptr<rocksdb::Iterator> it(
      database.db().NewIterator(options, database.family(family)));
  // Where to go on behind a damaged place: keys are numbers, but for the state's words.
  const std::vector<std::string> words = {kKeptFromKey, kFormatKey, "decisions", "carried/"};
  std::string at;
  for (it->SeekToFirst();;) {
    for (; it->Valid(); it->Next()) {
      at = it->key().ToString();
      if (!at.empty()) take(it->key().ToStringView(), it->value().ToStringView());
    }
    if (it->status().ok()) return;
    damage.Add(family, at, it->status().ToString());
    if (family == kState) {
      std::string next;
      for (const std::string& word : words) {
        if (word > at) next = word;
      }
      if (next.empty()) return;
      at = next;
      it->Seek(at);
      continue;
    }
    const size_t key_bytes = family == kAccounts ? 4 : 8;
    uint64_t number = 0;
    if (at.size() == 4) number = GetBigEndian<uint32_t>(at.data());
    if (at.size() == 8) number = GetBigEndian<uint64_t>(at.data());
    for (uint32_t step = 0; step < kStepsMax && !it->Valid() && !it->status().ok(); ++step) {
      ++number;
      at = key_bytes == 4 ? KeyOf(static_cast<uint32_t>(number)) : KeyOf(number);
      it->Seek(at);
    }
    if (!it->Valid()) return;
  }
}

}  // namespace foreshadow::history
