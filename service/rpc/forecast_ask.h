// Reads and checks what a BatchForecastRequest asks for. Errors are INVALID_ARGUMENT and name
// field, value and what is allowed.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "foreshadow/v1/forecasts.pb.h"
#include "service/batch/batcher.h"
#include "service/tick/types.h"

namespace foreshadow::rpc {

inline constexpr int64_t kSeriesMax = 100'000;  // of one answer

// How far ahead and at which levels.
struct Shape {
  int steps = 0;
  std::vector<float> levels;
  bool own_levels = false;  // the model's, so that its quantiles are the answer as they are
};

absl::StatusOr<Shape> ShapeOf(const v1::BatchForecastRequest& request, int64_t step_ms);
// `levels` within (0, 1) and ascending; `field` names them.
absl::Status CheckLevels(std::span<const float> levels, const std::string& field);
// Whether an answer of that size may be built in memory.
absl::Status CheckSize(int64_t series, const Shape& shape);

// Of stored accounts: the four resources when none are named.
absl::StatusOr<std::vector<SignalKind>> SignalsOf(const v1::StoredAccounts& stored);

// Histories that the caller brings; models and deadline are the caller's to fill in.
absl::StatusOr<batch::Ask> AskOf(const v1::BatchForecastRequest& request, const Shape& shape);

// Finite and not negative, or NaN = missing; `field` names the array.
absl::Status CheckHistory(std::span<const float> values, const std::string& field);
absl::Status CheckStepMs(int64_t step_ms, const std::string& field);
absl::Status CheckHistorySteps(int64_t steps, const std::string& field);
// 0 = normal, else 1 .. 3.
absl::StatusOr<int> PriorityOf(uint64_t priority);

}  // namespace foreshadow::rpc
