// Routes carried into force by an HAProxy: a thread tells it what changed over its runtime API,
// tells it everything again when it was started anew, and reads once a second how its calls went.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "service/router/traffic_router.h"

namespace foreshadow::haproxy {

// How calls to one instance went since the last word.
struct Load {
  std::string instance_id;
  uint64_t requests_count = 0;
  uint64_t errors_count = 0;
};

struct Options {
  std::string socket;  // see runtime.h
  // Called from the thread; must not block.
  std::function<void(const Load&)> load = nullptr;
};

// An HAProxy that does not answer is shown as a client that is cut off, and is told when it does.
std::unique_ptr<router::TrafficRouter> MakeHaproxyRouter(Options options);

}  // namespace foreshadow::haproxy
