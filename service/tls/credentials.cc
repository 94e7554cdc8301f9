#include "service/tls/credentials.h"

#include <fmt/core.h>
#include <grpc/grpc_security_constants.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <algorithm>
#include <fstream>

#include "service/security/certificates.h"

namespace foreshadow::tls {
namespace {

using grpc::experimental::FileWatcherCertificateProvider;

constexpr unsigned kLookEverySeconds = 1;
constexpr size_t kTokenBytesMax = 4'096;  // of a header that carries it
constexpr std::string_view kBearer = "Bearer ";

std::string Text(grpc::string_ref text) { return {text.data(), text.size()}; }

template <typename Metadata>
void FindToken(const Metadata& metadata, security::Caller& caller) {
  const auto found = metadata.find("authorization");
  if (found == metadata.end()) return;
  caller.token = security::BearerToken({found->second.data(), found->second.size()});
}

void ReadCertificates(const grpc::AuthContext& context, security::Caller& caller) {
  for (const char* property : {GRPC_X509_SAN_PROPERTY_NAME, GRPC_X509_CN_PROPERTY_NAME}) {
    for (const grpc::string_ref& name : context.FindPropertyValues(property)) {
      caller.certificates.push_back(Text(name));
    }
  }
}

class Processor : public grpc::AuthMetadataProcessor {
 public:
  explicit Processor(Judge judge) : judge_(std::move(judge)) {}

  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context, OutputMetadata*,
                       OutputMetadata*) override {
    security::Caller caller;
    FindToken(metadata, caller);
    ReadCertificates(*context, caller);
    const auto path = metadata.find(":path");
    const std::string method = path == metadata.end() ? "" : Text(path->second);
    const absl::Status status = judge_(caller, method);
    return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
  }

 private:
  const Judge judge_;
};

class BearerToken : public grpc::MetadataCredentialsPlugin {
 public:
  explicit BearerToken(std::string token) : value_(std::string(kBearer) + token) {}
  bool IsBlocking() const override { return false; }
  const char* GetType() const override { return "bearer"; }
  grpc::Status GetMetadata(grpc::string_ref, grpc::string_ref, const grpc::AuthContext&,
                           std::multimap<grpc::string, grpc::string>* metadata) override {
    metadata->emplace("authorization", value_);
    return grpc::Status::OK;
  }
  std::string DebugString() override { return "bearer token"; }

 private:
  const std::string value_;
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> MakeServerCredentials(const ServerFiles& files,
                                                               Judge judge) {
  if (files.cert.empty()) return grpc::InsecureServerCredentials();
  const auto provider = std::make_shared<FileWatcherCertificateProvider>(
      files.key, files.cert, files.client_ca, kLookEverySeconds);
  grpc::experimental::TlsServerCredentialsOptions options(provider);
  options.watch_identity_key_cert_pairs();
  if (!files.client_ca.empty()) {
    options.watch_root_certs();
    options.set_cert_request_type(files.client_must_have_cert
                                      ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                      : GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  auto credentials = grpc::experimental::TlsServerCredentials(options);
  if (judge) {
    credentials->SetAuthMetadataProcessor(std::make_shared<Processor>(std::move(judge)));
  }
  return credentials;
}

security::Caller CallerOf(const grpc::ServerContextBase& context) {
  security::Caller caller;
  FindToken(context.client_metadata(), caller);
  if (const auto auth = context.auth_context()) ReadCertificates(*auth, caller);
  return caller;
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  std::ifstream file(path);
  std::string token;
  if (!std::getline(file, token)) {
    return absl::NotFoundError(fmt::format("token file {} cannot be read or is empty", path));
  }
  const bool fine =
      !token.empty() && token.size() <= kTokenBytesMax &&
      std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < 127; });
  if (!fine) {
    return absl::InvalidArgumentError(
        fmt::format("token file {}: its first line must be 1 .. {} printable ASCII characters "
                    "without spaces",
                    path, kTokenBytesMax));
  }
  return token;
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeChannelCredentials(
    const ClientFiles& files, const std::string& prefix) {
  if (files.ca.empty()) {
    if (files == ClientFiles{}) return grpc::InsecureChannelCredentials();
    return absl::InvalidArgumentError(
        fmt::format("{0}ca is missing: a certificate or token needs TLS, and a server that {0}ca "
                    "vouches for",
                    prefix));
  }
  if (absl::Status status = security::CheckAuthorities(prefix + "ca", files.ca); !status.ok()) {
    return status;
  }
  if (files.cert.empty() != files.key.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("{0}cert and {0}key belong together: give both or none", prefix));
  }
  if (!files.cert.empty()) {
    absl::Status status =
        security::CheckPair(prefix + "cert", files.cert, prefix + "key", files.key);
    if (!status.ok()) return status;
  }
  grpc::experimental::TlsChannelCredentialsOptions options;
  options.set_certificate_provider(std::make_shared<FileWatcherCertificateProvider>(
      files.key, files.cert, files.ca, kLookEverySeconds));
  options.watch_root_certs();
  if (!files.cert.empty()) options.watch_identity_key_cert_pairs();
  std::shared_ptr<grpc::ChannelCredentials> credentials =
      grpc::experimental::TlsCredentials(options);
  if (files.token.empty()) return credentials;
  const auto token = ReadToken(files.token);
  if (!token.ok()) return token.status();
  return grpc::CompositeChannelCredentials(
      credentials, grpc::MetadataCredentialsFromPlugin(std::make_unique<BearerToken>(*token)));
}

}  // namespace foreshadow::tls
