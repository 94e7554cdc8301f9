// `foreshadow evaluate router`.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training::router {

// Adds `evaluate` and, under it, `router`.
void AddEvaluate(CLI::App& app);

}  // namespace foreshadow::training::router
