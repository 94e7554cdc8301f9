// The log of decisions on splits: what was known, allowed, chosen and how probable it was, and what
// the interval before had cost, a JSON line each. Other policies are judged by it and learn from it
// before they act. Functions only, any thread.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "service/learn/agent.h"

namespace foreshadow {

struct SplitRecord {
  int64_t time_ms = 0;
  std::string account;
  std::string instance_id;  // of the shadow
  std::string policy;       // version of what decided; "rule" = the rule
  double interval_s = 0;
  SplitFeatures features{};
  std::array<uint8_t, kSplitActions> allowed{};
  int32_t action = 0;
  int32_t rule = 0;  // the action that the rule would have taken
  double propensity = 1;
  double split = 0;  // that it leads to
  double shed = 0;   // of all requests, to be refused
  double cost = -1;  // of the interval that ends here, under the decision before; -1 = not known
  std::string reason;
};

SplitRecord RecordOf(const SplitDecision& decision);

// One line without its end.
std::string SplitRecordToJson(const SplitRecord& record);
// DATA_LOSS naming the field.
absl::StatusOr<SplitRecord> SplitRecordFromJson(const std::string& line);

// UNAVAILABLE with the system's reason.
absl::Status AppendSplitLog(const std::string& path, std::span<const SplitRecord> records);
// NOT_FOUND, or DATA_LOSS with the number of the line. A last line that a crash cut is left out.
absl::StatusOr<std::vector<SplitRecord>> ReadSplitLog(const std::string& path);

}  // namespace foreshadow
