// How a command of `foreshadow` runs: CLI11 parses, the command returns a status, the program's
// exit code follows from it. Main thread only.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "absl/status/status.h"

namespace foreshadow::training {

inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;

// Makes `run` what `command` does. An error goes to stderr; the program then ends with kExitUsage
// for a UsageError and with kExitFailed for every other.
void SetRun(CLI::App& command, std::function<absl::Status()> run);

// An error in how the command was called that the parser alone could not see, e.g. two options that
// exclude each other.
absl::Status UsageError(const std::string& message);

}  // namespace foreshadow::training
