// `foreshadow bench --suite serve`: how the server answers under load.
#pragma once

#include "absl/status/status.h"
#include "training/client/serve_load.h"

namespace foreshadow::training {

// Runs the scenarios and prints a table, or JSON. An error when a scenario had calls that failed.
absl::Status BenchServe(const ServeOptions& options, bool json);

std::string ServeTable(const ServeResults& results);
std::string ServeJson(const ServeResults& results);

}  // namespace foreshadow::training
