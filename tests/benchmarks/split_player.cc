#include "tests/benchmarks/split_player.h"

#include <httplib.h>

#include <algorithm>
#include <cmath>

#include "service/router/steering.h"
#include "service/rpc/cell_watch.h"
#include "tests/integration/xds_clients.h"

namespace foreshadow::testing {

// One of a player's two instances.
class Player::Side {
 public:
  Side(const sim::Scenario& scenario, bool shadow, const std::string& id, const std::string& folder,
       const Pace& pace)
      : scenario_(scenario),
        speed_(shadow ? scenario.shadow_speed : scenario.primary_speed),
        failed_(shadow ? scenario.shadow_failed : scenario.primary_failed),
        pace_(pace),
        instance_(folder, id, FlagsOf(shadow)),
        http_("127.0.0.1", instance_.http_port()) {
    route_ = {id,
              shadow ? "b" : "a",
              shadow ? "two" : "one",
              {"127.0.0.1", instance_.grpc_port(), instance_.http_port()}};
    Measure();
  }

  const router::Side& route() const { return route_; }
  bool dead() const { return dead_; }
  bool Answers(const grpc::ClientContext& context) const {
    return context.peer().ends_with(fmt::format(":{}", instance_.grpc_port()));
  }

  // What goes wrong at that time.
  void Stage(double s) {
    if (dead_) return;
    const double fails = failed_.At(s);
    const double speed = std::max(speed_.At(s), 0.01);
    if (fails >= 1) {
      instance_.process().Signal(SIGKILL);
      instance_.process().Wait();
      dead_ = true;
    } else if (fails != fails_ || speed != speed_set_) {
      const auto answer =
          http_.Post(fmt::format("/faults?fail_share={}&slow_factor={}", fails, 1 / speed));
      EXPECT_TRUE(answer && answer->status == 200);
      fails_ = fails;
      speed_set_ = speed;
    }
  }

  // Since the last call; nothing of one that does not answer.
  Measured Measure() {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(1));
    v1::Load load;
    if (!instance_.stub->GetLoad(&context, {}, &load).ok()) return {};
    const router::LoadTotals now = rpc::TotalsOf(load);
    const SideMeasure m = router::MeasureBetween(before_, now, scenario_.slo_ms / pace_.speed);
    before_ = now;
    return {m.requests, m.failed, m.slow, pace_.speed * m.p50_ms, pace_.speed * m.p99_ms};
  }

 private:
  std::vector<std::string> FlagsOf(bool shadow) const {
    const int servers = shadow ? scenario_.shadow_servers : scenario_.primary_servers;
    const double waiting = servers * speed_.At(0) * scenario_.timeout_ms / scenario_.service_ms;
    // As much longer in all as by the simulator's exponential.
    const double warm_requests = shadow ? 2 * scenario_.cold_requests : 0;
    return {"--cpu",           "0",
            "--cores",         fmt::format("{}", servers),
            "--work-ms",       fmt::format("{}", scenario_.service_ms / pace_.speed),
            "--waiting-max",   fmt::format("{:.0f}", waiting),
            "--cold-factor",   fmt::format("{}", 1 + (shadow ? scenario_.cold_extra : 0)),
            "--warm-requests", fmt::format("{:.0f}", warm_requests),
            "--seed",          fmt::format("{}", 2 * scenario_.seed + (shadow ? 1 : 0))};
  }

  const sim::Scenario& scenario_;
  const sim::Profile& speed_;
  const sim::Profile& failed_;
  const Pace& pace_;
  ServingInstance instance_;
  httplib::Client http_;
  router::Side route_;
  router::LoadTotals before_;
  double fails_ = 0;
  double speed_set_ = 1;
  bool dead_ = false;
};

Player::Player(const sim::Scenario& scenario, std::unique_ptr<sim::SplitPolicy> policy,
               const std::string& account, const std::string& folder, const Pace& pace,
               xds::XdsRouter& router)
    : scenario_(scenario),
      pace_(pace),
      policy_(std::move(policy)),
      router_(router),
      primary_(std::make_unique<Side>(scenario, false, "primary-" + account, folder, pace)),
      shadow_(std::make_unique<Side>(scenario, true, "shadow-" + account, folder, pace)),
      random_(scenario.seed) {
  route_.account = account;
  route_.primary = primary_->route();
  route_.shadow = shadow_->route();
  route_.stateful = true;  // the data plane repeats nothing on the other side by itself
  router_.Update({{route_}, {}, false});
  const auto channel = XdsChannel(account);
  EXPECT_TRUE(
      channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20)));
  stub_ = v1::Workload::NewStub(channel);
}

Player::~Player() { WaitForAnswers(); }

void Player::Send() {
  struct Call {
    grpc::ClientContext context;
    v1::CallRequest request;
    v1::CallResponse response;
  };
  auto* const call = new Call;
  const Pace::Clock::time_point start = Pace::Clock::now();
  call->context.set_deadline(std::chrono::system_clock::now() +
                             pace_.Long(scenario_.timeout_ms / 1'000));
  ++in_flight_;
  stub_->async()->Call(&call->context, &call->request, &call->response,
                       [this, call, start](const grpc::Status& status) {
                         const double latency_ms = pace_.ScenarioMs(Pace::Clock::now() - start);
                         const bool failed = !status.ok() || latency_ms >= scenario_.timeout_ms;
                         const bool by_shadow = shadow_->Answers(call->context);
                         delete call;  // with its hold on the channel, before WaitForAnswers ends
                         {
                           const std::lock_guard lock(mutex_);
                           if (status.error_message().starts_with("EDS-configured drop")) {
                             requests_.Refuse(scenario_);
                           } else {
                             requests_.Add(scenario_, by_shadow, latency_ms, failed);
                           }
                         }
                         --in_flight_;
                       });
}

void Player::Stage(double s) {
  const bool died_before = primary_->dead();
  primary_->Stage(s);
  shadow_->Stage(s);
  if (primary_->dead() && !died_before) Steer(1, route_.shed);
}

void Player::Decide() {
  const double before = told_.split;
  const double wanted = policy_->Decide(sim::Observe(scenario_, told_));
  Steer(sim::Begin(scenario_, wanted, policy_->shed(), told_), policy_->shed());
  moved_ = std::abs(told_.split - before);
}

void Player::Close() {
  sim::Requests requests;
  {
    const std::lock_guard lock(mutex_);
    std::swap(requests, requests_);
  }
  sim::Interval now = requests.Finish(scenario_, told_.interval * scenario_.interval_s, told_.split,
                                      moved_, &latencies_ms_);
  tally_.Add(now, told_.split, scenario_.interval_s);
  now.primary = primary_->Measure();
  now.shadow = shadow_->Measure();
  sim::End(scenario_, now, random_, told_);
}

void Player::WaitForAnswers() const {
  while (in_flight_ > 0) Sleep(1);
}

void Player::Steer(double split, double shed) {
  if (split == route_.split && shed == route_.shed) return;
  route_.split = split;
  route_.shed = shed;
  router_.Update({{route_}, {}, false});
}

}  // namespace foreshadow::testing
