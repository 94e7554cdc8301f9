// Who sends: what limits are counted by.
#pragma once

#include <grpcpp/grpcpp.h>

#include <functional>
#include <string>

namespace foreshadow::rpc {

// The address of a caller without its port: "127.0.0.1", "[::1]", "unix:/run/x".
std::string SenderOf(const grpc::ServerContextBase& context);

// The identity of a caller where the server knows identities, else SenderOf.
using SenderName = std::function<std::string(const grpc::ServerContextBase&)>;

}  // namespace foreshadow::rpc
