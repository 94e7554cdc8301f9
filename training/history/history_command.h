// `foreshadow history`: what a server keeps of the past, its backups, and repair of its folder.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training {

void AddHistory(CLI::App& app);

}  // namespace foreshadow::training
