// `foreshadow train`: makes models from traces, and the policy of the split.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training {

// Adds `train` and, under it, `lstm` and `router`.
void AddTrain(CLI::App& app);

}  // namespace foreshadow::training
