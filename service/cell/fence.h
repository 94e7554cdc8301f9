// Fences the primaries of an account against writes of older routes, by their own Workload service.
// Any thread; waits for their answers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "service/cell/instances.h"

namespace foreshadow::cell {

// Ids of those that answered. UNAVAILABLE names one that runs and does not.
absl::StatusOr<std::vector<std::string>> FencePrimaries(Instances& instances,
                                                        const std::string& account, uint64_t epoch,
                                                        bool lift);

}  // namespace foreshadow::cell
