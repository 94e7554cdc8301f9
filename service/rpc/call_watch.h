// Watches every call from its start to its status: counts it, and writes a line of the log, with
// the caller's trace, at level debug, or at level error when the server is to blame.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/server_interceptor.h>

#include <memory>
#include <vector>

#include "service/logs/logs.h"

namespace foreshadow::rpc {

std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> CallWatchers();

// "OK", "NOT_FOUND", ...
const char* Name(grpc::StatusCode code);

// The trace that the caller's `traceparent` names, for a LogScope.
logs::Fields TraceOf(const grpc::ServerContextBase& context);

}  // namespace foreshadow::rpc
