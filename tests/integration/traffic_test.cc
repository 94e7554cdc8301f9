// The whole way: telemetry, plan, shadow, split, real agents, real instances, gRPC's own xDS client
// - and what becomes of the calls when a primary, an agent or the server itself is killed.
#include <gmock/gmock.h>

#include <filesystem>

#include "tests/integration/running_agent.h"
#include "tests/integration/story.h"
#include "tests/integration/xds_clients.h"

namespace foreshadow::testing {
namespace {

using std::chrono::steady_clock;
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

  void Serve(const std::string& listen = "127.0.0.1:0") {
    const std::string more =
        fmt::format("[route]\nfailback_hold_ms = 500\n[xds]\nlisten = \"{}\"\n", listen);
    server_ = std::make_unique<RunningServer>(
        folder_, ConfigText(folder_, a_->address(), b_->address(), more),
        std::vector<std::string>{"--xds-port-file", folder_ + "/xds_port"});
    xds_port_ = std::stoi(ReadFile(folder_ + "/xds_port"));
  }

  // Until the plan gives some account's shadow its first share; that account.
  void PlayUntilSharing() {
    ASSERT_TRUE(server_->Put(story_.Accounts()).ok());
    for (step_ = 0; step_ < 200; ++step_) {
      const auto plans = story_.Play(*server_, step_, step_ + 1);
      if (plans.empty()) continue;
      for (const v1::Shadow& shadow : plans.back().shadows()) {
        if (shadow.state() == v1::SHADOW_STATE_SHARING && shadow.split() > 0) {
          shadow_ = shadow;
          ++step_;
          return;
        }
      }
    }
    FAIL() << "no shadow shares";
  }
  v1::Plan Tick() { return story_.Play(*server_, step_, step_ + 1).back(); }

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

}  // namespace
}  // namespace foreshadow::testing
