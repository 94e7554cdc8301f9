// The HTTP side of the server: /metrics for Prometheus, /healthz (the process answers) and /readyz
// (it has what it needs to serve). It has threads of its own.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "service/serving/engine.h"

namespace foreshadow::metrics {

class HttpServer {
 public:
  // `listen` is host:port; port 0 takes a free one. UNAVAILABLE when it cannot be bound. `engine`
  // outlives the server.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& listen,
                                                           const Engine& engine);
  virtual ~HttpServer() = default;
  virtual int port() const = 0;
};

// Why the engine cannot serve forecasts as it should; "" = it can. With the wall clock it must have
// finished a tick, and the newest must not be older than three steps.
std::string WhyNotReady(const Engine& engine, int64_t now_ms);

}  // namespace foreshadow::metrics
