// The xDS v3 control plane: an aggregated discovery service (state of the world and delta) on an
// address of its own, from which gRPC's own client and Envoy take their routes.
#pragma once

#include <grpcpp/security/server_credentials.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "service/router/traffic_router.h"
#include "service/xds/resources.h"

namespace foreshadow::xds {

// What the clients say of one instance: how its calls went since their last word.
struct Load {
  std::string instance_id;
  uint64_t requests_count = 0;  // finished
  uint64_t errors_count = 0;    // of these
  double seconds = 0;           // that this is about
};

struct Options {
  std::string listen;  // host:port; port 0: any free one
  ResourceOptions resources;
  std::shared_ptr<grpc::ServerCredentials> credentials = nullptr;  // null: plain text
  // Called from any thread; must not block.
  std::function<void(const Load&)> load = nullptr;
};

class XdsRouter : public router::TrafficRouter {
 public:
  // Binds and serves what `first` says: a control plane that is started anew must not begin with
  // less than it knew. UNAVAILABLE when the address cannot be bound.
  static absl::StatusOr<std::unique_ptr<XdsRouter>> Start(Options options,
                                                          const router::RouteUpdate& first);

  virtual int port() const = 0;
};

}  // namespace foreshadow::xds
