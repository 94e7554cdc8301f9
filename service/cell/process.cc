#include "service/cell/process.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace foreshadow::cell {
namespace {

constexpr const char* kMarkVariable = "FORESHADOW_INSTANCE";
constexpr int kExecFailed = 127;  // what a shell says for a command it cannot run

struct Stat {
  char state = 'X';
  uint64_t cpu_ticks = 0;
  uint64_t threads = 0;
  uint64_t start_ticks = 0;
};

// /proc/PID/stat, see proc(5). The name in parentheses may hold anything, so fields count from the
// last one.
std::optional<Stat> ReadStat(pid_t pid) {
  std::ifstream file(fmt::format("/proc/{}/stat", pid));
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(line.substr(name_end + 2));
  std::string field;
  Stat stat;
  for (int number = 3; fields >> field; ++number) {
    if (number == 3) stat.state = field[0];
    if (number == 14 || number == 15) stat.cpu_ticks += std::stoull(field);
    if (number == 20) stat.threads = std::stoull(field);
    if (number == 22) {
      stat.start_ticks = std::stoull(field);
      return stat;
    }
  }
  return std::nullopt;
}

std::vector<pid_t> Marked(const std::string& mark) {
  const std::string wanted = std::string(kMarkVariable) + "=" + mark;
  std::vector<pid_t> pids;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "environ", std::ios::binary);
    std::string variable;
    bool found = false;
    while (!found && std::getline(file, variable, '\0')) found = variable == wanted;
    if (found) pids.push_back(static_cast<pid_t>(std::stol(name)));
  }
  return pids;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::vector<std::string> EnvironmentWith(const std::string& mark) {
  const std::string variable = std::string(kMarkVariable) + "=";
  std::vector<std::string> all = {variable + mark};
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (std::strncmp(*entry, variable.c_str(), variable.size()) != 0) all.emplace_back(*entry);
  }
  return all;
}

// In the child, between fork and exec: only calls that are safe there.
[[noreturn]] void BecomeLauncher(char** arguments, char** environment, int log, pid_t parent) {
  // Until the launcher carries the mark, it must not outlive its parent unseen.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(kExecFailed);  // ended before the kernel was told
  // A session of its own, not only a group: when a parent ends, the kernel sends SIGHUP and SIGCONT
  // to stopped groups of the same session, and paused instances are to stay paused.
  setsid();
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  execve("/proc/self/exe", arguments, environment);
  _exit(kExecFailed);
}

}  // namespace

bool CanRun(const std::string& program) {
  if (program.find('/') != std::string::npos) return access(program.c_str(), X_OK) == 0;
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "/bin:/usr/bin" : path);
  std::string folder;
  while (std::getline(folders, folder, ':')) {
    if (access(fmt::format("{}/{}", folder, program).c_str(), X_OK) == 0) return true;
  }
  return false;
}

void RunLauncher(char** command) {
  prctl(PR_SET_PDEATHSIG, 0);
  // Whoever reads a pipe of the agent's parent must not wait for instances, which outlive both.
  close_range(STDERR_FILENO + 1, ~0u, 0);
  raise(SIGSTOP);
  execvp(command[0], command);
  std::fprintf(stderr, "%s cannot be run: %s\n", command[0], std::strerror(errno));
  _exit(kExecFailed);
}

absl::StatusOr<ProcessId> LaunchStopped(const std::vector<std::string>& command,
                                        const std::string& mark, const std::string& log_path) {
  std::vector<std::string> arguments = {"foreshadow-cell", kLauncherFlag};
  arguments.insert(arguments.end(), command.begin(), command.end());
  std::vector<std::string> environment = EnvironmentWith(mark);
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> envp = Pointers(environment);
  const int log = open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (log < 0) {
    return absl::UnavailableError(
        fmt::format("{} cannot be opened: {}", log_path, std::strerror(errno)));
  }
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    BecomeLauncher(const_cast<char**>(argv.data()), const_cast<char**>(envp.data()), log, parent);
  }
  close(log);
  if (pid < 0) {
    return absl::UnavailableError(fmt::format("no process can be made: {}", std::strerror(errno)));
  }
  int status = 0;
  if (waitpid(pid, &status, WUNTRACED) != pid || !WIFSTOPPED(status)) {
    return absl::InternalError("the launcher ended before it stopped");
  }
  const auto stat = ReadStat(pid);
  if (!stat.has_value()) {
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    return absl::UnavailableError(
        fmt::format("/proc/{}/stat cannot be read: are too many files open?", pid));
  }
  return ProcessId{pid, stat->start_ticks};
}

ProcessView Inspect(const ProcessId& id) {
  const auto stat = id.pid > 0 ? ReadStat(id.pid) : std::nullopt;
  if (!stat.has_value() || stat->start_ticks != id.start_ticks) return {};
  // A zombie whose other threads go on has only lost its first thread.
  if (stat->state == 'X' || (stat->state == 'Z' && stat->threads <= 1)) return {};
  ProcessView view;
  view.state =
      stat->state == 'T' || stat->state == 't' ? ProcessState::kStopped : ProcessState::kRunning;
  view.cpu_seconds =
      static_cast<double>(stat->cpu_ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
  std::ifstream statm(fmt::format("/proc/{}/statm", id.pid));
  uint64_t total_pages = 0;
  uint64_t resident_pages = 0;
  if (statm >> total_pages >> resident_pages) {
    view.memory_bytes = resident_pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  }
  return view;
}

std::optional<ProcessId> FindMarked(const std::string& mark) {
  for (const pid_t pid : Marked(mark)) {
    // The instance leads its group; what it has started itself carries the mark as well.
    if (getpgid(pid) != pid) continue;
    if (const auto stat = ReadStat(pid)) return ProcessId{pid, stat->start_ticks};
  }
  return std::nullopt;
}

void KillMarked(const std::string& mark) {
  for (const pid_t pid : Marked(mark)) kill(pid, SIGKILL);
}

void SendSignal(const ProcessId& id, int signal) {
  if (Inspect(id).state != ProcessState::kGone) kill(-id.pid, signal);
}

std::string BootId() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

std::optional<int> Reap(const ProcessId& id) {
  int status = 0;
  if (id.pid <= 0 || waitpid(id.pid, &status, WNOHANG) != id.pid) return std::nullopt;
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  return 128 + WTERMSIG(status);
}

}  // namespace foreshadow::cell
