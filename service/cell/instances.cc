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
// Sums of reservations that fill a cell exactly may miss its capacity by this much.
constexpr double kRoundingShare = 1e-9;
constexpr auto kPollInterval = std::chrono::milliseconds(5);
// A signal takes effect in the kernel's own time, which is microseconds unless the machine is
// overwhelmed.
constexpr int64_t kSignalWaitMs = 5'000;
// A child that an ended agent was about to launch holds the lock until it carries its mark.
constexpr int64_t kLockWaitMs = 500;
constexpr const char* kAmountNames[] = {"cpu_cores", "memory_bytes", "network_bytes_per_second",
                                        "storage_bytes"};
constexpr const char* kGrpcPort = "{grpc_port}";
constexpr const char* kHttpPort = "{http_port}";
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
  if (spec.account.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("account_id holds a zero byte: a command cannot be given it");
  }
  if (spec.role < 1 || spec.role > 2) {
    return absl::InvalidArgumentError(
        fmt::format("role = {}: must be 1 (primary) or 2 (shadow)", spec.role));
  }
  for (size_t r = 0; r < spec.reserved.size(); ++r) {
    if (!(spec.reserved[r] >= 0 && spec.reserved[r] <= kAmountMax)) {
      return absl::InvalidArgumentError(fmt::format("reserved.{} = {}: must be 0 .. {}",
                                                    kAmountNames[r], spec.reserved[r], kAmountMax));
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

std::vector<std::string> Expand(const Options& options, const Spec& spec, const Ports& ports) {
  const std::pair<std::string, std::string> values[] = {
      {"{id}", spec.id},
      {"{account}", spec.account},
      {"{cell}", options.cell},
      {"{cpu_cores}", fmt::format("{}", spec.reserved[0])},
      {"{memory_bytes}", fmt::format("{:.0f}", spec.reserved[1])},
      {"{host}", options.host},
      {kGrpcPort, fmt::format("{}", ports.grpc)},
      {kHttpPort, fmt::format("{}", ports.http)}};
  std::vector<std::string> command = options.command;
  for (std::string& word : command) {
    std::string expanded;
    for (size_t at = 0; at < word.size();) {
      const auto* value = std::find_if(std::begin(values), std::end(values), [&](const auto& v) {
        return word.compare(at, v.first.size(), v.first) == 0;
      });
      if (value == std::end(values)) {
        expanded += word[at++];
      } else {
        expanded += value->second;
        at += value->first.size();
      }
    }
    word = std::move(expanded);
  }
  return command;
}

bool Names(const std::vector<std::string>& command, const char* placeholder) {
  return std::any_of(command.begin(), command.end(), [&](const std::string& word) {
    return word.find(placeholder) != std::string::npos;
  });
}

bool TakeLock(int file) {
  const int64_t deadline_ms = NowMs() + kLockWaitMs;
  while (flock(file, LOCK_EX | LOCK_NB) != 0) {
    if (NowMs() >= deadline_ms) return false;
    std::this_thread::sleep_for(kPollInterval);
  }
  return true;
}

// Until the process is in that state or gone, or does not follow.
void WaitFor(const ProcessId& process, ProcessState wanted) {
  const int64_t deadline_ms = NowMs() + kSignalWaitMs;
  while (NowMs() < deadline_ms) {
    const ProcessState now = Inspect(process).state;
    if (now == wanted || now == ProcessState::kGone) return;
    std::this_thread::sleep_for(kPollInterval);
  }
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
  if (!TakeLock(instances->lock_file_)) {
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
  std::error_code unreadable;
  for (const auto& entry : fs::directory_iterator(options_.state_dir, unreadable)) {
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
      j.at("paused").get_to(record.paused);
      j.at("exited").get_to(record.exited);
      j.at("exit_code").get_to(record.exit_code);
      j.at("pid").get_to(record.process.pid);
      j.at("start_ticks").get_to(record.process.start_ticks);
      record.ports = {j.value("grpc_port", 0), j.value("http_port", 0)};
      if (j.at("boot").get<std::string>() != boot_) record.exited = true;
    } catch (const json::exception& error) {
      return absl::DataLossError(
          fmt::format("{} cannot be read: {}", entry.path().string(), error.what()));
    }
    if (absl::Status status = Adopt(record); !status.ok()) return status;
  }
  if (unreadable) {
    return absl::FailedPreconditionError(
        fmt::format("--state-dir {}: {}", options_.state_dir, unreadable.message()));
  }
  return absl::OkStatus();
}

// Takes over what an earlier run of the agent has recorded, and brings it to the state asked for.
absl::Status Instances::Adopt(Record& record) {
  if (record.process.pid == 0) {
    // That run ended between intent and result: the mark tells whether there is a process. Its
    // caller was not answered and will ask again.
    const auto found = FindMarked(MarkOf(record.spec.id));
    if (!found.has_value()) return Forget(record.spec.id);
    // It is on its way to stopping itself, or to the end that the kernel has for it if its parent
    // ended too early.
    WaitFor(*found, ProcessState::kStopped);
    if (Inspect(*found).state == ProcessState::kGone) return Forget(record.spec.id);
    record.process = *found;
    if (absl::Status status = Save(record); !status.ok()) return status;
  }
  if (!record.exited) SendSignal(record.process, record.paused ? SIGSTOP : SIGCONT);
  // Held once more while nobody listens there; an instance that does has it anyway.
  if (record.ports != Ports{}) HoldPorts(record).IgnoreError();
  const std::string id = record.spec.id;
  records_.emplace(id, std::move(record));
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
                  {"paused", record.paused},
                  {"exited", record.exited},
                  {"exit_code", record.exit_code},
                  {"pid", record.process.pid},
                  {"start_ticks", record.process.start_ticks},
                  {"grpc_port", record.ports.grpc},
                  {"http_port", record.ports.http},
                  {"boot", boot_}};
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
    if (spec.reserved[r] > free + kRoundingShare * options_.capacity[r]) {
      return absl::ResourceExhaustedError(fmt::format("reserved.{} = {}: cell {} has {} free",
                                                      kAmountNames[r], spec.reserved[r],
                                                      options_.cell, free));
    }
  }
  return absl::OkStatus();
}

absl::Status Instances::HoldPorts(Record& record) const {
  int* const ports[] = {&record.ports.grpc, &record.ports.http};
  const char* const placeholders[] = {kGrpcPort, kHttpPort};
  for (size_t p = 0; p < std::size(ports); ++p) {
    if (!Names(options_.command, placeholders[p])) continue;
    auto held = HeldPort::Hold(options_.host, *ports[p]);
    if (!held.ok()) return held.status();
    *ports[p] = (*held)->port();
    record.held[p] = *std::move(held);
  }
  return absl::OkStatus();
}

absl::StatusOr<InstanceView> Instances::Create(const Spec& spec, bool paused) {
  if (absl::Status status = CheckSpec(spec); !status.ok()) return status;
  const std::lock_guard lock(mutex_);
  if (const auto it = records_.find(spec.id); it != records_.end()) {
    if (it->second.destroying) {
      return absl::UnavailableError(
          fmt::format("id = \"{}\" is being destroyed: ask again later", spec.id));
    }
    if (it->second.spec == spec) return View(it->second);
    return absl::AlreadyExistsError(fmt::format("id = \"{}\" is taken by an instance of account {}",
                                                spec.id, it->second.spec.account));
  }
  if (absl::Status status = CheckRoom(spec); !status.ok()) return status;
  Record record;
  record.spec = spec;
  record.created_ms = NowMs();
  record.paused = paused;
  if (absl::Status status = HoldPorts(record); !status.ok()) return status;
  if (absl::Status status = Save(record); !status.ok()) return status;
  const auto process = LaunchStopped(Expand(options_, spec, record.ports), MarkOf(spec.id),
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
  if (it->second.paused == run) {
    it->second.paused = !run;
    if (absl::Status status = Save(it->second); !status.ok()) {
      it->second.paused = run;
      return status;
    }
  }
  SendSignal(it->second.process, run ? SIGCONT : SIGSTOP);
  WaitFor(it->second.process, run ? ProcessState::kRunning : ProcessState::kStopped);
  return View(it->second);
}

absl::StatusOr<InstanceView> Instances::Resume(const std::string& id) { return Switch(id, true); }

absl::StatusOr<InstanceView> Instances::Pause(const std::string& id) { return Switch(id, false); }

absl::StatusOr<InstanceView> Instances::Promote(const std::string& id) {
  if (absl::Status status = CheckId(id); !status.ok()) return status;
  const std::lock_guard lock(mutex_);
  const auto it = records_.find(id);
  if (it == records_.end() || it->second.destroying) {
    return absl::NotFoundError(
        fmt::format("id = \"{}\": cell {} has no such instance", id, options_.cell));
  }
  const int role = std::exchange(it->second.spec.role, kPrimary);
  if (role != kPrimary) {
    if (absl::Status status = Save(it->second); !status.ok()) {
      it->second.spec.role = role;
      return status;
    }
  }
  return View(it->second);
}

absl::StatusOr<std::vector<std::string>> Instances::RetirePrimaries(const std::string& account,
                                                                    int64_t grace_ms) {
  std::vector<std::string> ids;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, record] : records_) {
      if (record.spec.account == account && record.spec.role == kPrimary) ids.push_back(id);
    }
  }
  for (const std::string& id : ids) {
    if (absl::Status status = Destroy(id, grace_ms); !status.ok()) return status;
  }
  return ids;
}

absl::Status Instances::Destroy(const std::string& id, int64_t grace_ms) {
  if (absl::Status status = CheckId(id); !status.ok()) return status;
  if (grace_ms < 0 || grace_ms > kGraceMsMax) {
    return absl::InvalidArgumentError(
        fmt::format("grace_ms = {}: must be 0 .. {}", grace_ms, kGraceMsMax));
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
  const std::lock_guard lock(mutex_);
  const auto it = records_.find(id);
  // Another call may have destroyed it meanwhile, and a third one made it anew.
  if (it == records_.end() || it->second.process != process) return absl::OkStatus();
  if (!it->second.exited) Reap(process);
  KillMarked(MarkOf(id));  // what it has started and left behind
  if (absl::Status status = Forget(id); !status.ok()) return status;
  unlink((options_.state_dir + "/" + id + ".log").c_str());
  records_.erase(it);
  return absl::OkStatus();
}

absl::StatusOr<InstanceView> Instances::Get(const std::string& id) {
  const std::lock_guard lock(mutex_);
  const auto it = records_.find(id);
  if (it == records_.end()) return absl::NotFoundError(fmt::format("id = \"{}\"", id));
  return View(it->second);
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

// Looks once: what is told of as ended has its end and its code on record. First that it has ended,
// then its code: the other way round it may end between the two.
ProcessView Instances::Refresh(Record& record) const {
  if (record.exited) return {};
  const ProcessView process = Inspect(record.process);
  if (process.state != ProcessState::kGone) return process;
  record.exited = true;
  // The code of a child of an earlier run of the agent is not to be had.
  if (const auto code = Reap(record.process)) record.exit_code = *code;
  Save(record).IgnoreError();  // a later run that does not know it sees the end all the same
  return process;
}

InstanceView Instances::View(Record& record) const {
  const ProcessView process = Refresh(record);
  InstanceView view;
  view.spec = record.spec;
  view.ports = record.ports;
  view.created_ms = record.created_ms;
  view.pid = record.process.pid;
  view.exit_code = record.exited ? record.exit_code : 0;
  view.state = process.state == ProcessState::kStopped   ? InstanceState::kPaused
               : process.state == ProcessState::kRunning ? InstanceState::kRunning
                                                         : InstanceState::kExited;
  view.cpu_seconds = process.cpu_seconds;
  view.memory_bytes = process.memory_bytes;
  return view;
}

}  // namespace foreshadow::cell
