// TLS of a port that is not gRPC's, by OpenSSL: its certificate and the authorities of its clients,
// out of the same files and under the same settings. Any thread.
#pragma once

#include <openssl/ssl.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>

#include "absl/status/statusor.h"
#include "service/security/access.h"
#include "service/security/settings.h"

namespace foreshadow::security {

class Handshake {
 public:
  // Errors as those of the gRPC port: setting, file, what is wrong.
  static absl::StatusOr<std::unique_ptr<Handshake>> Create(const Settings& settings);

  // Every handshake under `context` takes the files as they are then, looked at once a second; ones
  // that are wrong are logged, and the last good ones stay in force. This outlives the context.
  void SetUp(SSL_CTX& context);

 private:
  struct Free {
    void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  };
  using Context = std::shared_ptr<SSL_CTX>;
  using Times = std::array<std::filesystem::file_time_type, 3>;

  explicit Handshake(const Settings& settings) : settings_(settings) {}
  static int TakeNewest(SSL* connection, int* alert, void* self);
  absl::StatusOr<Context> Read() const;
  Times WrittenAt() const;
  Context Newest();

  const Settings settings_;
  std::mutex mutex_;
  Context context_;
  Times written_;
  std::chrono::steady_clock::time_point looked_;
};

// The names in the certificate that the peer of a connection has shown, as gRPC tells them:
// subject alternative names, then the common name. It was verified in the handshake.
std::vector<std::string> CertificateNames(const SSL& connection);

}  // namespace foreshadow::security
