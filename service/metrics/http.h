// The HTTP side of the server: /metrics for Prometheus, /healthz (the process answers), /readyz
// (it has what it needs to serve), and what it is given to take in. With security.tls_cert it speaks
// HTTPS only, with security.identities each path but the probes needs a role (security/access.h).
// It has threads of its own.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "service/serving/engine.h"

namespace foreshadow::metrics {

// What was posted.
struct HttpPost {
  std::string sender;  // the identity; without identities the address, without a port
  std::string content_type;
  std::string content_encoding;
  std::string body;  // as it was sent, unless its encoding is gzip, deflate or br
};

struct HttpAnswer {
  int status = 200;
  std::string text;
  int retry_after_seconds = 0;  // 0 = not said
};

// What answers posts, by path.
using HttpPosts = std::map<std::string, std::function<HttpAnswer(const HttpPost&)>>;

class HttpServer {
 public:
  // `listen` is host:port; port 0 takes a free one. UNAVAILABLE when it cannot be bound; what is
  // wrong with certificates or identities is named by setting and file. `engine` outlives the
  // server.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const std::string& listen,
                                                           const Engine& engine,
                                                           const HttpPosts& posts = {});
  virtual ~HttpServer() = default;
  virtual int port() const = 0;
};

// Why the engine cannot serve forecasts as it should; "" = it can. With the wall clock it must have
// finished a tick, and the newest must not be older than three steps.
std::string WhyNotReady(const Engine& engine, int64_t now_ms);

}  // namespace foreshadow::metrics
