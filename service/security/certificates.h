// Looks at certificate files before they are used, so that what is wrong with them is said at the
// start and by name, not by a handshake that fails. Any thread.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace foreshadow::security {

// A PEM certificate (chain) that is valid now, and the private key that belongs to it. Errors begin
// with the name of the setting, e.g. "security.tls_cert = /etc/x.pem".
absl::Status CheckPair(const std::string& cert_setting, const std::string& cert_path,
                       const std::string& key_setting, const std::string& key_path);

// PEM certificates of authorities, at least one.
absl::Status CheckAuthorities(const std::string& setting, const std::string& path);

// When the first of the PEM certificates in a file expires, in s since 1970.
absl::StatusOr<int64_t> ExpiryOf(const std::string& setting, const std::string& path);

}  // namespace foreshadow::security
