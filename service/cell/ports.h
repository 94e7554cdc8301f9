// Ports for instances that do not run yet. A port is held by a socket that is bound and does not
// listen: nobody else is given it, whoever connects is refused, and the instance may bind it all
// the same (with SO_REUSEADDR or SO_REUSEPORT, one of which servers set).
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace foreshadow::cell {

class HeldPort {
 public:
  // Port 0: any free one. FAILED_PRECONDITION when it cannot be had.
  static absl::StatusOr<std::shared_ptr<const HeldPort>> Hold(const std::string& host, int port);
  ~HeldPort();
  HeldPort(const HeldPort&) = delete;
  HeldPort& operator=(const HeldPort&) = delete;

  int port() const { return port_; }

 private:
  HeldPort(int socket, int port) : socket_(socket), port_(port) {}

  const int socket_;
  const int port_;
};

}  // namespace foreshadow::cell
