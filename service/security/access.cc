#include "service/security/access.h"

#include <fmt/core.h>
#include <fmt/ranges.h>
#include <openssl/sha.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>

#include "service/config/toml_text.h"

namespace foreshadow::security {
namespace {

constexpr auto kLookEvery = std::chrono::seconds(1);
constexpr std::string_view kBearer = "Bearer ";
constexpr std::array kRoleNames = {"ingest", "read", "operate"};

struct Rule {
  std::string_view prefix;   // of the method; the first that fits counts
  std::optional<Role> role;  // none = anybody
};

constexpr Rule kRules[] = {
    {"/grpc.health.v1.Health/", std::nullopt},
    {"/inference.GRPCInferenceService/ServerLive", std::nullopt},
    {"/inference.GRPCInferenceService/ServerReady", std::nullopt},
    {"/foreshadow.v1.Telemetry/", Role::kIngest},
    {"/opentelemetry.proto.collector.metrics.v1.MetricsService/", Role::kIngest},
    {"/foreshadow.v1.Fleet/List", Role::kRead},
    {"/foreshadow.v1.Forecasts/", Role::kRead},
    {"/foreshadow.v1.History/Read", Role::kRead},
    {"/foreshadow.v1.Patterns/", Role::kRead},
    {"/foreshadow.v1.Plans/Get", Role::kRead},
    {"/foreshadow.v1.Plans/Watch", Role::kRead},
    {"/foreshadow.v1.Plans/Explain", Role::kRead},
    {"/foreshadow.v1.Plans/List", Role::kRead},
    {"/foreshadow.v1.Fleet/", Role::kOperate},
    {"/foreshadow.v1.History/", Role::kOperate},
    {"/foreshadow.v1.Plans/", Role::kOperate},
    {"/inference.GRPCInferenceService/", Role::kRead},
    {"/envoy.service.discovery.v3.AggregatedDiscoveryService/", Role::kRead},
    {"/envoy.service.load_stats.v3.LoadReportingService/", Role::kIngest},
    {"/grpc.reflection.", Role::kRead},
    {"/healthz", std::nullopt},
    {"/readyz", std::nullopt},
    {"/metrics", Role::kRead},
    {"/api/v1/write", Role::kIngest},
    {"/grpc.channelz.", Role::kOperate},
};

const Rule* RuleFor(std::string_view method) {
  const auto rule = std::find_if(std::begin(kRules), std::end(kRules),
                                 [&](const Rule& r) { return method.starts_with(r.prefix); });
  return rule == std::end(kRules) ? nullptr : rule;
}

// An error thrown inside this file only.
struct Bad {
  std::string what;
};

const std::string& Text(const toml::value& value, const std::string& where) {
  if (!value.is_string() || value.as_string().str.empty()) {
    throw Bad{fmt::format("{} must be a string that is not empty", where)};
  }
  return value.as_string().str;
}

std::string TokenHash(const toml::value& value, const std::string& where) {
  std::string hash = Text(value, where);
  constexpr size_t kDigits = 2 * SHA256_DIGEST_LENGTH;
  const bool hex =
      std::all_of(hash.begin(), hash.end(), [](unsigned char c) { return std::isxdigit(c) != 0; });
  // Not shown: it may be the token itself, put there by mistake.
  if (hash.size() != kDigits || !hex) {
    throw Bad{
        fmt::format("{} must be the SHA-256 of the token, {} hexadecimal digits", where, kDigits)};
  }
  std::transform(hash.begin(), hash.end(), hash.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return hash;
}

void ReadRoles(const toml::value& value, const std::string& where, Identity& identity) {
  if (!value.is_array()) throw Bad{fmt::format("{} must be an array of strings", where)};
  for (const toml::value& each : value.as_array()) {
    const std::string role = Text(each, where);
    const auto at = std::find(kRoleNames.begin(), kRoleNames.end(), role);
    if (at == kRoleNames.end()) {
      throw Bad{fmt::format("{} has \"{}\": each must be one of {}", where, role,
                            fmt::join(kRoleNames, ", "))};
    }
    identity.roles[at - kRoleNames.begin()] = true;
  }
}

void ReadIdentity(const toml::value& table, size_t index, Identities& out) {
  const std::string where = fmt::format("identity[{}]", index);
  if (!table.is_table()) throw Bad{fmt::format("{} must be a table: [[identity]]", where)};
  Identity identity;
  std::optional<std::string> hash;
  std::optional<std::string> certificate;
  for (const auto& [key, value] : table.as_table()) {
    const std::string field = fmt::format("{}.{}", where, key);
    if (key == "name") {
      identity.name = Text(value, field);
    } else if (key == "roles") {
      ReadRoles(value, field, identity);
    } else if (key == "token_sha256") {
      hash = TokenHash(value, field);
    } else if (key == "certificate") {
      certificate = Text(value, field);
    } else {
      throw Bad{
          fmt::format("unknown key {}: must be name, roles, token_sha256 or certificate", field)};
    }
  }
  if (identity.name.empty()) throw Bad{fmt::format("{}.name is missing", where)};
  if (!hash && !certificate) {
    throw Bad{
        fmt::format("{} ({}) has neither token_sha256 nor certificate", where, identity.name)};
  }
  if (hash && !out.by_token.emplace(*hash, identity).second) {
    throw Bad{
        fmt::format("{}.token_sha256 ({}) is that of another identity too", where, identity.name)};
  }
  if (certificate && !out.by_certificate.emplace(*certificate, identity).second) {
    throw Bad{fmt::format("{}.certificate = \"{}\" is that of another identity too", where,
                          *certificate)};
  }
}

}  // namespace

const char* Name(Role role) { return kRoleNames[static_cast<size_t>(role)]; }

std::optional<Role> RoleFor(std::string_view method) {
  const Rule* rule = RuleFor(method);
  return rule == nullptr ? Role::kOperate : rule->role;
}

bool IsListed(std::string_view method) { return RuleFor(method) != nullptr; }

std::string Sha256Hex(std::string_view bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  std::string hex;
  for (const unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

std::string BearerToken(std::string_view authorization) {
  if (!authorization.starts_with(kBearer)) return "";
  return std::string(authorization.substr(kBearer.size()));
}

absl::StatusOr<Identities> ParseIdentities(const std::string& text, const std::string& path) {
  try {
    const toml::value file = ParseToml(text, path);
    Identities identities;
    for (const auto& [key, value] : file.as_table()) {
      if (key != "identity" || !value.is_array()) {
        throw Bad{fmt::format("unknown key {}: only [[identity]] tables are allowed", key)};
      }
      size_t index = 0;
      for (const toml::value& table : value.as_array()) {
        ReadIdentity(table, index++, identities);
      }
    }
    return identities;
  } catch (const Bad& bad) {
    return absl::InvalidArgumentError(fmt::format("{}: {}", path, bad.what));
  } catch (const std::exception&) {
    // What the parser says shows the line, on which may be a hash.
    return absl::InvalidArgumentError(fmt::format("{}: not TOML", path));
  }
}

absl::StatusOr<std::unique_ptr<Access>> Access::Load(const std::string& path) {
  std::unique_ptr<Access> access(new Access(path));
  if (absl::Status status = access->Read(); !status.ok()) return status;
  return access;
}

absl::Status Access::Read() {
  std::error_code error;
  const auto written = std::filesystem::last_write_time(path_, error);
  std::ifstream file(path_, std::ios::binary);
  if (error || !file) {
    return absl::NotFoundError(fmt::format("identities file {} cannot be opened", path_));
  }
  written_ = written;
  std::ostringstream text;
  text << file.rdbuf();
  auto identities = ParseIdentities(text.str(), path_);
  if (!identities.ok()) return identities.status();
  identities_ = std::make_shared<const Identities>(*std::move(identities));
  return absl::OkStatus();
}

std::shared_ptr<const Identities> Access::Newest() {
  const std::lock_guard lock(mutex_);
  const auto now = std::chrono::steady_clock::now();
  if (now - looked_ >= kLookEvery) {
    looked_ = now;
    std::error_code error;
    const auto written = std::filesystem::last_write_time(path_, error);
    if (!error && written != written_) {
      const absl::Status status = Read();
      if (status.ok()) {
        spdlog::info("identities read again from {}", path_);
      } else {
        spdlog::error("the identities stay as they were: {}", std::string(status.message()));
      }
    }
  }
  return identities_;
}

absl::StatusOr<Identity> Access::Identify(const Caller& caller) {
  const auto identities = Newest();
  if (caller.token) {
    const auto at = identities->by_token.find(Sha256Hex(*caller.token));
    if (at != identities->by_token.end()) return at->second;
    return absl::UnauthenticatedError("the bearer token is not known");
  }
  for (const std::string& name : caller.certificates) {
    const auto at = identities->by_certificate.find(name);
    if (at != identities->by_certificate.end()) return at->second;
  }
  if (!caller.certificates.empty()) {
    return absl::UnauthenticatedError(
        fmt::format("the client certificate names no known identity; it names {}",
                    fmt::join(caller.certificates, ", ")));
  }
  return absl::UnauthenticatedError(
      "the call has no identity: send \"authorization: Bearer TOKEN\" or use a client certificate");
}

absl::Status Access::Check(const Caller& caller, std::string_view method) {
  const auto needed = RoleFor(method);
  if (!needed) return absl::OkStatus();
  const auto identity = Identify(caller);
  if (!identity.ok()) return identity.status();
  if (identity->has(*needed)) return absl::OkStatus();
  std::vector<std::string> has;
  for (const Role role : {Role::kIngest, Role::kRead, Role::kOperate}) {
    if (identity->has(role)) has.emplace_back(Name(role));
  }
  return absl::PermissionDeniedError(
      fmt::format("{} needs the role \"{}\"; identity \"{}\" has {}", method, Name(*needed),
                  identity->name, has.empty() ? "none" : fmt::format("{}", fmt::join(has, ", "))));
}

}  // namespace foreshadow::security
