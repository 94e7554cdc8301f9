// Who sends: what limits are counted by.
#pragma once

#include <grpcpp/grpcpp.h>

#include <string>

namespace foreshadow::rpc {

// The address of a caller without its port: "127.0.0.1", "[::1]", "unix:/run/x".
std::string SenderOf(const grpc::ServerContextBase& context);

}  // namespace foreshadow::rpc
