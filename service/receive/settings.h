// What an operator may set about telemetry that comes in: limits that hold for every way in, and
// how series of other systems become ours. Read from the configuration file's sections [ingest] and
// [receive] and validated there.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "service/tick/types.h"

namespace foreshadow {

struct IngestSettings {
  int64_t future_ms = 10 * 60'000;  // clocks differ; a sample further ahead is a sender's fault
  int64_t accounts_max = 1'000'000;
  int64_t samples_per_second = 0;  // of one sender; 0 = not limited
  int64_t burst_samples = 1'000'000;
  int64_t samples_per_day = 0;  // of one sender; 0 = not limited
  int32_t streams_per_sender_max = 64;
  int32_t labels_max = 64;         // of one series
  int32_t label_bytes_max = 1024;  // of a label's name or value
  int64_t series_max = 1'000'000;  // received series that a rule takes
};

// How the value of a series is meant.
enum class SeriesKind : uint8_t {
  kAuto,     // as the sender says; a sender that does not say: a counter if the name ends in _total
  kGauge,    // the amount itself
  kCounter,  // grows; its rate is the amount
};

// Which value a step takes of the several that a gauge had in it.
enum class InStep : uint8_t { kMean, kLast, kMax };

// Which series become which signal of which account.
struct ReceiveRule {
  std::string metric;                        // a regular expression of the whole name
  std::map<std::string, std::string> match;  // label -> regular expression of its whole value
  SignalKind signal = SignalKind::kCpu;
  SeriesKind kind = SeriesKind::kAuto;
  double scale = 1;
  InStep in_step = InStep::kMean;
  std::string account;      // text with {label} in it
  std::string cell;         // the same; "" = the account is registered already
  std::string application;  // the same, of accounts that are registered by their series
};

struct ReceiveSettings {
  std::vector<ReceiveRule> rules;  // none: nothing is received
  int64_t settle_ms = 3'000;       // how long a step waits for points after its end
  int64_t gap_ms = 300'000;        // points of a counter further apart give no rate
};

}  // namespace foreshadow
