// The routes that come of what agents, clients and the plan say, in the order they say it.
#include "service/router/steering.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

namespace foreshadow::router {
namespace {

using std::chrono::milliseconds;
using ::testing::Contains;
using ::testing::HasSubstr;

class Recorder : public TrafficRouter {
 public:
  void Update(const RouteUpdate& update) override {
    const std::lock_guard lock(mutex_);
    for (const Route& route : update.changed) routes_[route.account] = route;
    if (update.complete) complete_ = true;
    ++updates_count_;
  }
  std::vector<Client> Clients() const override { return {}; }
  Reach ReachOf(const std::string&) const override { return {5, 3}; }
  std::vector<std::string> Alerts() const override { return {}; }

  Route Get(const std::string& account) const {
    const std::lock_guard lock(mutex_);
    const auto it = routes_.find(account);
    return it == routes_.end() ? Route() : it->second;
  }
  bool complete() const { return complete_; }
  int updates_count() const { return updates_count_; }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, Route> routes_;
  std::atomic<bool> complete_ = false;
  std::atomic<int> updates_count_ = 0;
};

class SteeringTest : public ::testing::Test {
 protected:
  SteeringTest() {
    auto fleet = std::make_shared<Fleet>();
    fleet->cells = {{"a", "one"}, {"b", "two"}};
    fleet->accounts = {{"acme", 0, "app"}, {"other", 0, "app"}};
    fleet_ = fleet;
    Hooks hooks;
    hooks.record = [this](const Command& command) {
      const std::lock_guard lock(mutex_);
      commands_.push_back(command);
    };
    hooks.resume = [this](int32_t, const std::string& id) {
      const std::lock_guard lock(mutex_);
      resumed_.push_back(id);
    };
    hooks.probe = [this](const Address& address) { return address.grpc_port != silent_port_; };
    RouteSettings settings;
    settings.failback_hold_ms = 150;
    steering_ = std::make_unique<Steering>(settings, 400, 2, std::move(hooks));
    steering_->SetRouter(&router_);
    shadow_.instance_id = "s";
    shadow_.account = 0;
    shadow_.target = 1;
    shadow_.state = ShadowState::kSharing;
    shadow_.split = 0.2;
  }

  static Instance Make(const std::string& id, int32_t cell, bool shadow, int port) {
    return {id, "acme", cell, shadow, InstanceState::kRunning, true, {"127.0.0.1", port, 0}, {}};
  }
  void Begin() {
    steering_->AgentSays(0, true, {primary_}, {});
    steering_->AgentSays(1, true, {Make("s", 1, true, 2)}, {});
    steering_->Decided(fleet_, {shadow_}, {});
  }
  void PlanPromotes() {
    shadow_.state = ShadowState::kPromoting;
    shadow_.split = 1;
    steering_->Decided(fleet_, {shadow_}, {});
  }
  void PlanHasPromoted() {
    auto moved = std::make_shared<Fleet>(*fleet_);
    moved->accounts[0].cell = 1;
    shadow_.state = ShadowState::kPromoted;
    shadow_.split = 0;
    steering_->Decided(moved, {shadow_}, {{0, 2}});
  }
  void PrimaryIs(InstanceState state) {
    primary_.state = state;
    primary_.serving = state == InstanceState::kRunning;
    steering_->AgentSays(0, false, {primary_}, {});
  }
  std::vector<Command> commands() {
    const std::lock_guard lock(mutex_);
    return commands_;
  }
  // Waits for a split that comes by time alone.
  void ExpectSplit(double split, int within_ms = 5'000) {
    for (int i = 0; i < within_ms && router_.Get("acme").split != split; ++i) {
      std::this_thread::sleep_for(milliseconds(1));
    }
    EXPECT_EQ(router_.Get("acme").split, split);
  }

  void ExpectAlert(const std::string& text) {
    const auto told = [&] {
      return std::ranges::any_of(steering_->Alerts(), [&](const std::string& alert) {
        return alert.find(text) != std::string::npos;
      });
    };
    for (int i = 0; i < 5'000 && !told(); ++i) std::this_thread::sleep_for(milliseconds(1));
    EXPECT_TRUE(told()) << text;
  }

  std::shared_ptr<const Fleet> fleet_;
  Recorder router_;
  std::mutex mutex_;
  std::vector<Command> commands_;
  std::vector<std::string> resumed_;
  std::atomic<int> silent_port_ = 0;
  Instance primary_ = Make("p", 0, false, 1);
  Shadow shadow_;
  std::unique_ptr<Steering> steering_;
};

TEST_F(SteeringTest, RoutesAreCompleteWhenEveryAgentHasSpoken) {
  steering_->AgentSays(0, true, {primary_}, {});
  EXPECT_FALSE(router_.complete());
  steering_->AgentSays(1, true, {}, {});
  EXPECT_TRUE(router_.complete());
}

TEST_F(SteeringTest, CommittedSplitsAreHandedOnAndSameOnesAreNot) {
  Begin();
  EXPECT_EQ(router_.Get("acme").split, 0.2);
  const int before = router_.updates_count();
  steering_->Decided(fleet_, {shadow_}, {});
  EXPECT_EQ(router_.updates_count(), before);
  shadow_.split = 0.5;
  steering_->Decided(fleet_, {shadow_}, {});
  EXPECT_EQ(router_.Get("acme").split, 0.5);
  steering_->Decided(fleet_, {}, {});
  EXPECT_EQ(router_.Get("acme").split, 0);
}

TEST_F(SteeringTest, AnEndedPrimaryFailsOverAtOnceAndIsRecordedOnce) {
  Begin();
  PrimaryIs(InstanceState::kExited);
  EXPECT_EQ(router_.Get("acme").split, 1);
  PrimaryIs(InstanceState::kExited);
  const auto told = commands();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].kind, Command::Kind::kFailedOver);
  EXPECT_EQ(told[0].account, "acme");
  EXPECT_THAT(told[0].reason, HasSubstr("primary p has ended"));
}

TEST_F(SteeringTest, TrafficComesHomeAfterTheHoldAndLaterTheNextTime) {
  Begin();
  PrimaryIs(InstanceState::kExited);
  PrimaryIs(InstanceState::kRunning);
  EXPECT_EQ(router_.Get("acme").split, 1) << "held";
  ExpectSplit(0.2);
  EXPECT_EQ(commands().back().kind, Command::Kind::kRecovered);

  PrimaryIs(InstanceState::kExited);
  const auto start = std::chrono::steady_clock::now();
  PrimaryIs(InstanceState::kRunning);
  ExpectSplit(0.2);
  EXPECT_GT(std::chrono::steady_clock::now() - start, milliseconds(280)) << "twice the hold";
}

TEST_F(SteeringTest, APausedShadowIsResumedAndTakesAllWhenItServes) {
  shadow_.state = ShadowState::kWarm;
  shadow_.split = 0;
  Begin();
  Instance paused = Make("s", 1, true, 2);
  paused.state = InstanceState::kPaused;
  paused.serving = false;
  steering_->AgentSays(1, false, {paused}, {});
  PrimaryIs(InstanceState::kExited);
  EXPECT_THAT(resumed_, ::testing::ElementsAre("s"));
  EXPECT_EQ(router_.Get("acme").split, 0);
  steering_->AgentSays(1, false, {Make("s", 1, true, 2)}, {});
  EXPECT_EQ(router_.Get("acme").split, 1);
}

// Silence of an agent is not its instances' end: they are looked at.
TEST_F(SteeringTest, ALostAgentAloneMovesNothingADeadInstanceDoes) {
  Begin();
  steering_->AgentLost(0);
  std::this_thread::sleep_for(milliseconds(400));
  EXPECT_EQ(router_.Get("acme").split, 0.2);
  silent_port_ = 1;
  ExpectSplit(1);
  silent_port_ = 0;
  steering_->AgentSays(0, true, {primary_}, {});
  ExpectSplit(0.2);
}

TEST_F(SteeringTest, ABurstOfErrorsThatClientsSeeFailsOver) {
  Begin();
  steering_->ClientsSay("p", 200, 190);
  ExpectSplit(1);
  EXPECT_THAT(commands()[0].reason, HasSubstr("errors"));
}

TEST_F(SteeringTest, AShadowThatVanishedTakesNothingAndItsPrimaryAll) {
  Begin();
  steering_->AgentSays(1, false, {}, {"s"});
  EXPECT_EQ(router_.Get("acme").split, 0);
}

// Until it is handed over the shadow takes what it is given, and nobody else's traffic is lost.
TEST_F(SteeringTest, AMigrationKeepsItsRouteUntilItIsHandedOver) {
  Begin();
  PlanPromotes();
  EXPECT_EQ(router_.Get("acme").split, 1);
  EXPECT_EQ(router_.Get("acme").epoch, 1u);
  // The agent has made it the primary; the plan has not heard of it.
  Instance promoted = Make("s", 1, false, 2);
  steering_->AgentSays(1, false, {promoted}, {});
  EXPECT_EQ(router_.Get("acme").shadow.instance_id, "s");
  EXPECT_EQ(router_.Get("acme").split, 1);
  // The old one goes before the plan has heard of it.
  steering_->AgentSays(0, false, {}, {"p"});
  EXPECT_EQ(router_.Get("acme").primary.instance_id, "s");
  EXPECT_EQ(router_.Get("acme").split, 0);
  steering_->AgentSays(0, false, {primary_}, {});
  PlanHasPromoted();
  EXPECT_EQ(router_.Get("acme").primary.instance_id, "s");
  EXPECT_EQ(router_.Get("acme").shadow.instance_id, "");
  EXPECT_EQ(router_.Get("acme").epoch, 2u);
}

// The plan may hear of it before the cell's agent has told: no call goes to the old primary again.
TEST_F(SteeringTest, APromotionThatItsAgentHasNotToldKeepsItsRoute) {
  Begin();
  PlanPromotes();
  PlanHasPromoted();
  EXPECT_EQ(router_.Get("acme").shadow.instance_id, "s");
  EXPECT_EQ(router_.Get("acme").split, 1);
  steering_->AgentSays(1, false, {Make("s", 1, false, 2)}, {});
  EXPECT_EQ(router_.Get("acme").primary.instance_id, "s");
  EXPECT_EQ(router_.Get("acme").shadow.instance_id, "");
  EXPECT_TRUE(commands().empty());
}

// The old primary may end, as it is told to, before the cell's agent has told of the new one.
TEST_F(SteeringTest, TheEndOfAPrimaryWhosePlaceIsTakenIsNoFailover) {
  Begin();
  PlanPromotes();
  PlanHasPromoted();
  PrimaryIs(InstanceState::kExited);
  EXPECT_EQ(router_.Get("acme").shadow.instance_id, "s");
  EXPECT_EQ(router_.Get("acme").split, 1);
  steering_->AgentSays(1, false, {Make("s", 1, false, 2)}, {});
  steering_->AgentSays(0, false, {}, {"p"});
  EXPECT_EQ(router_.Get("acme").primary.instance_id, "s");
  EXPECT_EQ(router_.Get("acme").shadow.instance_id, "");
  EXPECT_EQ(steering_->Counts().failovers, 0u);
  EXPECT_TRUE(commands().empty());
}

// A shadow that drowns after a fail-over is ill as well: nothing moves, but what is refused does.
TEST_F(SteeringTest, WhereBothAreIllRequestsAreRefusedAsDecided) {
  Begin();
  PrimaryIs(InstanceState::kExited);
  steering_->ClientsSay("s", 100, 90);
  ExpectAlert("no shadow serves");
  shadow_.failed_over = true;
  shadow_.split = 1;
  shadow_.shed = 0.25;
  steering_->Decided(fleet_, {shadow_}, {});
  EXPECT_EQ(router_.Get("acme").split, 1);
  EXPECT_EQ(router_.Get("acme").shed, 0.25);
  EXPECT_EQ(steering_->Counts().shedding, 1);
}

TEST_F(SteeringTest, CountsRoutesByWhereTheyLead) {
  Begin();
  EXPECT_EQ(steering_->Counts().shared, 1);
  EXPECT_EQ(steering_->Counts().shedding, 0);
  PrimaryIs(InstanceState::kExited);
  EXPECT_EQ(steering_->Counts().shared, 0);
  EXPECT_EQ(steering_->Counts().failed_over, 1);
  EXPECT_EQ(steering_->Counts().failovers, 1u);
  PrimaryIs(InstanceState::kRunning);
  ExpectSplit(0.2);
  EXPECT_EQ(steering_->Counts().failed_over, 0);
  EXPECT_EQ(steering_->Counts().failovers, 1u);
}

TEST_F(SteeringTest, AnotherCellCannotRemoveAnInstance) {
  Begin();
  steering_->AgentSays(1, false, {}, {"p"});
  EXPECT_EQ(router_.Get("acme").split, 0.2);
}

TEST_F(SteeringTest, MeasuresAreWhatCameSinceTheLast) {
  primary_.load.known = true;
  primary_.load.read_ms = 1'000;
  primary_.load.requests_count = 100;
  for (int i = 0; i < 100; ++i) primary_.load.latency.Add(2'000);
  Begin();
  steering_->TakeMeasures();
  primary_.load.read_ms = 3'000;
  primary_.load.requests_count = 111;
  primary_.load.errors_count = 1;
  primary_.load.in_flight_count = 7;
  for (int i = 0; i < 10; ++i) primary_.load.latency.Add(500'000);
  PrimaryIs(InstanceState::kRunning);
  const auto measures = steering_->TakeMeasures();
  ASSERT_EQ(measures.size(), 1u);
  EXPECT_EQ(measures[0].instance_id, "p");
  EXPECT_EQ(measures[0].requests, 11);
  EXPECT_EQ(measures[0].failed, 1);
  EXPECT_EQ(measures[0].slow, 10);
  EXPECT_NEAR(measures[0].p50_ms, 500, 5);
  EXPECT_EQ(measures[0].seconds, 2);
  EXPECT_EQ(measures[0].in_flight, 7);
  EXPECT_EQ(measures[0].clients_behind, 0) << "nobody waits for them";
  shadow_.split = 1;
  steering_->Decided(fleet_, {shadow_}, {});
  EXPECT_EQ(steering_->TakeMeasures()[0].clients_behind, 3);
}

TEST_F(SteeringTest, APrometheusTellsOfWhomNothingElseIsKnown) {
  Begin();
  EXPECT_TRUE(steering_->TakeMeasures().empty());
  LoadTotals totals;
  totals.known = true;
  totals.read_ms = 1'000;
  totals.requests_count = 100;
  steering_->PrometheusSays(ScrapedTotals{{"p", totals}, {"nobody", totals}});
  steering_->TakeMeasures();
  totals.read_ms = 6'000;
  totals.requests_count = 110;
  totals.errors_count = 8;
  for (int i = 0; i < 10; ++i) totals.latency.Add(500'000);
  steering_->PrometheusSays(ScrapedTotals{{"p", totals}});
  PrimaryIs(InstanceState::kRunning);  // what its agent says of it takes nothing away
  auto measures = steering_->TakeMeasures();
  ASSERT_EQ(measures.size(), 1u);
  EXPECT_EQ(measures[0].instance_id, "p");
  EXPECT_EQ(measures[0].seconds, 5);
  EXPECT_EQ(measures[0].requests, 10);
  EXPECT_EQ(measures[0].failed, 8);
  EXPECT_EQ(measures[0].slow, 2) << "those that failed are in the histogram as well";
  EXPECT_GT(measures[0].age_ms, 1e9) << "as old as its scrape";
  // Its own word goes before.
  primary_.load.known = true;
  primary_.load.requests_count = 3;
  PrimaryIs(InstanceState::kRunning);
  steering_->TakeMeasures();
  primary_.load.requests_count = 4;
  PrimaryIs(InstanceState::kRunning);
  EXPECT_EQ(steering_->TakeMeasures()[0].requests, 1);

  steering_->PrometheusSays(absl::UnavailableError("prometheus.url does not answer"));
  EXPECT_THAT(steering_->Alerts(), Contains("prometheus.url does not answer"));
  steering_->PrometheusSays(ScrapedTotals{});
  EXPECT_THAT(steering_->Alerts(), ::testing::Not(Contains("prometheus.url does not answer")));
}

}  // namespace
}  // namespace foreshadow::router
