#include "service/cell/instances.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

namespace foreshadow::cell {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr size_t kIdBytesMax = 128;
constexpr size_t kAccountBytesMax = 256;
constexpr auto kPollInterval = std::chrono::milliseconds(5);
constexpr const char* kAmountNames[] = {"cpu_cores", "memory_bytes", "network_bytes_per_second",
                                        "storage_bytes"};
constexpr const char* kIdCharacters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";

int64_t NowMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

absl::Status CheckId(const std::string& id) {
  if (id.empty() || id.size() > kIdBytesMax ||
      id.find_first_not_of(kIdCharacters) != std::string::npos || id[0] == '.') {
    return absl::InvalidArgumentError(
        fmt::format("id = \"{}\": must be 1 .. {} of A-Z a-z 0-9 . _ - and not begin with a dot",
                    id, kIdBytesMax));
  }
  return absl::OkStatus();
}

absl::Status CheckSpec(const Spec& spec) {
  if (absl::Status status = CheckId(spec.id); !status.ok()) return status;
  if (spec.account.empty() || spec.account.size() > kAccountBytesMax) {
    return absl::InvalidArgumentError(fmt::format("account_id has {} bytes: must be 1 .. {}",
                                                  spec.account.size(), kAccountBytesMax));
  }
  if (spec.role < 1 || spec.role > 2) {
    return absl::InvalidArgumentError(
        fmt::format("role = {}: must be 1 (primary) or 2 (shadow)", spec.role));
  }
  for (size_t r = 0; r < spec.reserved.size(); ++r) {
    if (!(spec.reserved[r] >= 0 && spec.reserved[r] <= 1e18)) {
      return absl::InvalidArgumentError(
          fmt::format("reserved.{} = {}: must be 0 .. 1e18", kAmountNames[r], spec.reserved[r]));
    }
  }
  return absl::OkStatus();
}

absl::Status SystemError(const std::string& what) {
  const std::string text = fmt::format("{}: {}", what, std::strerror(errno));
  return errno == ENOSPC ? absl::ResourceExhaustedError(text) : absl::FailedPreconditionError(text);
}

absl::Status SyncFolder(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return SystemError(folder);
  const bool ok = fsync(fd) == 0;
  close(fd);
  return ok ? absl::OkStatus() : SystemError(folder);
}

// Whole or not at all, and durable: a temporary file, renamed.
absl::Status WriteFile(const std::string& folder, const std::string& path,
                       const std::string& text) {
  const std::string temporary = path + ".new";
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
  if (fd < 0) return SystemError(temporary);
  const bool written = write(fd, text.data(), text.size()) == std::ssize(text) && fsync(fd) == 0;
  close(fd);
  if (!written || rename(temporary.c_str(), path.c_str()) != 0) return SystemError(path);
  return SyncFolder(folder);
}

std::vector<std::string> Expand(const Options& options, const Spec& spec) {
  const std::pair<std::string, std::string> values[] = {
      {"{id}", spec.id},
      {"{account}", spec.account},
      {"{cell}", options.cell},
      {"{cpu_cores}", fmt::format("{}", spec.reserved[0])},
      {"{memory_bytes}", fmt::format("{:.0f}", spec.reserved[1])}};
  std::vector<std::string> command = options.command;
  for (std::string& word : command) {
    for (const auto& [name, value] : values) {
      for (size_t at = word.find(name); at != std::string::npos;
           at = word.find(name, at + value.size())) {
        word.replace(at, name.size(), value);
      }
    }
  }
  return command;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Instances>> Instances::Open(Options options) {
  std::error_code error;
  fs::create_directories(options.state_dir, error);
  if (error) {
    return absl::FailedPreconditionError(
        fmt::format("--state-dir {}: cannot be created: {}", options.state_dir, error.message()));
  }
  // The mark of a process must not depend on how the folder was spelled.
  options.state_dir = fs::canonical(options.state_dir, error).string();
  std::unique_ptr<Instances> instances(new Instances(std::move(options)));
  const std::string lock = instances->options_.state_dir + "/lock";
  instances->lock_file_ = open(lock.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (instances->lock_file_ < 0) return SystemError(lock);
  if (flock(instances->lock_file_, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(
        fmt::format("--state-dir {}: another agent uses it", instances->options_.state_dir));
  }
  if (absl::Status status = instances->Load(); !status.ok()) return status;
  return instances;
}

Instances::~Instances() {
  if (lock_file_ >= 0) close(lock_file_);
}

absl::Status Instances::Load() {
  for (const auto& entry : fs::directory_iterator(options_.state_dir)) {
    if (entry.path().extension() != ".json") continue;
    Record record;
    try {
      std::ifstream file(entry.path());
      const json j = json::parse(file);
      j.at("id").get_to(record.spec.id);
      j.at("account").get_to(record.spec.account);
      j.at("role").get_to(record.spec.role);
      j.at("reserved").get_to(record.spec.reserved);
      j.at("created_ms").get_to(record.created_ms);
      j.at("pid").get_to(record.process.pid);
      j.at("start_ticks").get_to(record.process.start_ticks);
    } catch (const json::exception& error) {
      return absl::DataLossError(
          fmt::format("{} cannot be read: {}", entry.path().string(), error.what()));
    }
    if (record.process.pid == 0) {
      // The agent ended between intent and result: the mark tells whether there is a process. Its
      // caller was not answered and will ask again.
      const auto found = FindMarked(MarkOf(record.spec.id));
      const absl::Status status =
          found.has_value() ? (record.process = *found, Save(record)) : Forget(record.spec.id);
      if (!status.ok()) return status;
      if (!found.has_value()) continue;
    }
    records_.emplace(record.spec.id, std::move(record));
  }
  return absl::OkStatus();
}

std::string Instances::PathOf(const std::string& id) const {
  return options_.state_dir + "/" + id + ".json";
}

std::string Instances::MarkOf(const std::string& id) const { return options_.state_dir + ":" + id; }

absl::Status Instances::Save(const Record& record) const {
  const json j = {{"id", record.spec.id},
                  {"account", record.spec.account},
                  {"role", record.spec.role},
                  {"reserved", record.spec.reserved},
                  {"created_ms", record.created_ms},
                  {"pid", record.process.pid},
                  {"start_ticks", record.process.start_ticks}};
  return WriteFile(options_.state_dir, PathOf(record.spec.id), j.dump());
}

absl::Status Instances::Forget(const std::string& id) const {
  if (unlink(PathOf(id).c_str()) != 0 && errno != ENOENT) return SystemError(PathOf(id));
  return SyncFolder(options_.state_dir);
}

absl::Status Instances::CheckRoom(const Spec& spec) const {
  for (size_t r = 0; r < options_.capacity.size(); ++r) {
    if (options_.capacity[r] <= 0) continue;
    double used = 0;
    for (const auto& [id, record] : records_) used += record.spec.reserved[r];
    const double free = options_.capacity[r] - used;
    if (spec.reserved[r] > free) {
      return absl::ResourceExhaustedError(fmt::format("reserved.{} = {}: cell {} has {} free",
                                                      kAmountNames[r], spec.reserved[r],
                                                      options_.cell, free));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<InstanceView> Instances::Create(const Spec& spec, bool paused) {
  if (absl::Status status = CheckSpec(spec); !status.ok()) return status;
  const std::lock_guard lock(mutex_);
  if (const auto it = records_.find(spec.id); it != records_.end()) {
    if (it->second.spec == spec && !it->second.destroying) return View(it->second);
    return absl::AlreadyExistsError(fmt::format("id = \"{}\" is taken by an instance of account {}",
                                                spec.id, it->second.spec.account));
  }
  if (absl::Status status = CheckRoom(spec); !status.ok()) return status;
  Record record{spec, NowMs(), {}};
  if (absl::Status status = Save(record); !status.ok()) return status;
  const auto process = LaunchStopped(Expand(options_, spec), MarkOf(spec.id),
                                     options_.state_dir + "/" + spec.id + ".log");
  absl::Status status = process.status();
  if (process.ok()) {
    record.process = *process;
    status = Save(record);
    if (!status.ok()) {
      SendSignal(record.process, SIGKILL);
      while (!Reap(record.process).has_value()) std::this_thread::sleep_for(kPollInterval);
    }
  }
  if (!status.ok()) {
    Forget(spec.id).IgnoreError();  // what is left is an intent without a process: harmless
    return status;
  }
  if (!paused) SendSignal(record.process, SIGCONT);
  return View(records_.emplace(spec.id, record).first->second);
}

absl::StatusOr<InstanceView> Instances::Switch(const std::string& id, bool run) {
  if (absl::Status status = CheckId(id); !status.ok()) return status;
  const std::lock_guard lock(mutex_);
  const auto it = records_.find(id);
  if (it == records_.end() || it->second.destroying) {
    return absl::NotFoundError(
        fmt::format("id = \"{}\": cell {} has no such instance", id, options_.cell));
  }
  Refresh(it->second);
  if (it->second.exited) {
    return absl::FailedPreconditionError(
        fmt::format("id = \"{}\": the instance has ended with {}", id, it->second.exit_code));
  }
  SendSignal(it->second.process, run ? SIGCONT : SIGSTOP);
  // The kernel stops a process in its own time; the answer is to be true.
  const ProcessState wanted = run ? ProcessState::kRunning : ProcessState::kStopped;
  for (int i = 0; i < 200; ++i) {
    const ProcessState now = Inspect(it->second.process).state;
    if (now == wanted || now == ProcessState::kGone) break;
    std::this_thread::sleep_for(kPollInterval);
  }
  return View(it->second);
}

absl::StatusOr<InstanceView> Instances::Resume(const std::string& id) { return Switch(id, true); }

absl::StatusOr<InstanceView> Instances::Pause(const std::string& id) { return Switch(id, false); }

absl::Status Instances::Destroy(const std::string& id, int64_t grace_ms) {
  if (absl::Status status = CheckId(id); !status.ok()) return status;
  if (grace_ms < 0) {
    return absl::InvalidArgumentError(fmt::format("grace_ms = {}: must not be negative", grace_ms));
  }
  ProcessId process;
  {
    const std::lock_guard lock(mutex_);
    const auto it = records_.find(id);
    if (it == records_.end()) return absl::OkStatus();
    it->second.destroying = true;
    process = it->second.process;
  }
  SendSignal(process, SIGTERM);
  SendSignal(process, SIGCONT);  // a stopped process takes no SIGTERM
  const int64_t deadline_ms = NowMs() + (grace_ms == 0 ? options_.grace_ms : grace_ms);
  bool killed = false;
  while (Inspect(process).state != ProcessState::kGone) {
    if (!killed && NowMs() >= deadline_ms) {
      SendSignal(process, SIGKILL);
      killed = true;
    }
    std::this_thread::sleep_for(kPollInterval);
  }
  Reap(process);
  const std::lock_guard lock(mutex_);
  if (absl::Status status = Forget(id); !status.ok()) return status;
  unlink((options_.state_dir + "/" + id + ".log").c_str());
  records_.erase(id);
  return absl::OkStatus();
}

std::vector<InstanceView> Instances::List() {
  const std::lock_guard lock(mutex_);
  std::vector<InstanceView> views;
  for (auto& [id, record] : records_) views.push_back(View(record));
  return views;
}

Amounts Instances::reserved() {
  const std::lock_guard lock(mutex_);
  Amounts sum{};
  for (const auto& [id, record] : records_) {
    for (size_t r = 0; r < sum.size(); ++r) sum[r] += record.spec.reserved[r];
  }
  return sum;
}

void Instances::Refresh(Record& record) {
  if (record.exited) return;
  if (const auto code = Reap(record.process)) {
    record.exited = true;
    record.exit_code = *code;
  } else if (Inspect(record.process).state == ProcessState::kGone) {
    record.exited = true;  // a child of an earlier run of the agent: its code is not to be had
  }
}

InstanceView Instances::View(Record& record) {
  Refresh(record);
  InstanceView view;
  view.spec = record.spec;
  view.created_ms = record.created_ms;
  view.pid = record.process.pid;
  view.exit_code = record.exited ? record.exit_code : 0;
  const ProcessView process = record.exited ? ProcessView{} : Inspect(record.process);
  view.state = process.state == ProcessState::kStopped   ? InstanceState::kPaused
               : process.state == ProcessState::kRunning ? InstanceState::kRunning
                                                         : InstanceState::kExited;
  view.cpu_seconds = process.cpu_seconds;
  view.memory_bytes = process.memory_bytes;
  return view;
}

}  // namespace foreshadow::cell
