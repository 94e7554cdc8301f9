#include "service/router/check.h"

#include <arpa/inet.h>
#include <fmt/core.h>

namespace foreshadow::router {
namespace {

constexpr int kPortMax = 65'535;

bool IsIpAddress(const std::string& host) {
  in6_addr buffer;
  return inet_pton(AF_INET, host.c_str(), &buffer) == 1 ||
         inet_pton(AF_INET6, host.c_str(), &buffer) == 1;
}

absl::Status CheckSide(const Route& route, const char* name, const Side& side) {
  const auto bad = [&](const std::string& what) {
    return absl::InvalidArgumentError(
        fmt::format("route of account {}: {} {}", route.account, name, what));
  };
  const Address& address = side.address;
  if (!IsIpAddress(address.host)) {
    return bad(fmt::format("host = \"{}\": must be an IP address", address.host));
  }
  for (const int port : {address.grpc_port, address.http_port}) {
    if (port < 0 || port > kPortMax) {
      return bad(fmt::format("port = {}: must be 1 .. {}, or 0 for none", port, kPortMax));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckRoute(const Route& route) {
  if (route.account.empty()) return absl::InvalidArgumentError("route without an account");
  const auto bad = [&](const std::string& what) {
    return absl::InvalidArgumentError(fmt::format("route of account {}: {}", route.account, what));
  };
  if (!(route.split >= 0 && route.split <= 1)) {
    return bad(fmt::format("split = {}: must be 0 .. 1", route.split));
  }
  if (!(route.shed >= 0 && route.shed <= 1)) {
    return bad(fmt::format("shed = {}: must be 0 .. 1", route.shed));
  }
  const bool has_primary = route.primary.address.known();
  const bool has_shadow = route.shadow.address.known();
  if (!has_primary && !has_shadow) return bad("neither side has an address");
  if (has_primary) {
    if (absl::Status s = CheckSide(route, "primary", route.primary); !s.ok()) return s;
  }
  if (has_shadow) {
    if (absl::Status s = CheckSide(route, "shadow", route.shadow); !s.ok()) return s;
  }
  if (route.split > 0 && !has_shadow) {
    return bad(fmt::format("split = {} but the shadow has no address", route.split));
  }
  if (has_primary && has_shadow && route.primary.address == route.shadow.address) {
    return bad(fmt::format("{} is both sides' address", route.primary.address.host));
  }
  return absl::OkStatus();
}

}  // namespace foreshadow::router
