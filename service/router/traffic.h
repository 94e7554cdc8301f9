// What the engine knows of the traffic between its ticks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "service/router/routes.h"
#include "service/tick/types.h"

namespace foreshadow {

// Accounts by where their newest route leads.
struct RouteCounts {
  int64_t primary = 0;      // all to the primary
  int64_t shared = 0;       // to both sides
  int64_t shadow = 0;       // all to the shadow, as planned
  int64_t failed_over = 0;  // all to the shadow, because the primary is ill
  int64_t shedding = 0;     // of all these, whose requests are refused in part
  uint64_t failovers = 0;   // since the server began
};

class Traffic {
 public:
  virtual ~Traffic() = default;
  // Accounts as registered; indices are stable.
  virtual void Registered(std::shared_ptr<const Fleet> fleet) = 0;
  // The shadows and epochs as committed: at the start, and after each tick.
  virtual void Decided(std::shared_ptr<const Fleet> fleet, const std::vector<Shadow>& shadows,
                       const std::vector<RouteEpoch>& epochs) = 0;
  // What the instances did since the last call.
  virtual std::vector<SideMeasure> TakeMeasures() = 0;
  virtual std::vector<std::string> Alerts() const = 0;
  virtual std::vector<router::Client> Clients() const = 0;
  virtual RouteCounts Counts() const = 0;
};

}  // namespace foreshadow
