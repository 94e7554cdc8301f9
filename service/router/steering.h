// Decides the route of every account between ticks: from the committed splits, from what the cells'
// agents say of the instances, and from what the data plane says of its calls. An ill primary's
// traffic goes to its shadow the moment it is known; the engine is told and plans on from there.
// Thread-safe; routes are handed on in the order in which they were decided.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "service/monitor/prometheus.h"
#include "service/router/ailment.h"
#include "service/router/choose.h"
#include "service/router/instance.h"
#include "service/router/traffic.h"
#include "service/router/traffic_router.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"

namespace foreshadow::router {

// What a fail-over takes beyond the data plane; called without a lock, from any thread.
struct Hooks {
  // The traffic of an account was moved, or its primary has recovered: to be made durable.
  std::function<void(const Command&)> record = [](const Command&) {};
  // Runs a paused instance at once.
  std::function<void(int32_t cell, const std::string& instance_id)> resume =
      [](int32_t, const std::string&) {};
  // True when something listens there.
  std::function<bool(const Address&)> probe;
};

// What an instance did between two readings of its totals; whose it is and how old, is not filled
// in.
SideMeasure MeasureBetween(const LoadTotals& before, const LoadTotals& now, double slo_ms);

class Steering : public Traffic {
 public:
  // `agents_count`: of cells that have one; routes are complete when all have spoken.
  Steering(const RouteSettings& settings, double slo_ms, size_t agents_count, Hooks hooks);
  ~Steering() override;

  // Where routes go from now on, beginning with all there are. Null: nowhere. Outlives this.
  void SetRouter(TrafficRouter* router);

  void Registered(std::shared_ptr<const Fleet> fleet) override;
  void Decided(std::shared_ptr<const Fleet> fleet, const std::vector<Shadow>& shadows,
               const std::vector<RouteEpoch>& epochs) override;
  // All instances of a cell, or those that changed.
  void AgentSays(int32_t cell, bool whole, const std::vector<Instance>& instances,
                 const std::vector<std::string>& gone);
  // The cell's agent does not answer: its instances are looked at directly.
  void AgentLost(int32_t cell);
  // Totals of instances as a Prometheus read them; of those that tell none themselves they count.
  // An error: an alert shows it until the next answer.
  void PrometheusSays(const absl::StatusOr<ScrapedTotals>& totals);
  // Calls to one instance as the data plane counts them, since its last word.
  void ClientsSay(const std::string& instance_id, uint64_t requests_count, uint64_t errors_count);

  RouteUpdate All() const;
  std::vector<SideMeasure> TakeMeasures() override;
  std::vector<std::string> Alerts() const override;
  std::vector<Client> Clients() const override;
  RouteCounts Counts() const override;

 private:
  using Clock = std::chrono::steady_clock;

  struct Watched {
    Instance instance;
    bool ill = false;             // by probes or errors
    Clock::time_point ill_until;  // of an illness that errors told of; then it is tried again
    bool by_errors = false;
    int failed_probes = 0;
    ErrorWatch clients, itself;
    uint64_t window_requests = 0, window_errors = 0;  // of the clients, since the last look
    LoadTotals scraped;                               // by a Prometheus
    LoadTotals looked;                                // totals at the last look
    LoadTotals taken;                                 // totals at the last TakeMeasures
  };
  struct AccountState {
    std::set<std::string> primaries;  // ids
    std::string shadow;               // id of the one decided; "" = none
    double split = 0;
    double shed = 0;
    uint64_t epoch = 1;
    bool failed_over_decided = false;  // the plan knows
    bool promoted = false;             // the shadow, by the plan: the old primary is to end
    bool failed_over = false;
    bool ill = false;  // the primary, as last chosen
    bool resuming = false;
    int failovers_count = 0;
    Clock::time_point failed_at{};
    Clock::time_point hold_until{};
    std::string alert;
    Route route;
    bool has_route = false;
  };
  // What is to be done after the lock is released.
  struct Todo {
    RouteUpdate update;
    std::vector<Command> commands;
    std::vector<std::pair<int32_t, std::string>> resumes;
  };

  void Choose(const std::string& account, Todo& todo);
  void FailOver(const std::string& account, AccountState& state, const std::string& why,
                Todo& todo);
  std::chrono::milliseconds HoldOf(const AccountState& state) const;
  void TakeFleet(std::shared_ptr<const Fleet> fleet, std::set<std::string>& touched);
  void PutInstance(const Instance& instance, std::set<std::string>& touched);
  void RemoveInstance(const std::string& id, std::set<std::string>& touched);
  void LookAtErrors(Watched& watched, Clock::time_point now);
  std::unordered_map<std::string, double> ClientsBehind() const;
  static const LoadTotals& TotalsOf(const Watched& watched);
  // Changes what is known by `change`, chooses the accounts it touches anew, hands on what came of
  // it.
  void Apply(const std::function<void(std::set<std::string>& touched)>& change);
  void Run();
  void ProbeSilentCells();
  void LookAtAll();

  const RouteSettings settings_;
  const double slo_ms_;
  const size_t agents_count_;
  const Hooks hooks_;
  mutable std::mutex order_mutex_;  // of updates to the router; taken before mutex_
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  TrafficRouter* router_ = nullptr;
  std::shared_ptr<const Fleet> fleet_;
  std::unordered_map<std::string, int32_t> account_index_;
  std::unordered_map<std::string, AccountState> accounts_;
  std::unordered_map<std::string, Watched> instances_;
  std::string prometheus_alert_;
  std::set<int32_t> heard_;   // cells whose agent has spoken since the start
  std::set<int32_t> silent_;  // cells whose agent does not answer now
  bool complete_ = false;     // and the router knows
  uint64_t failovers_count_ = 0;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace foreshadow::router
