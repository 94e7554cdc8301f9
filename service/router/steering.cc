#include "service/router/steering.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

namespace foreshadow::router {
namespace {

constexpr auto kProbeInterval = std::chrono::milliseconds(100);
constexpr auto kLookInterval = std::chrono::seconds(1);  // at errors: as often as clients report
// What is not told for so long is not true any more.
constexpr double kStaleMs = 5'000;
// Fail-overs of one account that are further apart than that many holds do not count as flapping.
constexpr int kCalmHolds = 10;
constexpr int kHoldDoublingsMax = 6;

int64_t NowMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

uint64_t Since(uint64_t now, uint64_t before) { return now >= before ? now - before : now; }

}  // namespace

SideMeasure MeasureBetween(const LoadTotals& before, const LoadTotals& now, double slo_ms) {
  const LatencySketch latency = now.latency.Since(before.latency);
  SideMeasure measure;
  measure.read_ms = now.read_ms;
  measure.seconds = before.known ? static_cast<double>(now.read_ms - before.read_ms) / 1'000 : 0;
  measure.requests = static_cast<double>(Since(now.requests_count, before.requests_count));
  measure.failed = static_cast<double>(Since(now.errors_count, before.errors_count));
  // A histogram of Prometheus may hold those that failed as well.
  measure.slow = std::min(static_cast<double>(latency.CountAbove(1'000 * slo_ms)),
                          measure.requests - std::min(measure.failed, measure.requests));
  measure.p50_ms = latency.QuantileUs(0.5) / 1'000;
  measure.p99_ms = latency.QuantileUs(0.99) / 1'000;
  measure.warmth = now.warmth;
  measure.in_flight = now.in_flight_count;
  return measure;
}

Steering::Steering(const RouteSettings& settings, double slo_ms, size_t agents_count, Hooks hooks)
    : settings_(settings), slo_ms_(slo_ms), agents_count_(agents_count), hooks_(std::move(hooks)) {
  thread_ = std::thread([this] { Run(); });
}

Steering::~Steering() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Steering::SetRouter(TrafficRouter* router) {
  const std::lock_guard order(order_mutex_);
  router_ = router;
  if (router_ != nullptr) router_->Update(All());
}

void Steering::Apply(const std::function<void(std::set<std::string>& touched)>& change) {
  Todo todo;
  {
    const std::lock_guard order(order_mutex_);
    {
      const std::lock_guard lock(mutex_);
      std::set<std::string> touched;
      change(touched);
      for (const std::string& account : touched) Choose(account, todo);
      const bool complete = heard_.size() >= agents_count_;
      todo.update.complete = complete && !std::exchange(complete_, complete);
    }
    if (router_ != nullptr && (!todo.update.changed.empty() || todo.update.complete)) {
      router_->Update(todo.update);
    }
  }
  for (const auto& [cell, instance] : todo.resumes) hooks_.resume(cell, instance);
  for (const Command& command : todo.commands) hooks_.record(command);
}

void Steering::TakeFleet(std::shared_ptr<const Fleet> fleet, std::set<std::string>& touched) {
  if (fleet == fleet_) return;
  const size_t known = fleet_ == nullptr ? 0 : fleet_->accounts.size();
  for (size_t a = 0; a < fleet->accounts.size(); ++a) {
    const Account& account = fleet->accounts[a];
    if (a < known && fleet_->accounts[a] == account) continue;
    account_index_[account.id] = static_cast<int32_t>(a);
    touched.insert(account.id);
  }
  fleet_ = std::move(fleet);
}

void Steering::Registered(std::shared_ptr<const Fleet> fleet) {
  Apply([&](std::set<std::string>& touched) { TakeFleet(std::move(fleet), touched); });
}

void Steering::Decided(std::shared_ptr<const Fleet> fleet, const std::vector<Shadow>& shadows,
                       const std::vector<RouteEpoch>& epochs) {
  Apply([&](std::set<std::string>& touched) {
    TakeFleet(std::move(fleet), touched);
    std::set<std::string> has_shadow;
    for (const Shadow& shadow : shadows) {
      // Until its agent says that it is the primary, all traffic stays with what was the shadow.
      const bool promoted = shadow.state == ShadowState::kPromoted;
      if (!promoted && !Exists(shadow.state)) continue;
      const std::string& id = fleet_->accounts[shadow.account].id;
      AccountState& state = accounts_[id];
      has_shadow.insert(id);
      state.shadow = shadow.instance_id;
      state.split = promoted ? 1 : shadow.split;  // 0 while it is paused
      state.shed = shadow.shed;
      state.failed_over_decided = promoted || shadow.failed_over;
      state.promoted = promoted;
      touched.insert(id);
    }
    for (const RouteEpoch& of : epochs) {
      const std::string& id = fleet_->accounts[of.account].id;
      if (std::exchange(accounts_[id].epoch, of.epoch) != of.epoch) touched.insert(id);
    }
    for (auto& [id, state] : accounts_) {
      if (state.shadow.empty() || has_shadow.contains(id)) continue;
      state.shadow.clear();
      state.split = state.shed = 0;
      state.failed_over_decided = state.promoted = false;
      touched.insert(id);
    }
  });
}

void Steering::PutInstance(const Instance& instance, std::set<std::string>& touched) {
  Watched& watched = instances_[instance.id];
  const bool began_anew = watched.instance.state == InstanceState::kExited ||
                          watched.instance.address != instance.address;
  watched.instance = instance;
  if (began_anew) {
    watched.looked = watched.taken = LoadTotals();
    if (!watched.by_errors) watched.ill = false;
  }
  // Its agent speaks again: what probes made of it no longer counts.
  if (!watched.by_errors) watched.ill = false;
  watched.failed_probes = 0;
  if (!instance.shadow) accounts_[instance.account].primaries.insert(instance.id);
  touched.insert(instance.account);
}

void Steering::RemoveInstance(const std::string& id, std::set<std::string>& touched) {
  const auto it = instances_.find(id);
  if (it == instances_.end()) return;
  const std::string account = it->second.instance.account;
  accounts_[account].primaries.erase(id);
  touched.insert(account);
  instances_.erase(it);
}

void Steering::AgentSays(int32_t cell, bool whole, const std::vector<Instance>& instances,
                         const std::vector<std::string>& gone) {
  Apply([&](std::set<std::string>& touched) {
    heard_.insert(cell);
    silent_.erase(cell);
    if (whole) {
      std::set<std::string> there;
      for (const Instance& instance : instances) there.insert(instance.id);
      std::vector<std::string> lost;
      for (const auto& [id, watched] : instances_) {
        if (watched.instance.cell == cell && !there.contains(id)) lost.push_back(id);
      }
      for (const std::string& id : lost) RemoveInstance(id, touched);
    }
    for (const std::string& id : gone) {
      const auto it = instances_.find(id);
      if (it != instances_.end() && it->second.instance.cell == cell) RemoveInstance(id, touched);
    }
    for (const Instance& instance : instances) PutInstance(instance, touched);
  });
}

void Steering::AgentLost(int32_t cell) {
  {
    const std::lock_guard lock(mutex_);
    if (!silent_.insert(cell).second) return;
  }
  changed_.notify_all();
}

void Steering::PrometheusSays(const absl::StatusOr<ScrapedTotals>& totals) {
  const std::lock_guard lock(mutex_);
  const std::string alert = totals.ok() ? "" : std::string(totals.status().message());
  if (!alert.empty() && alert != prometheus_alert_) spdlog::error("{}", alert);
  prometheus_alert_ = alert;
  if (!totals.ok()) return;
  for (const auto& [id, scraped] : *totals) {
    if (const auto it = instances_.find(id); it != instances_.end()) it->second.scraped = scraped;
  }
}

// What an instance says itself is newer, and finer.
const LoadTotals& Steering::TotalsOf(const Watched& watched) {
  return watched.instance.load.known ? watched.instance.load : watched.scraped;
}

void Steering::ClientsSay(const std::string& instance_id, uint64_t requests_count,
                          uint64_t errors_count) {
  const std::lock_guard lock(mutex_);
  const auto it = instances_.find(instance_id);
  if (it == instances_.end()) return;
  it->second.window_requests += requests_count;
  it->second.window_errors += errors_count;
}

void Steering::Choose(const std::string& account, Todo& todo) {
  const auto index = account_index_.find(account);
  if (index == account_index_.end()) return;  // not registered yet
  AccountState& state = accounts_[account];
  Situation in;
  in.account = &fleet_->accounts[index->second];
  in.fleet = fleet_.get();
  for (const std::string& id : state.primaries) {
    const Watched& watched = instances_.at(id);
    in.primaries.push_back({&watched.instance, watched.ill});
  }
  if (const auto shadow = instances_.find(state.shadow); shadow != instances_.end()) {
    in.shadow = {&shadow->second.instance, shadow->second.ill};
  }
  in.split = state.split;
  in.shed = state.shed;
  in.epoch = state.epoch;
  const Clock::time_point now = Clock::now();
  in.held = state.failed_over && now < state.hold_until;
  Choice choice = router::Choose(in);
  if (state.failed_over && std::exchange(state.ill, choice.primary_ill) && !choice.primary_ill) {
    // Well again: it is watched for a while before anything goes back.
    state.hold_until = now + HoldOf(state);
    in.held = true;
    choice = router::Choose(in);
  }
  state.ill = choice.primary_ill;
  if (!settings_.failover && choice.failed_over) {
    choice.alert = fmt::format("account {}: {}, and route.failover = false", account, choice.why);
    choice.route.reset();
    choice.failed_over = choice.wants_shadow = false;
  }
  state.alert = choice.alert;
  if (choice.failed_over && !state.promoted) {
    FailOver(account, state, choice.why, todo);
  } else if (state.failed_over && !in.held && !state.ill) {
    state.failed_over = state.resuming = false;
    todo.commands.push_back({Command::Kind::kRecovered, 0, account, ""});
    spdlog::info("account {}: its primary is well again", account);
  }
  if (settings_.failover && choice.wants_shadow && !std::exchange(state.resuming, true)) {
    todo.resumes.emplace_back(in.shadow.instance->cell, state.shadow);
  }
  if (choice.primary_ill && !choice.route.has_value() && state.has_route) {
    // Nothing moves, but what is too much for whoever is asked is refused.
    choice.route = state.route;
    choice.route->shed = state.shed;
  }
  if (!choice.route.has_value() || (state.has_route && state.route == *choice.route)) return;
  state.route = *choice.route;
  state.has_route = true;
  todo.update.changed.push_back(*std::move(choice.route));
}

void Steering::FailOver(const std::string& account, AccountState& state, const std::string& why,
                        Todo& todo) {
  const Clock::time_point now = Clock::now();
  if (std::exchange(state.failed_over, true)) return;
  ++failovers_count_;
  const auto hold = std::chrono::milliseconds(settings_.failback_hold_ms);
  if (now - state.failed_at > kCalmHolds * hold) state.failovers_count = 0;
  ++state.failovers_count;
  state.failed_at = now;
  if (!state.failed_over_decided) {
    todo.commands.push_back({Command::Kind::kFailedOver, 0, account, why});
  }
  spdlog::warn("account {}: all traffic to {} at once: {}", account, state.shadow, why);
}

std::chrono::milliseconds Steering::HoldOf(const AccountState& state) const {
  const int doublings = std::clamp(state.failovers_count - 1, 0, kHoldDoublingsMax);
  return std::chrono::milliseconds(settings_.failback_hold_ms * (1 << doublings));
}

RouteUpdate Steering::All() const {
  const std::lock_guard lock(mutex_);
  RouteUpdate all;
  for (const auto& [id, state] : accounts_) {
    if (state.has_route) all.changed.push_back(state.route);
  }
  all.complete = heard_.size() >= agents_count_;
  return all;
}

// By account: of those whose traffic is all to go to the shadow. Somebody waits for their clients.
std::unordered_map<std::string, double> Steering::ClientsBehind() const {
  std::unordered_map<std::string, double> behind;
  const std::lock_guard order(order_mutex_);
  if (router_ == nullptr) return behind;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, state] : accounts_) {
      if (!state.shadow.empty() && state.split >= 1) behind[id] = 0;
    }
  }
  for (auto& [id, count] : behind) count = router_->ReachOf(id).behind_count;
  return behind;
}

std::vector<SideMeasure> Steering::TakeMeasures() {
  const std::unordered_map<std::string, double> behind = ClientsBehind();
  const std::lock_guard lock(mutex_);
  const int64_t now_ms = NowMs();
  std::vector<SideMeasure> measures;
  for (auto& [id, watched] : instances_) {
    const LoadTotals& now = TotalsOf(watched);
    if (!now.known) continue;
    SideMeasure measure = MeasureBetween(watched.taken, now, slo_ms_);
    measure.instance_id = id;
    measure.account = watched.instance.account;
    measure.shadow = watched.instance.shadow;
    measure.age_ms = static_cast<double>(now_ms - now.read_ms);
    if (const auto it = behind.find(measure.account); it != behind.end()) {
      measure.clients_behind = it->second;
    }
    measures.push_back(std::move(measure));
    watched.taken = now;
  }
  std::ranges::sort(measures, {}, &SideMeasure::instance_id);
  return measures;
}

std::vector<std::string> Steering::Alerts() const {
  std::vector<std::string> alerts;
  {
    const std::lock_guard lock(mutex_);
    const int64_t now_ms = NowMs();
    if (!prometheus_alert_.empty()) alerts.push_back(prometheus_alert_);
    for (const auto& [id, state] : accounts_) {
      if (!state.alert.empty()) alerts.push_back(state.alert);
    }
    for (const auto& [id, watched] : instances_) {
      const Instance& i = watched.instance;
      if (i.serving && i.load.known && static_cast<double>(now_ms - i.load.read_ms) > kStaleMs) {
        alerts.push_back(
            fmt::format("{} of account {} has told nothing of its load of late", id, i.account));
      }
    }
  }
  std::ranges::sort(alerts);
  const std::lock_guard order(order_mutex_);
  if (router_ != nullptr) {
    for (std::string& alert : router_->Alerts()) alerts.push_back(std::move(alert));
  }
  return alerts;
}

std::vector<Client> Steering::Clients() const {
  const std::lock_guard order(order_mutex_);
  return router_ == nullptr ? std::vector<Client>() : router_->Clients();
}

RouteCounts Steering::Counts() const {
  const std::lock_guard lock(mutex_);
  RouteCounts counts;
  counts.failovers = failovers_count_;
  for (const auto& [id, state] : accounts_) {
    if (!state.has_route) continue;
    const double split = state.route.split;
    if (state.route.shed > 0) ++counts.shedding;
    ++(state.failed_over ? counts.failed_over
       : split <= 0      ? counts.primary
       : split < 1       ? counts.shared
                         : counts.shadow);
  }
  return counts;
}

void Steering::Run() {
  Clock::time_point next_look = Clock::now() + kLookInterval;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      const auto wake = [&] { return stopping_ || !silent_.empty(); };
      changed_.wait_until(lock, next_look, wake);
      if (stopping_) return;
    }
    ProbeSilentCells();
    if (Clock::now() >= next_look) {
      LookAtAll();
      next_look = Clock::now() + kLookInterval;
    }
    std::unique_lock lock(mutex_);
    if (silent_.empty()) continue;
    changed_.wait_for(lock, kProbeInterval, [&] { return stopping_; });
  }
}

// Of the cells whose agents are silent, the instances on which a route depends and that could be
// relieved: those of accounts that have both sides.
void Steering::ProbeSilentCells() {
  std::vector<std::pair<std::string, Address>> probed;
  {
    const std::lock_guard lock(mutex_);
    if (silent_.empty() || hooks_.probe == nullptr) return;
    for (const auto& [id, watched] : instances_) {
      const Instance& i = watched.instance;
      if (!silent_.contains(i.cell) || i.state != InstanceState::kRunning) continue;
      const auto account = accounts_.find(i.account);
      if (account == accounts_.end() || account->second.shadow.empty()) continue;
      probed.emplace_back(id, i.address);
    }
  }
  for (const auto& [id, address] : probed) {
    const bool answers = hooks_.probe(address);
    Apply([&, i = id](std::set<std::string>& touched) {
      const auto it = instances_.find(i);
      if (it == instances_.end() || !silent_.contains(it->second.instance.cell)) return;
      Watched& watched = it->second;
      watched.failed_probes = answers ? 0 : watched.failed_probes + 1;
      const bool ill = watched.failed_probes >= kFailedProbes;
      if (watched.ill == ill || watched.by_errors) return;
      if (ill)
        spdlog::warn("{} of account {} does not answer, nor does its agent", i,
                     watched.instance.account);
      watched.ill = ill;
      touched.insert(watched.instance.account);
    });
  }
}

void Steering::LookAtErrors(Watched& watched, Clock::time_point now) {
  const bool burst_of_clients =
      watched.clients.Look(watched.window_requests, watched.window_errors);
  watched.window_requests = watched.window_errors = 0;
  const LoadTotals& load = TotalsOf(watched);
  bool burst_of_itself = false;
  if (load.known && watched.looked.known) {
    burst_of_itself = watched.itself.Look(Since(load.requests_count, watched.looked.requests_count),
                                          Since(load.errors_count, watched.looked.errors_count));
  }
  watched.looked = load;
  if (burst_of_clients || burst_of_itself) {
    if (!watched.ill) {
      spdlog::warn("{} of account {} answers with errors, {} say", watched.instance.id,
                   watched.instance.account, burst_of_clients ? "its clients" : "its own totals");
    }
    watched.ill = watched.by_errors = true;
    watched.ill_until = now + std::chrono::milliseconds(settings_.failback_hold_ms);
  } else if (watched.by_errors && now >= watched.ill_until) {
    watched.ill = watched.by_errors = false;
  }
}

void Steering::LookAtAll() {
  Apply([&](std::set<std::string>& touched) {
    const Clock::time_point now = Clock::now();
    for (auto& [id, watched] : instances_) {
      const bool before = watched.ill;
      LookAtErrors(watched, now);
      if (watched.ill != before) touched.insert(watched.instance.account);
    }
    for (const auto& [id, state] : accounts_) {
      if (state.failed_over && now >= state.hold_until) touched.insert(id);
    }
  });
}

}  // namespace foreshadow::router
