// What a route must be before any data plane is told of it.
#pragma once

#include "absl/status/status.h"
#include "service/router/routes.h"

namespace foreshadow::router {

// INVALID_ARGUMENT names account, field, value and what is allowed.
absl::Status CheckRoute(const Route& route);

}  // namespace foreshadow::router
