// Series of other systems, on their way into the history: matched with the rules, written to the
// journal, and once their step is over made into one sample a signal of an account. docs/ingest.md
// tells it whole. Any thread may call.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "service/receive/fold.h"
#include "service/serving/engine.h"

namespace foreshadow::receive {

struct IncomingSeries {
  Labels labels;
  SentKind kind = SentKind::kUnknown;
  std::vector<Point> points;
};

// What became of the points of one request.
struct Received {
  int64_t accepted_count = 0;   // durable now
  int64_t duplicate_count = 0;  // known already
  int64_t unmatched_count = 0;  // no rule takes their series
  int64_t stale_count = 0;      // markers of an end
  int64_t refused_count = 0;
  std::string why_refused;  // of the first that was, in words
};

class Receiver {
 public:
  // Goes on with what an earlier run accepted. `engine`, whose configuration holds the rules,
  // outlives it. INVALID_ARGUMENT for a rule, else Journal::Open's errors.
  static absl::StatusOr<std::unique_ptr<Receiver>> Create(Engine& engine);
  virtual ~Receiver() = default;

  // Folds steps as they fall due, on a thread of its own, until it is destroyed.
  virtual void Start() = 0;

  // `protocol` is a label of the metrics. UNAVAILABLE: nothing was kept, try again later.
  virtual absl::StatusOr<Received> Receive(std::vector<IncomingSeries> series,
                                           std::string_view protocol, int64_t now_ms) = 0;

  // Writes the steps that are due to the history. What cannot be written stays for the next call.
  virtual absl::Status FoldDue(int64_t now_ms) = 0;
};

}  // namespace foreshadow::receive
