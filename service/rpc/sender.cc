#include "service/rpc/sender.h"

namespace foreshadow::rpc {

std::string SenderOf(const grpc::ServerContextBase& context) {
  std::string peer = context.peer();  // "ipv4:127.0.0.1:1234", "ipv6:%5B::1%5D:1234"
  if (!peer.starts_with("ipv4:") && !peer.starts_with("ipv6:")) return peer;
  peer.erase(0, 5);
  return peer.substr(0, peer.rfind(':'));
}

}  // namespace foreshadow::rpc
