#include "service/cell/board.h"

#include <fmt/core.h>
#include <grpcpp/grpcpp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>

namespace foreshadow::cell {
namespace {

constexpr int kReadyMs = 50;          // how often one that has just been started is asked
constexpr int kLoadMs = 1'000;        // how often the others are
constexpr int kLoadDeadlineMs = 500;  // an instance that needs longer does not serve
constexpr size_t kGoneMax = 10'000;   // ids of destroyed instances that watchers may not have seen

int OpenPidfd(pid_t pid) { return static_cast<int>(syscall(SYS_pidfd_open, pid, 0)); }

// What a watcher is told of at once; cpu and memory alone are no news.
bool IsNews(const v1::Instance& before, const v1::Instance& now) {
  return before.state() != now.state() || before.serving() != now.serving() ||
         before.exit_code() != now.exit_code() || before.pid() != now.pid() ||
         before.load().requests_count() != now.load().requests_count() ||
         before.load().in_flight_count() != now.load().in_flight_count();
}

void Fill(const Amounts& amounts, v1::Resources& r) {
  r.set_cpu_cores(amounts[0]);
  r.set_memory_bytes(amounts[1]);
  r.set_network_bytes_per_second(amounts[2]);
  r.set_storage_bytes(amounts[3]);
}

}  // namespace

v1::Instance ToProto(const InstanceView& view, const std::string& host) {
  v1::Instance instance;
  instance.set_id(view.spec.id);
  instance.set_account_id(view.spec.account);
  instance.set_role(static_cast<v1::InstanceRole>(view.spec.role));
  instance.set_state(static_cast<v1::InstanceState>(view.state));
  Fill(view.spec.reserved, *instance.mutable_reserved());
  instance.set_created_ms(view.created_ms);
  instance.set_pid(view.pid);
  instance.set_cpu_seconds(view.cpu_seconds);
  instance.set_memory_bytes(view.memory_bytes);
  instance.set_exit_code(view.exit_code);
  if (view.ports != Ports{}) {
    instance.set_host(host);
    instance.set_grpc_port(static_cast<uint32_t>(view.ports.grpc));
    instance.set_http_port(static_cast<uint32_t>(view.ports.http));
  }
  return instance;
}

Board::Board(Instances& instances)
    : instances_(instances), wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  for (const InstanceView& view : instances_.List()) {
    Put(ToProto(view, instances_.options().host));
  }
  processes_ = std::thread([this] { WatchProcesses(); });
  loads_ = std::thread([this] { ReadLoads(); });
}

void Board::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  eventfd_write(wake_, 1);
}

Board::~Board() {
  Stop();
  processes_.join();
  loads_.join();
  close(wake_);
}

// Takes what the kernel says of it; what only the instance itself can say is kept while it runs.
void Board::Put(v1::Instance instance) {
  const std::lock_guard lock(mutex_);
  const std::string id = instance.id();
  gone_.erase(id);
  const auto [it, added] = entries_.try_emplace(id);
  v1::Instance& held = it->second.instance;
  const bool runs = instance.state() == v1::INSTANCE_STATE_RUNNING;
  const bool same = held.pid() == instance.pid();
  if (same && held.has_load()) *instance.mutable_load() = held.load();
  instance.set_serving(runs && same && held.serving());
  const bool news = added || IsNews(held, instance);
  held = std::move(instance);
  if (!news) return;
  it->second.changed = ++change_;
  changed_.notify_all();
  eventfd_write(wake_, 1);
}

void Board::Update(const std::string& id) {
  const auto view = instances_.Get(id);
  if (view.ok()) {
    Put(ToProto(*view, instances_.options().host));
    return;
  }
  const std::lock_guard lock(mutex_);
  if (entries_.erase(id) == 0) return;
  if (gone_.size() >= kGoneMax) gone_.erase(gone_.begin());
  gone_[id] = ++change_;
  changed_.notify_all();
  eventfd_write(wake_, 1);
}

std::vector<v1::Instance> Board::List() {
  for (const InstanceView& view : instances_.List()) Put(ToProto(view, instances_.options().host));
  const std::lock_guard lock(mutex_);
  std::vector<v1::Instance> list;
  for (const auto& [id, entry] : entries_) list.push_back(entry.instance);
  return list;
}

bool Board::WaitForChange(uint64_t& seen, int64_t wait_ms, v1::WatchInstancesResponse& changes) {
  std::unique_lock lock(mutex_);
  changes.set_whole(seen == 0);
  if (seen != 0) {
    changed_.wait_for(lock, std::chrono::milliseconds(wait_ms),
                      [&] { return stopping_ || change_ >= seen; });
  }
  if (stopping_) return false;
  for (const auto& [id, entry] : entries_) {
    if (entry.changed >= seen) *changes.add_instances() = entry.instance;
  }
  for (const auto& [id, change] : gone_) {
    if (seen != 0 && change >= seen) changes.add_gone(id);
  }
  seen = change_ + 1;
  return true;
}

void Board::WatchProcesses() {
  std::map<std::string, std::pair<pid_t, int>> watched;  // id -> process, its pidfd
  while (true) {
    eventfd_t ignored;
    eventfd_read(wake_, &ignored);
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) break;
      std::erase_if(watched, [&](const auto& w) {
        const auto it = entries_.find(w.first);
        const bool keep = it != entries_.end() && it->second.instance.pid() == w.second.first &&
                          it->second.instance.state() != v1::INSTANCE_STATE_EXITED;
        if (!keep) close(w.second.second);
        return !keep;
      });
      for (const auto& [id, entry] : entries_) {
        if (entry.instance.state() == v1::INSTANCE_STATE_EXITED || watched.contains(id)) continue;
        const int fd = OpenPidfd(entry.instance.pid());
        if (fd >= 0) watched[id] = {entry.instance.pid(), fd};
      }
    }
    std::vector<pollfd> polled = {{wake_, POLLIN, 0}};
    std::vector<std::string> ids = {""};
    for (const auto& [id, process] : watched) {
      polled.push_back({process.second, POLLIN, 0});
      ids.push_back(id);
    }
    if (poll(polled.data(), polled.size(), kLoadMs) < 0) continue;
    for (size_t i = 1; i < polled.size(); ++i) {
      if (polled[i].revents != 0) Update(ids[i]);
    }
  }
  for (const auto& [id, process] : watched) close(process.second);
}

void Board::ReadLoads() {
  auto next_all = std::chrono::steady_clock::now();
  while (true) {
    const auto now = std::chrono::steady_clock::now();
    const bool all = now >= next_all;
    if (all) next_all = now + std::chrono::milliseconds(kLoadMs);
    ReadLoadsOnce(all);
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, std::chrono::milliseconds(kReadyMs), [&] { return stopping_; })) {
      return;
    }
  }
}

// Asks the instances that run, all at once: those that do not answer yet, or all of them.
void Board::ReadLoadsOnce(bool all) {
  struct Question {
    std::string id;
    grpc::ClientContext context;
    v1::Load load;
    grpc::Status status;
    std::unique_ptr<grpc::ClientAsyncResponseReader<v1::Load>> reader;
  };
  std::vector<std::unique_ptr<Question>> questions;
  std::vector<std::pair<std::string, std::string>> wanted;  // id, address
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, entry] : entries_) {
      const v1::Instance& i = entry.instance;
      if (i.state() != v1::INSTANCE_STATE_RUNNING || i.grpc_port() == 0) continue;
      if (all || !i.serving()) {
        wanted.emplace_back(id, fmt::format("{}:{}", i.host(), i.grpc_port()));
      }
    }
    if (all) {
      std::erase_if(stubs_, [&](const auto& s) { return !entries_.contains(s.first); });
    }
  }
  if (wanted.empty()) return;
  grpc::CompletionQueue queue;
  for (const auto& [id, address] : wanted) {
    auto& stub = stubs_[id];
    if (stub == nullptr) {
      grpc::ChannelArguments arguments;
      arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReadyMs);
      arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kReadyMs);
      arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kLoadMs);
      stub = v1::Workload::NewStub(
          grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
    }
    auto question = std::make_unique<Question>();
    question->id = id;
    question->context.set_deadline(std::chrono::system_clock::now() +
                                   std::chrono::milliseconds(kLoadDeadlineMs));
    question->reader = stub->AsyncGetLoad(&question->context, v1::GetLoadRequest(), &queue);
    question->reader->Finish(&question->load, &question->status, question.get());
    questions.push_back(std::move(question));
  }
  void* tag = nullptr;
  bool ok = false;
  for (size_t answered = 0; answered < questions.size() && queue.Next(&tag, &ok); ++answered) {
    const auto& question = *static_cast<Question*>(tag);
    const std::lock_guard lock(mutex_);
    const auto it = entries_.find(question.id);
    if (it == entries_.end()) continue;
    v1::Instance now = it->second.instance;
    now.set_serving(question.status.ok() && now.state() == v1::INSTANCE_STATE_RUNNING);
    if (question.status.ok()) *now.mutable_load() = question.load;
    // That one has served nothing is a measurement too, and must not be an old one.
    const bool news = question.status.ok() || IsNews(it->second.instance, now);
    it->second.instance = std::move(now);
    if (!news) continue;
    it->second.changed = ++change_;
    changed_.notify_all();
  }
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
}

}  // namespace foreshadow::cell
