// The gRPC server: every public service over one engine.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "service/receive/receiver.h"
#include "service/serving/engine.h"

namespace foreshadow::rpc {

class Server {
 public:
  // Binds and serves at once. UNAVAILABLE when the address cannot be bound; what is wrong with
  // certificates or identities is named by setting and file. `engine` outlives it.
  // `receiver` too; null: OpenTelemetry's metrics are not taken.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const std::string& listen, Engine& engine,
                                                       receive::Receiver* receiver);
  virtual ~Server() = default;

  virtual int port() const = 0;
  // Answers no new call, lets those under way end within `grace_ms`, then cancels them.
  virtual void Stop(int64_t grace_ms) = 0;
};

}  // namespace foreshadow::rpc
