// Sends a trace to a server step by step over one telemetry stream.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "training/client/client.h"
#include "training/io/trace.h"

namespace foreshadow::training {

// Steps of history to send in one batch: several, yet half of what a server takes at most.
int64_t HistoryStepsAtOnce(const Trace& trace);

// Registers the trace's accounts, in the order of their first appearance.
absl::Status RegisterAccounts(const Client& client, const Trace& trace);

struct ReplayCounts {
  uint64_t accepted = 0;
  uint64_t duplicates = 0;
  uint64_t rejected = 0;
  std::string first_rejection;

  ReplayCounts& operator+=(const ReplayCounts& other);
};

class Replay {
 public:
  // Both outlive the replay.
  Replay(const Client& client, const Trace& trace);

  // Sends the samples of the steps first .. end - 1 in one batch and waits for its answer. With
  // `tick` the watermark completes them, so that a server on the data clock has ticked by then.
  absl::StatusOr<ReplayCounts> Send(int64_t first, int64_t end, bool tick);
  // Ends the stream; its error if it had one.
  absl::Status Finish();

 private:
  const Client& client_;
  const Trace& trace_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::IngestRequest, v1::IngestResponse>> stream_;
  uint64_t sequence_ = 0;
};

// Fills the server's history with all of the trace, without a tick. CANCELLED when `stop`, asked
// between batches, says so.
absl::StatusOr<ReplayCounts> SendHistory(
    const Client& client, const Trace& trace,
    const std::function<bool()>& stop = [] { return false; });

}  // namespace foreshadow::training
