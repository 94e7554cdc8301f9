// `foreshadow forecast`: the next hour of each column of a wide CSV.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training {

void AddForecast(CLI::App& app);

}  // namespace foreshadow::training
