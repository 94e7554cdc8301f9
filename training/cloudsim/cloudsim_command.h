// `foreshadow cloudsim`: our detection rules in CloudSim's own world, to be held against its
// figures.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training::cloudsim {

void AddCloudsim(CLI::App& app);

}  // namespace foreshadow::training::cloudsim
