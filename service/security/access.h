// Who may call what. An identities file names callers, by the SHA-256 of a bearer token or by a
// name in their certificate, and gives each its roles; every RPC needs one role, by one table. Any
// thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace foreshadow::security {

enum class Role : uint8_t { kIngest, kRead, kOperate };
const char* Name(Role role);

// What an RPC ("/foreshadow.v1.Plans/Pause") or a path of the HTTP port ("/metrics") needs; nothing
// for those that anybody may call. One that is not in the table needs kOperate, so that a new one
// is closed until somebody decides.
std::optional<Role> RoleFor(std::string_view method);
bool IsListed(std::string_view method);

struct Identity {
  std::string name;
  bool roles[3] = {};
  bool has(Role role) const { return roles[static_cast<int>(role)]; }
};

// What a call shows of who makes it.
struct Caller {
  std::optional<std::string> token;       // of "authorization: Bearer TOKEN"
  std::vector<std::string> certificates;  // subject alternative names, then the common name
};

struct Identities {
  std::unordered_map<std::string, Identity> by_token;        // SHA-256, 64 small hexadecimal digits
  std::unordered_map<std::string, Identity> by_certificate;  // a name
};

// Errors name file, identity, field and what is allowed, never a hash.
absl::StatusOr<Identities> ParseIdentities(const std::string& text, const std::string& path);

std::string Sha256Hex(std::string_view bytes);

// The token of an "authorization" header; anything else than a bearer token is one that nobody
// knows.
std::string BearerToken(std::string_view authorization);

class Access {
 public:
  // The file is read again when it changes; one that is wrong is logged, and the last good one
  // stays in force.
  static absl::StatusOr<std::unique_ptr<Access>> Load(const std::string& path);

  // UNAUTHENTICATED when nobody known calls.
  absl::StatusOr<Identity> Identify(const Caller& caller);

  // OK, UNAUTHENTICATED or PERMISSION_DENIED, in words for the caller.
  absl::Status Check(const Caller& caller, std::string_view method);

 private:
  explicit Access(std::string path) : path_(std::move(path)) {}
  absl::Status Read();
  std::shared_ptr<const Identities> Newest();

  const std::string path_;
  std::mutex mutex_;
  std::shared_ptr<const Identities> identities_;
  std::filesystem::file_time_type written_;
  std::chrono::steady_clock::time_point looked_;
};

}  // namespace foreshadow::security
