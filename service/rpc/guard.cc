#include "service/rpc/guard.h"

#include <google/protobuf/message.h>
#include <google/protobuf/util/json_util.h>
#include <spdlog/spdlog.h>

#include <filesystem>

#include "service/metrics/metrics.h"
#include "service/rpc/call_watch.h"
#include "service/security/certificates.h"
#include "service/tls/credentials.h"

namespace foreshadow::rpc {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

constexpr const char* kAuditFile = "/audit.jsonl";
constexpr size_t kRequestBytesMax = 16 << 10;  // of a request that is written whole

std::string Json(const google::protobuf::Message& request) {
  if (request.ByteSizeLong() > kRequestBytesMax) {
    return "{\"bytes\":" + std::to_string(request.ByteSizeLong()) + "}";
  }
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(request, &json, options);
  return json;
}

// Of one call that needs the role "operate".
class Auditing : public grpc::experimental::Interceptor {
 public:
  Auditing(Guard& guard, ServerRpcInfo* info) : guard_(guard), info_(info) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE)) {
      // The methods that need the role are unary and take generated messages.
      const void* request = methods->GetRecvMessage();
      if (request != nullptr && info_->type() == ServerRpcInfo::Type::UNARY) {
        deed_.request = Json(*static_cast<const google::protobuf::Message*>(request));
      }
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      const grpc::Status status = methods->GetSendStatus();
      const grpc::ServerContextBase& context = *info_->server_context();
      deed_.identity = guard_.IdentityOf(context);
      deed_.peer = context.peer();
      deed_.method = info_->method();
      deed_.code = Name(status.error_code());
      deed_.message = status.error_message();
      guard_.Record(deed_);
    }
    methods->Proceed();
  }

 private:
  Guard& guard_;
  ServerRpcInfo* info_;
  security::Deed deed_;
};

class AuditingFactory : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit AuditingFactory(Guard& guard) : guard_(guard) {}
  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    // Channelz only looks, though it needs the role.
    const std::string_view method = info->method();
    const bool is_deed =
        method.starts_with("/foreshadow.") && security::RoleFor(method) == security::Role::kOperate;
    return is_deed ? new Auditing(guard_, info) : nullptr;
  }

 private:
  Guard& guard_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Guard>> Guard::Create(const Config& config) {
  std::unique_ptr<Guard> guard(new Guard(config));
  const security::Settings& s = config.security;
  if (!s.tls_cert.empty()) {
    absl::Status status =
        security::CheckPair("security.tls_cert", s.tls_cert, "security.tls_key", s.tls_key);
    if (!status.ok()) return status;
  }
  if (!s.tls_client_ca.empty()) {
    absl::Status status = security::CheckAuthorities("security.tls_client_ca", s.tls_client_ca);
    if (!status.ok()) return status;
  }
  if (!s.identities.empty()) {
    auto access = security::Access::Load(s.identities);
    if (!access.ok()) return access.status();
    guard->access_ = *std::move(access);
  }
  auto audit = security::Audit::Open(config.data_dir + kAuditFile);
  if (!audit.ok()) return audit.status();
  guard->audit_ = *std::move(audit);
  return guard;
}

std::shared_ptr<grpc::ServerCredentials> Guard::Credentials() {
  tls::Judge judge;
  if (access_ != nullptr) {
    judge = [this](const security::Caller& caller, const std::string& method) {
      return Judge(caller, method);
    };
  }
  return tls::MakeServerCredentials({settings_.tls_cert, settings_.tls_key, settings_.tls_client_ca,
                                     settings_.client_certificates == "required"},
                                    std::move(judge));
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> Guard::Auditor() {
  return std::make_unique<AuditingFactory>(*this);
}

std::string Guard::IdentityOf(const grpc::ServerContextBase& context) {
  if (access_ == nullptr) return "";
  const auto identity = access_->Identify(tls::CallerOf(context));
  return identity.ok() ? identity->name : "";
}

absl::Status Guard::Judge(const security::Caller& caller, const std::string& method) {
  absl::Status status = access_->Check(caller, method);
  if (status.ok()) return status;
  const bool denied = absl::IsPermissionDenied(status);
  metrics::CountRefused(denied ? "denied" : "unauthenticated");
  spdlog::debug("{} refused: {}", method, std::string(status.message()));
  // Whoever is not known must not be able to fill the file.
  if (denied && security::RoleFor(method) == security::Role::kOperate) {
    const auto identity = access_->Identify(caller);
    Record({identity.ok() ? identity->name : "", "", method, "",
            Name(grpc::StatusCode::PERMISSION_DENIED), std::string(status.message())});
  }
  return status;
}

void Guard::Record(const security::Deed& deed) {
  if (absl::Status status = audit_->Write(deed); !status.ok()) {
    spdlog::error("{}", std::string(status.message()));
  }
}

}  // namespace foreshadow::rpc
