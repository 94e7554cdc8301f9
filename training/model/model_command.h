// `foreshadow model`: the versions of a model registry (docs/registry.md). Main thread only.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "models/versions/versions.h"

namespace foreshadow::training {

void AddModelCommand(CLI::App& app);

// Now, by the user that runs this program.
models::Note MakeNote(const std::string& why);

}  // namespace foreshadow::training
