// The demo's second act: real requests, by gRPC's own xDS client, to accounts whose load outgrows
// their cells - first with shadows forbidden, then with them - a primary killed in the midst of it,
// and a migration. Every request is counted.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>

#include "absl/status/status.h"

namespace foreshadow::training {

// Prints what happens and a table of it, and adds that table to `summary`. ABORTED when a request
// was lost where none may be, or when shadows were of no use.
absl::Status RunTraffic(const std::function<bool()>& interrupted, nlohmann::ordered_json& summary);

}  // namespace foreshadow::training
