// The stand-in's two front doors, gRPC and HTTP, over one station.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "service/cell/instance/station.h"

namespace foreshadow::cell {

struct ServeOptions {
  std::string id;
  std::string cell;
  std::string host = "127.0.0.1";
  int grpc_port = 0;  // 0 = none
  int http_port = 0;  // 0 = none
};

class Doors {
 public:
  // Serves at once. UNAVAILABLE names the port that cannot be bound.
  static absl::StatusOr<std::unique_ptr<Doors>> Open(const ServeOptions& options, Station& station);
  // Lets the calls under way end.
  virtual ~Doors() = default;
};

}  // namespace foreshadow::cell
