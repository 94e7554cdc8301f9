// Routes for the tests of the control plane.
#pragma once

#include <string>

#include "service/router/routes.h"

namespace foreshadow::xds {

inline router::Side MakeSide(const std::string& cell, int grpc_port, int http_port = 0) {
  return {"instance-" + std::to_string(grpc_port),
          cell,
          "zone-" + cell,
          {"127.0.0.1", grpc_port, http_port}};
}

inline router::Route MakeRoute(const std::string& account, double split, bool stateful = false) {
  router::Route route;
  route.account = account;
  route.primary = MakeSide("a", 1001, 2001);
  route.shadow = MakeSide("b", 1002, 2002);
  route.split = split;
  route.stateful = stateful;
  return route;
}

inline router::RouteUpdate All(std::vector<router::Route> routes) {
  return {std::move(routes), {}, true};
}

}  // namespace foreshadow::xds
