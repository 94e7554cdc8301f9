#include "service/cell/ports.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace foreshadow::cell {

absl::StatusOr<std::shared_ptr<const HeldPort>> HeldPort::Hold(const std::string& host, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) {
    return absl::InvalidArgumentError(fmt::format("\"{}\" is not an IPv4 address", host));
  }
  const int socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  socklen_t size = sizeof(address);
  auto* const name = reinterpret_cast<sockaddr*>(&address);
  if (socket_fd < 0 || setsockopt(socket_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
      setsockopt(socket_fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
      bind(socket_fd, name, size) != 0 || getsockname(socket_fd, name, &size) != 0) {
    const std::string why = std::strerror(errno);
    if (socket_fd >= 0) close(socket_fd);
    return absl::FailedPreconditionError(
        fmt::format("no port on {} for an instance: {}", host, why));
  }
  return std::shared_ptr<const HeldPort>(new HeldPort(socket_fd, ntohs(address.sin_port)));
}

HeldPort::~HeldPort() { close(socket_); }

}  // namespace foreshadow::cell
