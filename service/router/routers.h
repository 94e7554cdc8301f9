// Several routers as one: each is told everything. Header only; they outlive it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "service/router/traffic_router.h"

namespace foreshadow::router {

class Routers : public TrafficRouter {
 public:
  explicit Routers(std::vector<TrafficRouter*> routers) : routers_(std::move(routers)) {}

  void Update(const RouteUpdate& update) override {
    for (TrafficRouter* router : routers_) router->Update(update);
  }
  std::vector<Client> Clients() const override {
    std::vector<Client> all;
    for (const TrafficRouter* router : routers_) {
      for (Client& client : router->Clients()) all.push_back(std::move(client));
    }
    return all;
  }
  Reach ReachOf(const std::string& account) const override {
    Reach sum;
    for (const TrafficRouter* router : routers_) {
      const Reach reach = router->ReachOf(account);
      sum.clients_count += reach.clients_count;
      sum.behind_count += reach.behind_count;
    }
    return sum;
  }
  std::vector<std::string> Alerts() const override {
    std::vector<std::string> all;
    for (const TrafficRouter* router : routers_) {
      for (std::string& alert : router->Alerts()) all.push_back(std::move(alert));
    }
    return all;
  }

 private:
  const std::vector<TrafficRouter*> routers_;
};

}  // namespace foreshadow::router
