// `foreshadow train router`.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training::router {

// Adds `router` under `train`.
void AddTrainRouter(CLI::App& train);

}  // namespace foreshadow::training::router
