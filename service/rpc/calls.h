// What calls that wait for a batch have in common.
#pragma once

#include <grpcpp/grpcpp.h>

#include <chrono>

#include "service/batch/batcher.h"
#include "service/rpc/convert.h"
#include "service/rpc/retry.h"

namespace foreshadow::rpc {

// The deadline that the caller gave, or SteadyTime::max().
inline batch::SteadyTime DeadlineOf(const grpc::ServerContextBase& context) {
  const auto deadline = context.deadline();
  const auto left = deadline - std::chrono::system_clock::now();
  // A caller without one has a deadline at the end of time.
  constexpr auto kFar = std::chrono::hours(24 * 365);
  if (deadline == std::chrono::system_clock::time_point::max() || left > kFar) {
    return batch::SteadyTime::max();
  }
  return std::chrono::steady_clock::now() +
         std::chrono::duration_cast<std::chrono::steady_clock::duration>(left);
}

// A call that came to nothing, with a hint when to come again if there was no room for it.
inline grpc::Status Refusal(const absl::Status& status, const batch::Batcher& batcher,
                            grpc::ServerContextBase& context) {
  if (!absl::IsResourceExhausted(status)) return ToGrpc(status);
  return WithRetry(status, batcher.RetryAfterMs(), context);
}

}  // namespace foreshadow::rpc
