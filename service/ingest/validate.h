// Whether a batch of telemetry may be kept. Pure; free of protobuf.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "service/tick/types.h"

namespace foreshadow {

inline constexpr int64_t kBatchSamplesMax = 1'000'000;  // a batch is held in memory several times
inline constexpr size_t kAccountIdBytesMax = 256;

// 1 .. kAccountIdBytesMax printable ASCII characters without spaces.
bool IsAccountId(const std::string& id);

// As on the wire: columns of samples over a dictionary of account ids.
struct RawColumn {
  int32_t signal = 0;  // wire number: 1..5
  std::span<const uint32_t> account_index;
  std::span<const int64_t> time_ms;
  std::span<const float> values;
};

enum class RejectReason : uint8_t {
  kUnknownAccount = 1,
  kNotFinite,
  kNegative,
  kTooOld,
  kInFuture,
  kConflict,
};

struct Rejection {
  RejectReason reason = RejectReason::kUnknownAccount;
  std::string account;
  SignalKind signal = SignalKind::kCpu;
  int64_t time_ms = 0;
  float value = 0;
  std::string message;
};

struct Validated {
  std::string error;  // not empty: malformed as a whole, nothing may be kept
  std::vector<Sample> samples;
  std::vector<Rejection> rejections;
};

Validated Validate(std::span<const std::string* const> account_ids,
                   const std::vector<RawColumn>& columns,
                   const std::unordered_map<std::string, int32_t>& known, int64_t oldest_ms,
                   int64_t newest_ms);

// The answer to a sample that contradicts one already held.
Rejection ConflictOf(const Sample& sample, const std::string& account);

}  // namespace foreshadow
