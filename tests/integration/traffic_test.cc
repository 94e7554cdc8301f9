// The whole way: telemetry, plan, shadow, split, real agents, real instances, gRPC's own xDS client
// - and what becomes of the calls when a primary, an agent or the server itself is killed.
#include <gmock/gmock.h>

#include <filesystem>

#include "tests/integration/running_agent.h"
#include "tests/integration/story.h"
#include "tests/integration/xds_clients.h"
#include "tests/unit/service/fixed_policy.h"

// After Eigen, whose names a macro of its headers breaks.
#include <httplib.h>

namespace foreshadow::testing {
namespace {

using std::chrono::steady_clock;
using ::testing::AllOf;
using ::testing::HasSubstr;

class Traffic : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("traffic-{}", getpid());
    std::filesystem::create_directories(folder_);
    a_ = std::make_unique<RunningAgent>(folder_, "a");
    b_ = std::make_unique<RunningAgent>(folder_, "b");
    std::srand(42);
  }
  void TearDown() override {
    server_.reset();
    a_.reset();
    b_.reset();
    std::filesystem::remove_all(folder_);
  }

  // `more` are tables of the configuration, `server` keys of [server].
  void Serve(const std::string& listen = "127.0.0.1:0", const std::string& more = "",
             const std::string& server = "") {
    std::string config = ConfigText(
        folder_, a_->address(), b_->address(),
        fmt::format("{}[route]\nfailback_hold_ms = 500\n[xds]\nlisten = \"{}\"\n", more, listen));
    config.replace(config.find("[tick]"), 0, server);
    server_ = std::make_unique<RunningServer>(
        folder_, config, std::vector<std::string>{"--xds-port-file", folder_ + "/xds_port"});
    xds_port_ = std::stoi(ReadFile(folder_ + "/xds_port"));
  }

  static bool TakesAShare(const v1::Shadow& shadow) {
    return shadow.state() == v1::SHADOW_STATE_SHARING && shadow.split() > 0;
  }
  // Until the plan gives some account's shadow its first share; that account.
  void PlayUntilSharing() {
    ASSERT_TRUE(server_->Put(story_.Accounts()).ok());
    for (step_ = 0; step_ < 200; ++step_) {
      const auto plans = story_.Play(*server_, step_, step_ + 1);
      if (plans.empty()) continue;
      for (const v1::Shadow& shadow : plans.back().shadows()) {
        if (TakesAShare(shadow)) {
          shadow_ = shadow;
          ++step_;
          return;
        }
      }
    }
    FAIL() << "no shadow shares";
  }
  v1::Plan Tick() {
    ++step_;
    return story_.Play(*server_, step_ - 1, step_).back();
  }

  std::string folder_;
  std::unique_ptr<RunningAgent> a_, b_;
  std::unique_ptr<RunningServer> server_;
  Story story_;
  int step_ = 0;
  int xds_port_ = 0;
  v1::Shadow shadow_;
};

TEST_F(Traffic, AKilledPrimaryIsLeftAtOnceAndThePlanFollows) {
  for (int i = 0; i < 10; ++i) a_->CreatePrimary(fmt::format("busy-{}", i));
  Serve();
  PlayUntilSharing();
  const std::string account = shadow_.account_id();
  const std::string primary = "primary-" + account;
  ASSERT_TRUE(a_->WaitUntilServing(primary));
  ASSERT_TRUE(b_->WaitUntilServing(shadow_.instance_id()));

  UseControlPlane(xds_port_, "caller");
  Callers callers(XdsChannel(account), 8);
  callers.WaitForCount(3'000);
  const v1::GetStatusResponse status = server_->GetStatus();
  ASSERT_EQ(status.clients_size(), 1);
  EXPECT_EQ(status.clients(0).node(), "caller");
  EXPECT_TRUE(status.clients(0).connected());

  const SteadyTime killed = steady_clock::now();
  kill(a_->Find(primary).pid(), SIGKILL);
  callers.WaitForCount(callers.count() + 3'000);
  auto counts = callers.Stop();
  EXPECT_EQ(counts.failed, 0) << counts.first_error;
  EXPECT_GT(counts.by_instance[primary], 0);
  EXPECT_GT(counts.by_instance[shadow_.instance_id()], 2'500);
  std::printf(
      "last call to the killed primary began %.1f ms after the kill\n",
      std::chrono::duration<double, std::milli>(counts.last_start[primary] - killed).count());

  const v1::Plan plan = Tick();
  bool told = false;
  for (const v1::Action& action : plan.actions()) {
    told |= action.account_id() == account && action.kind() == v1::ACTION_KIND_SET_SPLIT &&
            action.reason().find("its primary primary-") != std::string::npos;
  }
  EXPECT_TRUE(told) << plan.DebugString();
  for (const v1::Shadow& shadow : plan.shadows()) {
    if (shadow.account_id() != account) continue;
    EXPECT_EQ(shadow.split(), 1);
  }
}

// Cell a is all there is of its zone: nobody is left there who could tell of it.
TEST_F(Traffic, AZoneThatIsGoneIsLeftAtOnceByAllThatHaveShadows) {
  for (int i = 0; i < 10; ++i) a_->CreatePrimary(fmt::format("busy-{}", i));
  Serve();
  PlayUntilSharing();
  std::map<std::string, std::string> shadows;  // by account
  for (int ticks = 0; ticks < 60 && shadows.size() < 2; ++ticks) {
    const v1::Plan plan = Tick();
    for (const v1::Shadow& shadow : plan.shadows()) {
      if (TakesAShare(shadow)) shadows[shadow.account_id()] = shadow.instance_id();
    }
  }
  ASSERT_GE(shadows.size(), 2u);

  UseControlPlane(xds_port_, "caller");
  std::map<std::string, std::unique_ptr<Callers>> callers;
  for (const auto& [account, shadow] : shadows) {
    ASSERT_TRUE(b_->WaitUntilServing(shadow));
    callers[account] = std::make_unique<Callers>(XdsChannel(account), 4);
    callers[account]->WaitForCount(1'000);
  }
  a_->Vanish();
  for (auto& [account, calls] : callers) calls->WaitForCount(calls->count() + 1'000);
  for (auto& [account, calls] : callers) {
    const Callers::Counts counts = calls->Stop();
    EXPECT_EQ(counts.failed, 0) << account << ": " << counts.first_error;
    EXPECT_GT(counts.by_instance.at(shadows[account]), 800);
  }
  const v1::Plan plan = Tick();
  for (const v1::Shadow& shadow : plan.shadows()) {
    if (shadows.contains(shadow.account_id())) {
      EXPECT_EQ(shadow.split(), 1) << shadow.DebugString();
    }
  }
}

// 1,200 calls a second come to a shadow that serves 800, after its primary was killed: without more
// ado a thousand would wait, each for a second and more, and a third of all fail at the line's end.
TEST_F(Traffic, WhatAShadowAloneCannotCarryIsRefused) {
  for (int i = 0; i < 10; ++i) a_->CreatePrimary(fmt::format("busy-{}", i));
  Serve();
  PlayUntilSharing();
  const std::string account = shadow_.account_id();
  ASSERT_TRUE(a_->WaitUntilServing("primary-" + account));
  ASSERT_TRUE(b_->WaitUntilServing(shadow_.instance_id()));
  const v1::Instance instance = b_->Find(shadow_.instance_id());
  httplib::Client http("127.0.0.1", static_cast<int>(instance.http_port()));
  ASSERT_TRUE(http.Post("/faults?fail_share=0&slow_factor=100"));

  Process load({std::string(FORESHADOW_BIN_DIR) + "/foreshadow", "load", "--xds",
                fmt::format("127.0.0.1:{}", xds_port_), "--account", account, "--per-s", "1200",
                "--seconds", "60", "--json"},
               folder_ + "/load.log");
  Sleep(2'000);
  kill(a_->Find("primary-" + account).pid(), SIGKILL);
  Sleep(4'000);
  v1::Plan plan;
  const auto shed = [&] {
    for (const v1::Shadow& shadow : plan.shadows()) {
      if (shadow.instance_id() == shadow_.instance_id()) return shadow.shed();
    }
    return -1.0;
  };
  for (int ticks = 0; ticks < 12 && shed() <= 0; ++ticks) {
    Sleep(1'200);  // agents tell totals once a second
    plan = Tick();
  }
  ASSERT_GT(shed(), 0.2) << plan.DebugString();
  EXPECT_THAT(
      plan.alerts(),
      ::testing::Contains(HasSubstr("of its requests are refused: the shadow alone cannot carry")));

  // And it serves what it is given.
  Sleep(2'000);
  const v1::Load before = b_->Find(shadow_.instance_id()).load();
  Sleep(3'000);
  const v1::Load after = b_->Find(shadow_.instance_id()).load();
  const auto served = static_cast<double>(after.requests_count() - before.requests_count());
  EXPECT_GT(served, 1'000);
  EXPECT_LT(static_cast<double>(after.errors_count() - before.errors_count()), 0.05 * served);
  load.Signal(SIGKILL);
}

// The data plane lives without its control plane; one that comes back does not take anything away.
TEST_F(Traffic, TheServerMayBeKilledAndComeBack) {
  for (int i = 0; i < 10; ++i) a_->CreatePrimary(fmt::format("busy-{}", i));
  Serve();
  PlayUntilSharing();
  ASSERT_TRUE(b_->WaitUntilServing(shadow_.instance_id()));
  UseControlPlane(xds_port_, "caller");
  Callers callers(XdsChannel(shadow_.account_id()), 4);
  callers.WaitForCount(1'000);
  server_->KillAtOnce();
  callers.WaitForCount(callers.count() + 500);
  Serve(fmt::format("127.0.0.1:{}", xds_port_));
  for (int i = 0; i < 500 && server_->GetStatus().clients_size() == 0; ++i) Sleep(20);
  EXPECT_EQ(server_->GetStatus().clients_size(), 1);
  callers.WaitForCount(callers.count() + 1'000);
  const auto counts = callers.Stop();
  EXPECT_EQ(counts.failed, 0) << counts.first_error;
  EXPECT_EQ(counts.by_instance.size(), 2u) << "both sides serve";
}

// What instances tell of their requests reaches the policy, what it decides the data plane; and all
// of it can be done again from the journal, by the same policy only.
TEST_F(Traffic, TheLearnedPolicyMovesTheSplitAndItsJournalIsTheSameAgain) {
  const std::string registry = folder_ + "/registry";
  const auto save = [](const std::string& folder, SplitAction action) {
    ASSERT_TRUE(SaveQPolicy(folder + "/router", FixedCard("test-9"), FixedWeights(action)).ok());
  };
  save(registry, SplitAction::kToCeiling);
  for (int i = 0; i < 10; ++i) a_->CreatePrimary(fmt::format("busy-{}", i));
  Serve("127.0.0.1:0", "[learn]\npolicy = \"q\"\n",
        fmt::format("journal_dir = \"{0}/journals\"\nmodel_dir = \"{1}\"\n", folder_, registry));
  PlayUntilSharing();
  const std::string account = shadow_.account_id();
  ASSERT_TRUE(a_->WaitUntilServing("primary-" + account));
  ASSERT_TRUE(b_->WaitUntilServing(shadow_.instance_id()));
  UseControlPlane(xds_port_, "caller");
  Callers callers(XdsChannel(account), 8);

  uint64_t action = 0;
  double split = 0;
  for (int ticks = 0; ticks < 12 && action == 0; ++ticks) {
    callers.WaitForCount(callers.count() + 1'000);
    Sleep(1'200);  // agents tell totals once a second
    const v1::Plan plan = Tick();
    for (const v1::Action& a : plan.actions()) {
      if (a.account_id() != account || a.kind() != v1::ACTION_KIND_SET_SPLIT) continue;
      if (a.reason().find("policy test-9 takes to-ceiling") == std::string::npos) continue;
      if (a.split() <= shadow_.split()) continue;
      action = a.id();
      split = a.split();
    }
  }
  ASSERT_NE(action, 0u) << server_->GetPlan().DebugString();
  grpc::ClientContext context;
  v1::ExplainRequest request;
  request.set_action_id(action);
  v1::Explanation explanation;
  ASSERT_TRUE(server_->plans->Explain(&context, request, &explanation).ok());
  EXPECT_THAT(explanation.words(), HasSubstr("policy test-9"));

  // And the calls follow.
  auto before = callers.counts().by_instance;
  callers.WaitForCount(callers.count() + 5'000);
  auto counts = callers.Stop();
  EXPECT_EQ(counts.failed, 0) << counts.first_error;
  const double taken = counts.by_instance[shadow_.instance_id()] - before[shadow_.instance_id()];
  const double left = counts.by_instance["primary-" + account] - before["primary-" + account];
  EXPECT_NEAR(taken / (taken + left), split, 0.05);
  EXPECT_EQ(server_->Stop(), 0);

  const auto replay = [&](const std::string& models, std::string& output) {
    const std::string log = folder_ + "/replay.log";
    std::filesystem::remove(log);
    Process process({std::string(FORESHADOW_BIN_DIR) + "/foreshadow", "replay",
                     folder_ + "/journals", "--json", "--models", models},
                    log);
    const int code = process.Wait();
    output = process.Output();
    return code;
  };
  std::string output;
  EXPECT_EQ(replay(registry, output), 0) << output;
  EXPECT_THAT(output, HasSubstr("\"identical\":true"));
  const std::string other = folder_ + "/other";
  save(other, SplitAction::kHold);
  EXPECT_EQ(replay(other, output), 1);
  EXPECT_THAT(output, AllOf(HasSubstr("split policy test-9 ("), HasSubstr("was recorded"),
                            HasSubstr("not the same policy")));
  EXPECT_EQ(replay(folder_ + "/none", output), 1);
  EXPECT_THAT(output, AllOf(HasSubstr("split policy test-9 ("), HasSubstr("does not load")));
}

}  // namespace
}  // namespace foreshadow::testing
