// The route of one account from what is known of it: pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "service/router/instance.h"
#include "service/router/routes.h"
#include "service/tick/types.h"

namespace foreshadow::router {

struct Candidate {
  const Instance* instance = nullptr;
  bool ill = false;  // beyond what its agent says: see ailment.h
};

struct Situation {
  const Account* account = nullptr;
  const Fleet* fleet = nullptr;
  std::vector<Candidate> primaries;  // that claim to be it
  Candidate shadow;                  // the one that was decided; null = none, or not heard of
  double split = 0;                  // decided
  double shed = 0;                   // decided
  uint64_t epoch = 1;                // of the route
  bool held = false;                 // all stays at the shadow: the primary was ill not long ago
};

struct Choice {
  std::optional<Route> route;  // none: nothing better is known than what is in force
  bool primary_ill = false;
  bool failed_over = false;   // the shadow takes all because the primary is ill
  bool wants_shadow = false;  // the primary is ill, and the shadow would have to be resumed first
  std::string alert;          // "" = nothing to tell
  std::string why;            // of a fail-over
};

// Least harm: a shadow that does not serve takes nothing; an ill primary gives all to one that
// does; when both are ill nothing moves.
Choice Choose(const Situation& situation);

}  // namespace foreshadow::router
