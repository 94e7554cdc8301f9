// `foreshadow decompose`: STL of each column of a wide CSV.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training {

void AddDecompose(CLI::App& app);

}  // namespace foreshadow::training
