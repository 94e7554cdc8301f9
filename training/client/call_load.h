// Calls to accounts' instances the way their callers make them: by gRPC's own xDS client, which
// takes its routes from a control plane. Open loop, so that a side that stalls is charged for all
// that it kept waiting. One run a process: gRPC knows one control plane.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "training/client/load.h"

namespace foreshadow::training {

struct CallLoadOptions {
  std::string xds;                    // host:port of the control plane
  std::vector<std::string> accounts;  // called in turn
  LoadOptions load;
};

struct CallLoad {
  LoadResult result;
  std::map<std::string, int64_t> by_instance;  // calls answered well, warm-up included
};

// UNAVAILABLE when an account cannot be called at the beginning.
absl::StatusOr<CallLoad> RunCallLoad(const CallLoadOptions& options);

// `foreshadow load`.
void AddCallLoad(CLI::App& app);

}  // namespace foreshadow::training
