// What the engine knows of the traffic between its ticks.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "service/router/routes.h"
#include "service/tick/types.h"

namespace foreshadow {

class Traffic {
 public:
  virtual ~Traffic() = default;
  // Accounts as registered; indices are stable.
  virtual void Registered(std::shared_ptr<const Fleet> fleet) = 0;
  // The shadows as committed: at the start, and after each tick.
  virtual void Decided(std::shared_ptr<const Fleet> fleet, const std::vector<Shadow>& shadows) = 0;
  // What the instances did since the last call.
  virtual std::vector<SideMeasure> TakeMeasures() = 0;
  virtual std::vector<std::string> Alerts() const = 0;
  virtual std::vector<router::Client> Clients() const = 0;
};

}  // namespace foreshadow
