// `foreshadow simulate`: what the planner would have done on a trace, beside what people run today.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training {

void AddSimulate(CLI::App& app);

}  // namespace foreshadow::training
