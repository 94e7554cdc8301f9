// status, cells, shadows, plan, explain, approve, pause, resume, replay: against a running server.
#pragma once

#include <CLI/CLI.hpp>

namespace foreshadow::training {

void AddClientCommands(CLI::App& app);

}  // namespace foreshadow::training
