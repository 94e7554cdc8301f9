#include "service/haproxy/runtime.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace foreshadow::haproxy {
namespace {

constexpr timeval kTimeout{1, 0};
constexpr size_t kAnswerBytesMax = 256 << 20;  // statistics of some 10,000 servers

absl::Status Failed(const std::string& socket, const char* what) {
  return absl::UnavailableError(
      fmt::format("HAProxy at {}: {}: {}", socket, what, std::strerror(errno)));
}

// Closed with it.
struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) close(fd);
  }
};

absl::Status Connect(const std::string& where, Descriptor& connection) {
  sockaddr_storage storage{};
  socklen_t size = 0;
  if (where.starts_with('/')) {
    auto& path = reinterpret_cast<sockaddr_un&>(storage);
    path.sun_family = AF_UNIX;
    if (where.size() >= sizeof(path.sun_path)) {
      errno = ENAMETOOLONG;
      return Failed(where, "connect");
    }
    std::memcpy(path.sun_path, where.c_str(), where.size() + 1);
    size = sizeof(path);
  } else {
    auto& address = reinterpret_cast<sockaddr_in&>(storage);
    const size_t colon = where.rfind(':');
    uint16_t port = 0;
    std::from_chars(where.data() + colon + 1, where.data() + where.size(), port);
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    inet_pton(AF_INET, where.substr(0, colon).c_str(), &address.sin_addr);
    size = sizeof(address);
  }
  connection.fd = socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (connection.fd < 0) return Failed(where, "socket");
  setsockopt(connection.fd, SOL_SOCKET, SO_RCVTIMEO, &kTimeout, sizeof(kTimeout));
  setsockopt(connection.fd, SOL_SOCKET, SO_SNDTIMEO, &kTimeout, sizeof(kTimeout));
  if (connect(connection.fd, reinterpret_cast<sockaddr*>(&storage), size) != 0) {
    return Failed(where, "connect");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> Ask(const std::string& where, const std::string& line) {
  Descriptor connection;
  if (absl::Status status = Connect(where, connection); !status.ok()) return status;
  const std::string text = line + "\n";
  if (send(connection.fd, text.data(), text.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(text.size())) {
    return Failed(where, "write");
  }
  std::string answer;
  char buffer[65'536];
  while (answer.size() < kAnswerBytesMax) {
    const ssize_t got = recv(connection.fd, buffer, sizeof(buffer), 0);
    if (got < 0) return Failed(where, "read");
    if (got == 0) return answer;
    answer.append(buffer, static_cast<size_t>(got));
  }
  errno = EMSGSIZE;
  return Failed(where, "read");
}

}  // namespace foreshadow::haproxy
