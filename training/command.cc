#include "training/command.h"

#include <fmt/core.h>

#include <utility>

namespace foreshadow::training {
namespace {

constexpr char kUsagePayload[] = "foreshadow/usage";

}  // namespace

absl::Status UsageError(const std::string& message) {
  absl::Status status = absl::InvalidArgumentError(message);
  status.SetPayload(kUsagePayload, absl::Cord());
  return status;
}

void SetRun(CLI::App& command, std::function<absl::Status()> run) {
  command.callback([&command, run = std::move(run)] {
    const absl::Status status = run();
    if (status.ok()) return;
    fmt::print(stderr, "foreshadow {}: {}\n", command.get_name(), std::string(status.message()));
    const bool usage = status.GetPayload(kUsagePayload).has_value();
    // CLI11's own way to end a program with a code from within a callback.
    throw CLI::RuntimeError(usage ? kExitUsage : kExitFailed);
  });
}

}  // namespace foreshadow::training
