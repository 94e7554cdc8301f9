// gRPC credentials out of files, for servers and for those who call them. Certificates are read
// again when their files change.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/security/auth_metadata_processor.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "service/security/access.h"

namespace foreshadow::tls {

// PEM files.
struct ServerFiles {
  std::string cert;
  std::string key;
  std::string client_ca;              // "" = certificates of clients are not looked at
  bool client_must_have_cert = true;  // with client_ca
};

// Whether a call may go on: OK, UNAUTHENTICATED or PERMISSION_DENIED. Any thread, quickly.
using Judge = std::function<absl::Status(const security::Caller&, const std::string& method)>;

// Plain text when `files.cert` is empty; then there is no judge.
std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const ServerFiles& files,
                                                               Judge judge);

// Who makes a call, by its metadata and its connection.
security::Caller CallerOf(const grpc::ServerContextBase& context);

struct ClientFiles {
  std::string ca;    // of the server's certificate; "" = plain text
  std::string cert;  // "" = none is shown
  std::string key;
  std::string token;  // a file with a bearer token; "" = none is sent
  bool operator==(const ClientFiles&) const = default;
};

// The names of the settings begin with `prefix` in messages: "--tls-", "security.agent_".
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const ClientFiles& files, const std::string& prefix);

// The token in a file: its only line. The message does not show it.
absl::StatusOr<std::string> ReadToken(const std::string& path);

}  // namespace foreshadow::tls
