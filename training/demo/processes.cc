#include "training/demo/processes.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace foreshadow::training {
namespace {

constexpr auto kPoll = std::chrono::milliseconds(10);
constexpr int kStartPolls = 3'000;  // half a minute: models load, history is read
constexpr int kStopPolls = 1'000;

std::string TailOf(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  constexpr size_t kTailBytes = 2'000;
  const std::string all = text.str();
  return all.size() > kTailBytes ? all.substr(all.size() - kTailBytes) : all;
}

}  // namespace

ChildProcess::ChildProcess(pid_t pid, std::string name, std::string log_path)
    : pid_(pid), name_(std::move(name)), log_path_(std::move(log_path)) {}

ChildProcess::ChildProcess(ChildProcess&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)),
      name_(std::move(other.name_)),
      log_path_(std::move(other.log_path_)) {}

ChildProcess::~ChildProcess() { Stop(); }

absl::StatusOr<ChildProcess> ChildProcess::Start(const std::vector<std::string>& command,
                                                 const std::string& log_path) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const int log = open(log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (log < 0) {
    return absl::UnavailableError(
        fmt::format("{} cannot be written: {}", log_path, std::strerror(errno)));
  }
  const pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setpgid(0, 0);  // Ctrl-C is for the demo alone; it ends its children in order
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(log);
  if (pid < 0) return absl::UnavailableError(fmt::format("fork: {}", std::strerror(errno)));
  return ChildProcess(pid, std::filesystem::path(command[0]).filename().string(), log_path);
}

absl::StatusOr<int> ChildProcess::WaitForPort(const std::string& port_file) {
  for (int i = 0; i < kStartPolls; ++i) {
    int port = 0;
    if (std::ifstream(port_file) >> port) return port;
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = 0;
      break;
    }
    std::this_thread::sleep_for(kPoll);
  }
  return absl::UnavailableError(fmt::format("{} did not start: {}", name_, TailOf(log_path_)));
}

int ChildProcess::Wait() {
  int status = 0;
  if (pid_ > 0) waitpid(pid_, &status, 0);
  pid_ = 0;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void ChildProcess::Stop() {
  if (pid_ <= 0) return;
  kill(pid_, SIGTERM);
  for (int i = 0; waitpid(pid_, nullptr, WNOHANG) != pid_; ++i) {
    if (i == kStopPolls) kill(pid_, SIGKILL);
    std::this_thread::sleep_for(kPoll);
  }
  pid_ = 0;
}

}  // namespace foreshadow::training
