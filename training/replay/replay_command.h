// `foreshadow replay`: a server's journal done again (docs/replay.md). Main thread only.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training {

void AddReplayCommand(CLI::App& app);

}  // namespace foreshadow::training
