// Rows of recent samples: entries of a block of accounts at one time.
#pragma once

#include <bit>
#include <cstring>
#include <string>
#include <string_view>

#include "service/history/keys.h"

namespace foreshadow::history {

// Account within the block (1 byte), signal (1), value (4, IEEE 754 single, little-endian).
inline constexpr size_t kEntryBytes = 6;

inline void PutEntry(const Sample& s, std::string& row) {
  char entry[kEntryBytes];
  entry[0] = static_cast<char>(static_cast<uint32_t>(s.account) % kBlockAccounts);
  entry[1] = static_cast<char>(s.signal);
  const auto bits = std::bit_cast<uint32_t>(s.value);
  for (int b = 0; b < 4; ++b) entry[2 + b] = static_cast<char>(bits >> 8 * b);
  row.append(entry, kEntryBytes);
}

// Calls take(sample) for each; false when it is no row.
template <typename Take>
bool ForEachEntry(const RowKey& key, std::string_view row, Take take) {
  if (row.size() % kEntryBytes != 0) return false;
  const int64_t time_ms = key.time_ms();
  for (size_t at = 0; at < row.size(); at += kEntryBytes) {
    const char* entry = row.data() + at;
    if (static_cast<uint8_t>(entry[1]) >= kSignals) return false;
    uint32_t bits = 0;
    for (int b = 0; b < 4; ++b) bits |= uint32_t{static_cast<uint8_t>(entry[2 + b])} << 8 * b;
    take(Sample{static_cast<int32_t>(key.block * kBlockAccounts + static_cast<uint8_t>(entry[0])),
                static_cast<SignalKind>(entry[1]), time_ms, std::bit_cast<float>(bits)});
  }
  return true;
}

}  // namespace foreshadow::history
