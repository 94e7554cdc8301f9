// Stands before every call: who makes it, whether they may, and a record of what operators did.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/server_interceptor.h>

#include <memory>

#include "absl/status/statusor.h"
#include "service/config/config.h"
#include "service/security/access.h"
#include "service/security/audit.h"

namespace foreshadow::rpc {

class Guard {
 public:
  // Reads certificates and identities; INVALID_ARGUMENT or NOT_FOUND name setting, file and what is
  // wrong.
  static absl::StatusOr<std::unique_ptr<Guard>> Create(const Config& config);

  // Of the listening port; refuses calls by themselves. The guard outlives the server.
  std::shared_ptr<grpc::ServerCredentials> Credentials();

  // Writes what operators did to the audit file.
  std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> Auditor();

  // The name of who calls; "" when the server has no identities.
  std::string IdentityOf(const grpc::ServerContextBase& context);

  void Record(const security::Deed& deed);

 private:
  explicit Guard(const Config& config) : settings_(config.security) {}
  absl::Status Judge(const security::Caller& caller, const std::string& method);

  const security::Settings settings_;
  std::unique_ptr<security::Access> access_;  // null = everybody may do everything
  std::unique_ptr<security::Audit> audit_;
};

}  // namespace foreshadow::rpc
