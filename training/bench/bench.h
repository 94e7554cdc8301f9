// `foreshadow bench`: how fast the kernels are here, how fast their peers, how cost grows.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training {

void AddBench(CLI::App& app);

}  // namespace foreshadow::training
