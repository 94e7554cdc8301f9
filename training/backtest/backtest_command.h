// `foreshadow backtest`: how well would each model have forecast a trace?
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training {

void AddBacktest(CLI::App& app);

}  // namespace foreshadow::training
