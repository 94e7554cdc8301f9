// `foreshadow demo`: a real trace through a real server and real cells, told as it happens.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training {

void AddDemo(CLI::App& app);

}  // namespace foreshadow::training
