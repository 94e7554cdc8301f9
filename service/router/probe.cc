#include "service/router/probe.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

namespace foreshadow::router {
namespace {

Probed Connect(int socket_fd, const sockaddr_in& address, int timeout_ms) {
  if (connect(socket_fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return Probed::kAnswers;
  }
  if (errno != EINPROGRESS) return errno == ECONNREFUSED ? Probed::kRefused : Probed::kSilent;
  pollfd waiting{socket_fd, POLLOUT, 0};
  if (poll(&waiting, 1, timeout_ms) <= 0) return Probed::kSilent;
  int error = 0;
  socklen_t size = sizeof(error);
  getsockopt(socket_fd, SOL_SOCKET, SO_ERROR, &error, &size);
  return error == 0 ? Probed::kAnswers : error == ECONNREFUSED ? Probed::kRefused : Probed::kSilent;
}

}  // namespace

Probed Probe(const Address& address, int timeout_ms) {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  const int port = address.grpc_port != 0 ? address.grpc_port : address.http_port;
  name.sin_port = htons(static_cast<uint16_t>(port));
  if (port == 0 || inet_pton(AF_INET, address.host.c_str(), &name.sin_addr) != 1) {
    return Probed::kRefused;
  }
  const int socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket_fd < 0) return Probed::kAnswers;  // our own want of sockets proves nothing
  const Probed probed = Connect(socket_fd, name, timeout_ms);
  close(socket_fd);
  return probed;
}

}  // namespace foreshadow::router
