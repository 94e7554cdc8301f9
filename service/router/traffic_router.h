// Whatever carries routes into force: one data plane, or one kind of them. Implemented for xDS by
// service/xds; another one - a proxy with an interface of its own - is another implementation.
#pragma once

#include <string>
#include <vector>

#include "service/router/routes.h"

namespace foreshadow::router {

class TrafficRouter {
 public:
  virtual ~TrafficRouter() = default;

  // Makes them the routes in force and returns without waiting for the data plane. A route that
  // cannot be is left as it was, and an alert says why. Any thread, calls one after the other.
  virtual void Update(const RouteUpdate& update) = 0;

  // Who follows, those cut off of late included.
  virtual std::vector<Client> Clients() const = 0;
  // How far the newest route of an account has come.
  virtual Reach ReachOf(const std::string& account) const = 0;
  // What an operator should know now.
  virtual std::vector<std::string> Alerts() const = 0;
};

}  // namespace foreshadow::router
