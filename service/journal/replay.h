// Does the ticks of a journal again, with the same function and what it was given then, and holds
// what is decided against what was recorded, byte by byte. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "service/journal/journal.h"
#include "service/tick/tick.h"

namespace foreshadow::journal {

struct ReplayModels {
  std::shared_ptr<const ModelList> models;
  std::shared_ptr<const models::Forecaster> candidate;  // null = none
};

struct ReplayOptions {
  // Finds the models that were recorded, or tells why it cannot; asked whenever others serve.
  std::function<absl::StatusOr<ReplayModels>(const std::vector<ModelId>& models,
                                             const std::optional<ModelId>& candidate)>
      models;
  // Finds the split policy that was recorded, or tells why it cannot; asked if there was one.
  std::function<absl::StatusOr<std::shared_ptr<const QPolicy>>(const ModelId&)> split_policy;
  int64_t until_ms = std::numeric_limits<int64_t>::max();  // the last tick
  std::function<void(const Reader&, int64_t tick_ms)> ticked = [](const Reader&, int64_t) {};
};

struct ReplayResult {
  int64_t ticks = 0;  // that are identical
  int64_t first_ms = 0;
  int64_t last_ms = 0;
  int64_t explanations = 0;
  int64_t accounts = 0;
  std::string digest;                  // of all decisions, one after the other
  std::vector<std::string> different;  // at the tick after last_ms; what and where. Empty = nothing
  int64_t different_ms = 0;
  bool cut = false;  // the server was killed in the midst of a tick
};

// Stops at the first tick that differs: all that follow would for the same reason. An error is of
// the journal or of the models; everything before it was identical.
absl::StatusOr<ReplayResult> Replay(Reader& reader, const ReplayOptions& options);

}  // namespace foreshadow::journal
