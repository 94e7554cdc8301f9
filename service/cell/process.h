// Processes that outlive whoever started them: launched stopped before their first instruction,
// found again by pid and start time, or by the mark in their environment. Linux only; any thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace foreshadow::cell {

// A pid alone may be used again by another process; with its start time it is one of a kind, as
// long as the machine is not started anew: see BootId.
struct ProcessId {
  pid_t pid = 0;  // 0 = none
  uint64_t start_ticks = 0;

  bool operator==(const ProcessId&) const = default;
};

enum class ProcessState : uint8_t { kStopped, kRunning, kGone };

struct ProcessView {
  ProcessState state = ProcessState::kGone;
  double cpu_seconds = 0;     // user and system time so far
  uint64_t memory_bytes = 0;  // resident
};

// Whether exec would find it: a path, or a name to look up in PATH.
bool CanRun(const std::string& program);

// Starts `command` in a session of its own, stopped before the command's first instruction,
// marked with `mark`. Its output goes to `log_path`. When this returns an error there is no
// process, and if the caller dies before it returns, there is none either or it carries the mark.
absl::StatusOr<ProcessId> LaunchStopped(const std::vector<std::string>& command,
                                        const std::string& mark, const std::string& log_path);

// What a launched process runs first: it stops itself, then becomes the command. Called by main
// when the program is run as its own launcher; never returns.
inline constexpr const char* kLauncherFlag = "--launch";
[[noreturn]] void RunLauncher(char** command);

ProcessView Inspect(const ProcessId& id);
// The process with that mark in its environment, or none.
std::optional<ProcessId> FindMarked(const std::string& mark);
// Ends whatever carries the mark: an instance hands it to all that it starts.
void KillMarked(const std::string& mark);

// To the whole process group; a process that is gone already is no error.
void SendSignal(const ProcessId& id, int signal);

// Differs from one start of the machine to the next; empty if the kernel does not tell.
std::string BootId();

// Exit code of a child of this process that has ended: 128 + signal number if it was killed;
// nothing if it runs or is nobody's child here. Takes the zombie away.
std::optional<int> Reap(const ProcessId& id);

}  // namespace foreshadow::cell
