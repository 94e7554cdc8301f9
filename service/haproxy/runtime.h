// HAProxy's runtime API over its stats socket: a line there, an answer back. One connection a line.
// Any thread; waits a second at most.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace foreshadow::haproxy {

// The path of a Unix socket, or an IPv4 address as host:port. UNAVAILABLE names the socket and the
// system's reason.
absl::StatusOr<std::string> Ask(const std::string& socket, const std::string& line);

}  // namespace foreshadow::haproxy
