// Tells a caller who was refused for want of room when to come again: as google.rpc.RetryInfo for
// programs that look at it, and as gRPC's push-back, which a client with a retry policy obeys by
// itself.
#pragma once

#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"

namespace foreshadow::rpc {

// The status to finish with; its trailer is added to `context`.
grpc::Status WithRetry(const absl::Status& status, int64_t retry_after_ms,
                       grpc::ServerContextBase& context);

}  // namespace foreshadow::rpc
