// ADS clients as light as a client can be, for measuring a control plane and not its clients: each
// a connection of its own that follows the endpoints of one account, reads, and acknowledges.
// HTTP/2 by nghttp2, one thread for all, in a child process. When an answer arrived tells the
// kernel, so that it does not count how late the child reads it.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

namespace foreshadow::testing {

class LightClients {
 public:
  // Forks; before this process has started any thread.
  LightClients(int count, const std::string& resource);
  ~LightClients();
  LightClients(const LightClients&) = delete;

  void Connect(int port);
  // Of each client its `nth` answer, from 1: when it arrived, CLOCK_REALTIME. Waits for all.
  std::vector<int64_t> ArrivalsNs(int nth);

 private:
  struct Shared;
  const int count_;
  Shared* shared_ = nullptr;
  pid_t child_ = 0;
};

}  // namespace foreshadow::testing
