// A migration under load, from the first share to the end of the old primary, and one that is
// called off: real server, agents, instances and gRPC's own xDS client, every request counted.
#include <gmock/gmock.h>
#include <httplib.h>

#include <filesystem>
#include <set>

#include "tests/integration/running_agent.h"
#include "tests/integration/story.h"
#include "tests/integration/xds_clients.h"

namespace foreshadow::testing {
namespace {

using ::testing::HasSubstr;

// Stateless, or stateful: its calls are writes then.
class Migration : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("migration-{}", getpid());
    std::filesystem::create_directories(folder_);
    a_ = std::make_unique<RunningAgent>(folder_, "a");
    b_ = std::make_unique<RunningAgent>(folder_, "b");
    for (int i = 0; i < 10; ++i) a_->CreatePrimary(fmt::format("busy-{}", i));
    std::srand(42);
    std::string config = ConfigText(folder_, a_->address(), b_->address(),
                                    "[migrate]\nstep_hold_ms = 60000\nsamples_min = 50\n"
                                    "[monitor]\nslo_ms = 20\n"
                                    "[xds]\nlisten = \"127.0.0.1:0\"\n");
    const std::string never = "promote_after_ms = 0";
    config.replace(config.find(never), never.size(), "promote_after_ms = 60000");
    server_ = std::make_unique<RunningServer>(
        folder_, config, std::vector<std::string>{"--xds-port-file", folder_ + "/xds_port"});
    std::vector<v1::Account> accounts = story_.Accounts();
    for (v1::Account& account : accounts) account.set_stateful(GetParam());
    ASSERT_TRUE(server_->Put(accounts).ok());
  }
  void TearDown() override {
    server_.reset();
    a_.reset();
    b_.reset();
    std::filesystem::remove_all(folder_);
  }

  v1::Plan Tick() {
    const v1::Plan plan = story_.Play(*server_, step_, step_ + 1).back();
    ++step_;
    return plan;
  }
  // Until some account's shadow takes its first share.
  void PlayUntilSharing() {
    while (step_ < Story::kFlatSteps) story_.Play(*server_, step_, step_ + 1), ++step_;
    for (; step_ < 200;) {
      const v1::Plan plan = Tick();
      for (const v1::Shadow& shadow : plan.shadows()) {
        if (shadow.state() == v1::SHADOW_STATE_SHARING && shadow.split() > 0) {
          shadow_ = shadow;
          return;
        }
      }
    }
    FAIL() << "no shadow shares";
  }
  // A tick, once the agents have told what came since the last.
  v1::Plan NextTick(const Callers& callers) {
    callers.WaitForCount(callers.count() + 200);
    Sleep(1'200);
    return Tick();
  }
  const v1::Shadow* Find(const v1::Plan& plan) const {
    for (const v1::Shadow& shadow : plan.shadows()) {
      if (shadow.instance_id() == shadow_.instance_id()) return &shadow;
    }
    return nullptr;
  }

  std::unique_ptr<Callers> Call() {
    primary_ = "primary-" + shadow_.account_id();
    EXPECT_TRUE(a_->WaitUntilServing(primary_));
    EXPECT_TRUE(b_->WaitUntilServing(shadow_.instance_id()));
    UseControlPlane(std::stoi(ReadFile(folder_ + "/xds_port")), "caller");
    auto callers = std::make_unique<Callers>(XdsChannel(shadow_.account_id()), 8, GetParam());
    callers->WaitForCount(1'000);
    return callers;
  }

  std::string folder_, primary_;
  std::unique_ptr<RunningAgent> a_, b_;
  std::unique_ptr<RunningServer> server_;
  Story story_;
  int step_ = 0;
  v1::Shadow shadow_;
};

TEST_P(Migration, EndsWithTheOldPrimaryGoneAndNoRequestLost) {
  PlayUntilSharing();
  const auto callers = Call();
  std::set<double> splits;
  bool promoted = false;
  v1::Plan plan;
  for (int tick = 0; tick < 25; ++tick) {
    plan = NextTick(*callers);
    const v1::Shadow* shadow = Find(plan);
    if (shadow == nullptr) break;
    if (shadow->state() == v1::SHADOW_STATE_PROMOTING) splits.insert(shadow->split());
    promoted |= shadow->state() == v1::SHADOW_STATE_PROMOTED;
  }
  EXPECT_EQ(Find(plan), nullptr) << plan.DebugString();
  EXPECT_TRUE(splits.contains(1)) << "all traffic before it is handed over";
  EXPECT_TRUE(promoted);
  EXPECT_EQ(a_->Find(primary_).id(), "") << "the old primary is gone";
  EXPECT_EQ(b_->Find(shadow_.instance_id()).role(), v1::INSTANCE_ROLE_PRIMARY);
  callers->WaitForCount(callers->count() + 2'000);
  httplib::Client http("127.0.0.1", server_->http_port());
  const std::string metrics = http.Get("/metrics")->body;
  for (const char* line :
       {"foreshadow_migrations_total{result=\"done\"} ", "foreshadow_failovers_total 0\n",
        "foreshadow_route_clients{state=\"up_to_date\"} 1\n",
        "foreshadow_route_clients{state=\"refusing\"} 0\n", "foreshadow_routes{to=\"primary\"} ",
        "foreshadow_instance_requests_total{outcome=\"served\",side=\"shadow\"} "}) {
    EXPECT_THAT(metrics, HasSubstr(line));
  }
  auto counts = callers->Stop();
  EXPECT_EQ(counts.failed, 0) << counts.first_error << " of " << callers->count();
  EXPECT_GT(counts.by_instance[primary_], 500);
  EXPECT_GT(counts.by_instance[shadow_.instance_id()], 2'000);
  std::printf("%d requests, %d failed, %zu steps\n", callers->count(), counts.failed,
              splits.size());
}

TEST_P(Migration, IsCalledOffWhereTheShadowIsWorseAndNoRequestLost) {
  PlayUntilSharing();
  const auto callers = Call();
  double before = shadow_.split();
  double called_off_to = -1;
  std::string why;
  bool faulty = false;
  for (int tick = 0; tick < 25 && called_off_to < 0; ++tick) {
    const v1::Plan plan = NextTick(*callers);
    const v1::Shadow* shadow = Find(plan);
    ASSERT_NE(shadow, nullptr);
    if (shadow->state() == v1::SHADOW_STATE_PROMOTING) {
      if (faulty) continue;
      // Slow beyond the SLO: a stateful account's data plane must not repeat what has failed.
      httplib::Client client("127.0.0.1",
                             static_cast<int>(b_->Find(shadow_.instance_id()).http_port()));
      ASSERT_TRUE(client.Post("/faults?slow_factor=600"));
      faulty = true;
    } else if (!faulty) {
      before = shadow->split();
    } else {
      called_off_to = shadow->split();
      for (const std::string& alert : plan.alerts()) {
        if (alert.find("stays in cell a") != std::string::npos) why = alert;
      }
    }
  }
  EXPECT_EQ(called_off_to, before);
  EXPECT_THAT(why, HasSubstr("the shadow's p99 is"));
  EXPECT_EQ(a_->Find(primary_).state(), v1::INSTANCE_STATE_RUNNING);
  callers->WaitForCount(callers->count() + 500);
  auto counts = callers->Stop();
  EXPECT_EQ(counts.failed, 0) << counts.first_error << " of " << callers->count();
  std::printf("%d requests, %d failed; %s\n", callers->count(), counts.failed, why.c_str());
}

INSTANTIATE_TEST_SUITE_P(OfAnAccount, Migration, ::testing::Bool(),
                         [](const auto& of) { return of.param ? "Stateful" : "Stateless"; });

}  // namespace
}  // namespace foreshadow::testing
