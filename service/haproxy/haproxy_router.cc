#include "service/haproxy/haproxy_router.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "service/haproxy/commands.h"
#include "service/haproxy/runtime.h"

namespace foreshadow::haproxy {
namespace {

using Clock = std::chrono::steady_clock;
using router::Route;

constexpr auto kLookInterval = std::chrono::seconds(1);  // at its statistics, and whether it is new
constexpr auto kRetryInterval = std::chrono::milliseconds(100);  // while it does not answer

int64_t NowMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

class Router : public router::TrafficRouter {
 public:
  explicit Router(Options options) : options_(std::move(options)), thread_([this] { Run(); }) {}
  ~Router() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void Update(const router::RouteUpdate& update) override {
    {
      const std::lock_guard lock(mutex_);
      for (const Route& route : update.changed) {
        routes_[route.account] = route;
        pending_.insert(route.account);
      }
      // Its backend stays as it was: HAProxy has no account without one.
      for (const std::string& account : update.removed) {
        routes_.erase(account);
        pending_.erase(account);
        refused_.erase(account);
      }
      if (!pending_.empty() && behind_since_ms_ == 0) behind_since_ms_ = NowMs();
    }
    changed_.notify_all();
  }

  std::vector<router::Client> Clients() const override {
    const std::lock_guard lock(mutex_);
    router::Client client;
    client.node = "haproxy";
    client.agent = "HAProxy";
    client.peer = options_.socket;
    client.connected = trouble_.empty();
    client.since_ms = since_ms_;
    client.behind_ms = behind_since_ms_ == 0 ? 0 : std::max<int64_t>(1, NowMs() - behind_since_ms_);
    if (!refused_.empty()) client.refused = refused_.begin()->second;
    return {client};
  }

  router::Reach ReachOf(const std::string& account) const override {
    const std::lock_guard lock(mutex_);
    if (!routes_.contains(account)) return {};
    return {1, pending_.contains(account) || refused_.contains(account) ? 1 : 0};
  }

  std::vector<std::string> Alerts() const override {
    const std::lock_guard lock(mutex_);
    std::vector<std::string> alerts;
    if (!trouble_.empty()) alerts.push_back(fmt::format("{}: it keeps its routes", trouble_));
    for (const auto& [account, why] : refused_) {
      alerts.push_back(fmt::format("HAProxy refuses the route of account {}: {}", account, why));
    }
    return alerts;
  }

 private:
  void Run() {
    auto next_look = Clock::now();
    while (true) {
      std::optional<Route> route;
      {
        std::unique_lock lock(mutex_);
        changed_.wait_until(lock, next_look,
                            [&] { return stopping_ || (trouble_.empty() && !pending_.empty()); });
        if (stopping_) return;
        if (trouble_.empty() && !pending_.empty()) route = routes_[*pending_.begin()];
      }
      if (route.has_value()) {
        Tell(*route);
      } else {
        Look();
        const std::lock_guard lock(mutex_);
        next_look = Clock::now() + (trouble_.empty() ? Clock::duration(kLookInterval)
                                                     : Clock::duration(kRetryInterval));
      }
    }
  }

  void Tell(const Route& route) {
    const absl::Status status = CarryOut(route);
    if (absl::IsUnavailable(status)) {
      SetTrouble(std::string(status.message()));
      return;
    }
    const std::lock_guard lock(mutex_);
    if (status.ok()) {
      refused_.erase(route.account);
    } else {
      refused_[route.account] = std::string(status.message());
    }
    // Unless another one has come meanwhile.
    const auto newest = routes_.find(route.account);
    if (newest == routes_.end() || newest->second == route) pending_.erase(route.account);
    if (pending_.empty()) behind_since_ms_ = 0;
  }

  absl::Status CarryOut(const Route& route) const {
    const auto commands = CommandsOf(route);
    if (!commands.ok()) return commands.status();
    for (const std::string& command : *commands) {
      const auto answer = Ask(options_.socket, command);
      if (!answer.ok()) return answer.status();
      if (absl::Status status = CheckAnswer(command, *answer); !status.ok()) return status;
    }
    return absl::OkStatus();
  }

  void Look() {
    const auto info = Ask(options_.socket, "show info json");
    const auto pid = info.ok() ? PidFrom(*info) : absl::StatusOr<int64_t>(info.status());
    if (!pid.ok()) {
      SetTrouble(std::string(pid.status().message()));
      return;
    }
    {
      const std::lock_guard lock(mutex_);
      if (!trouble_.empty() || since_ms_ == 0) since_ms_ = NowMs();
      trouble_.clear();
      if (std::exchange(pid_, *pid) != *pid) {
        counts_.clear();
        for (const auto& [account, route] : routes_) pending_.insert(account);
      }
    }
    if (options_.load == nullptr) return;
    const auto stat = Ask(options_.socket, "show stat json");
    auto counts = stat.ok() ? CountsFrom(*stat) : absl::StatusOr<Counts>(stat.status());
    if (!counts.ok()) {
      SetTrouble(std::string(counts.status().message()));
      return;
    }
    Report(*std::move(counts));
  }

  void Report(Counts counts) {
    std::vector<Load> loads;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [server, now] : counts) {
        const auto route = routes_.find(server.first);
        const auto before = counts_.find(server);
        if (route == routes_.end() || before == counts_.end()) continue;
        const router::Side& side =
            server.second == "primary" ? route->second.primary : route->second.shadow;
        const uint64_t requests = now.requests_count - before->second.requests_count;
        if (requests == 0 || now.requests_count < before->second.requests_count) continue;
        loads.push_back(
            {side.instance_id, requests, now.errors_count - before->second.errors_count});
      }
      counts_ = std::move(counts);
    }
    for (const Load& load : loads) options_.load(load);
  }

  void SetTrouble(std::string why) {
    const std::lock_guard lock(mutex_);
    if (trouble_.empty()) {
      since_ms_ = NowMs();
      spdlog::warn("{}", why);
    }
    trouble_ = std::move(why);
  }

  const Options options_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Route> routes_;         // by account
  std::set<std::string> pending_;               // accounts whose newest route it has not got
  std::map<std::string, std::string> refused_;  // by account: why
  std::string trouble_ = "HAProxy has not been reached";  // "" = it answers
  int64_t since_ms_ = 0;                                  // that it answers, or does not
  int64_t behind_since_ms_ = 0;
  int64_t pid_ = 0;
  Counts counts_;  // at the last look
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<router::TrafficRouter> MakeHaproxyRouter(Options options) {
  return std::make_unique<Router>(std::move(options));
}

}  // namespace foreshadow::haproxy
