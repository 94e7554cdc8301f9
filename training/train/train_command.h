// `foreshadow train`: makes models from traces.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training {

// Adds `train` and, under it, `lstm`.
void AddTrain(CLI::App& app);

}  // namespace foreshadow::training
