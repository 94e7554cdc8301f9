// `foreshadow import`: public traces, as their authors publish them, become the long trace.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training {

void AddImport(CLI::App& app);

}  // namespace foreshadow::training
