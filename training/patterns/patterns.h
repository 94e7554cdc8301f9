// `foreshadow patterns`: periods, spikes and leads in each column of a wide CSV.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training {

void AddPatterns(CLI::App& app);

}  // namespace foreshadow::training
