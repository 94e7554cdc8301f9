#include "service/security/handshake.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <spdlog/spdlog.h>

#include <utility>

#include "service/security/certificates.h"

namespace foreshadow::security {
namespace {

constexpr auto kLookEvery = std::chrono::seconds(1);

struct FreePeer {
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(GENERAL_NAMES* names) const { GENERAL_NAMES_free(names); }
};

std::string Text(const ASN1_STRING& text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(&text)),
          static_cast<size_t>(ASN1_STRING_length(&text))};
}

// "" = of a kind that names nobody.
std::string Text(const GENERAL_NAME& name) {
  switch (name.type) {
    case GEN_DNS:
    case GEN_URI:
    case GEN_EMAIL:
      return Text(*name.d.ia5);
    case GEN_IPADD: {
      const int length = ASN1_STRING_length(name.d.iPAddress);
      char text[INET6_ADDRSTRLEN] = {};
      const int family = length == sizeof(in_addr) ? AF_INET : AF_INET6;
      if (family == AF_INET6 && length != sizeof(in6_addr)) return "";
      inet_ntop(family, ASN1_STRING_get0_data(name.d.iPAddress), text, sizeof(text));
      return text;
    }
    default:
      return "";
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Handshake>> Handshake::Create(const Settings& settings) {
  std::unique_ptr<Handshake> handshake(new Handshake(settings));
  handshake->written_ = handshake->WrittenAt();
  auto context = handshake->Read();
  if (!context.ok()) return context.status();
  handshake->context_ = *std::move(context);
  return handshake;
}

absl::StatusOr<Handshake::Context> Handshake::Read() const {
  const Settings& s = settings_;
  absl::Status status = CheckPair("security.tls_cert", s.tls_cert, "security.tls_key", s.tls_key);
  if (!status.ok()) return status;
  const std::string& authorities = s.tls_client_ca;
  if (!authorities.empty()) {
    status = CheckAuthorities("security.tls_client_ca", authorities);
    if (!status.ok()) return status;
  }
  Context context(SSL_CTX_new(TLS_server_method()), Free());
  const bool taken =
      context != nullptr &&
      SSL_CTX_use_certificate_chain_file(context.get(), s.tls_cert.c_str()) == 1 &&
      SSL_CTX_use_PrivateKey_file(context.get(), s.tls_key.c_str(), SSL_FILETYPE_PEM) == 1 &&
      (authorities.empty() ||
       SSL_CTX_load_verify_locations(context.get(), authorities.c_str(), nullptr) == 1);
  if (taken && !authorities.empty()) {
    SSL_CTX_set_client_CA_list(context.get(), SSL_load_client_CA_file(authorities.c_str()));
  }
  ERR_clear_error();
  if (!taken) {
    return absl::InvalidArgumentError(
        fmt::format("security.tls_cert = \"{}\", tls_key = \"{}\", tls_client_ca = \"{}\": cannot "
                    "be used together",
                    s.tls_cert, s.tls_key, authorities));
  }
  return context;
}

Handshake::Times Handshake::WrittenAt() const {
  std::error_code gone;  // then Read says so
  return {std::filesystem::last_write_time(settings_.tls_cert, gone),
          std::filesystem::last_write_time(settings_.tls_key, gone),
          std::filesystem::last_write_time(settings_.tls_client_ca, gone)};
}

Handshake::Context Handshake::Newest() {
  const std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (now - looked_ < kLookEvery) return context_;
  looked_ = now;
  const Times written = WrittenAt();
  if (written == std::exchange(written_, written)) return context_;
  if (auto context = Read(); context.ok()) {
    context_ = *std::move(context);
  } else {
    spdlog::error("the HTTP port's certificates stay as they were: {}",
                  std::string(context.status().message()));
  }
  return context_;
}

int Handshake::TakeNewest(SSL* connection, int* /*alert*/, void* self) {
  SSL_set_SSL_CTX(connection, static_cast<Handshake*>(self)->Newest().get());
  return SSL_CLIENT_HELLO_SUCCESS;
}

void Handshake::SetUp(SSL_CTX& context) {
  SSL_CTX_set_min_proto_version(&context, TLS1_2_VERSION);
  // No handshake is skipped: a session that is resumed would outlive the authority of its client.
  SSL_CTX_set_options(&context, SSL_OP_NO_TICKET);
  SSL_CTX_set_num_tickets(&context, 0);
  SSL_CTX_set_session_cache_mode(&context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_client_hello_cb(&context, TakeNewest, this);
  if (settings_.tls_client_ca.empty()) return;
  const bool required = settings_.client_certificates == "required";
  SSL_CTX_set_verify(&context, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                     nullptr);
}

std::vector<std::string> CertificateNames(const SSL& connection) {
  std::vector<std::string> found;
  const std::unique_ptr<X509, FreePeer> peer(SSL_get1_peer_certificate(&connection));
  if (peer == nullptr) return found;
  const std::unique_ptr<GENERAL_NAMES, FreePeer> names(static_cast<GENERAL_NAMES*>(
      X509_get_ext_d2i(peer.get(), NID_subject_alt_name, nullptr, nullptr)));
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const std::string name = Text(*sk_GENERAL_NAME_value(names.get(), i));
    if (!name.empty()) found.push_back(name);
  }
  const X509_NAME* subject = X509_get_subject_name(peer.get());
  const int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (at >= 0) {
    found.push_back(Text(*X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at))));
  }
  return found;
}

}  // namespace foreshadow::security
