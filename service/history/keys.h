// Keys of the history's database: numbers in big-endian, so that keys sort like what they hold.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "service/history/database.h"
#include "service/history/store.h"
#include "service/tick/types.h"

namespace foreshadow::history {

// Accounts whose samples of one time lie in one row until they are packed.
inline constexpr uint32_t kBlockAccounts = 256;

template <typename Int>
void PutBigEndian(Int value, std::string& out) {
  for (int shift = 8 * (static_cast<int>(sizeof(Int)) - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>((value >> shift) & 0xff));
  }
}

template <typename Int>
Int GetBigEndian(const char* from) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(Int); ++i) value = value << 8 | static_cast<uint8_t>(from[i]);
  return static_cast<Int>(value);
}

template <typename... Ints>
std::string KeyOf(Ints... values) {
  std::string key;
  (PutBigEndian(values, key), ...);
  return key;
}

inline uint32_t BucketOf(int64_t time_ms) { return static_cast<uint32_t>(time_ms / kBucketMs); }
inline int64_t StartMs(uint32_t bucket) { return bucket * kBucketMs; }

// Not packed yet: the samples of a block of accounts at one time.
struct RowKey {
  static constexpr size_t kBytes = 12;
  uint32_t bucket = 0;
  uint32_t block = 0;
  uint32_t offset_ms = 0;  // within the bucket

  static RowKey Of(const Sample& s) {
    const uint32_t bucket = BucketOf(s.time_ms);
    return {bucket, static_cast<uint32_t>(s.account) / kBlockAccounts,
            static_cast<uint32_t>(s.time_ms - StartMs(bucket))};
  }
  static RowKey From(std::string_view key) {
    return {GetBigEndian<uint32_t>(key.data()), GetBigEndian<uint32_t>(key.data() + 4),
            GetBigEndian<uint32_t>(key.data() + 8)};
  }
  int64_t time_ms() const { return StartMs(bucket) + offset_ms; }
  std::string Text() const { return KeyOf(bucket, block, offset_ms); }
};

// Packed: one series within one bucket.
struct ChunkKey {
  static constexpr size_t kBytes = 9;
  uint32_t bucket = 0;
  uint32_t account = 0;
  uint8_t signal = 0;

  static ChunkKey Of(const Sample& s) {
    return {BucketOf(s.time_ms), static_cast<uint32_t>(s.account), static_cast<uint8_t>(s.signal)};
  }
  static ChunkKey From(std::string_view key) {
    return {GetBigEndian<uint32_t>(key.data()), GetBigEndian<uint32_t>(key.data() + 4),
            static_cast<uint8_t>(key[8])};
  }
  std::string Text() const { return KeyOf(bucket, account, signal); }
};

// Families whose keys begin with a bucket.
constexpr bool IsOfBuckets(Family family) { return family >= kRecent && family <= kHours; }
constexpr size_t KeyBytes(Family family) {
  return family == kRecent ? RowKey::kBytes : ChunkKey::kBytes;
}

}  // namespace foreshadow::history
