// A real HAProxy under wrk, in front of real instances, told by the router.
#include <gmock/gmock.h>
#include <httplib.h>

#include <filesystem>
#include <map>
#include <mutex>

#include "service/haproxy/haproxy_router.h"
#include "tests/integration/xds_clients.h"

namespace foreshadow::testing {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Haproxy : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists(kProgram)) GTEST_SKIP() << "haproxy is not there: script/setup";
    folder_ = std::filesystem::temp_directory_path() / fmt::format("haproxy-{}", getpid());
    std::filesystem::create_directories(folder_);
    primary_ = std::make_unique<ServingInstance>(folder_, "p");
    shadow_ = std::make_unique<ServingInstance>(folder_, "s");
    port_ = (*cell::HeldPort::Hold("127.0.0.1", 0))->port();
    StartProxy();
    haproxy::Options options;
    options.socket = folder_ + "/socket";
    options.load = [this](const haproxy::Load& load) {
      const std::lock_guard lock(mutex_);
      requests_[load.instance_id] += load.requests_count;
    };
    router_ = haproxy::MakeHaproxyRouter(std::move(options));
  }
  void TearDown() override {
    router_.reset();
    proxy_.reset();
    if (!folder_.empty()) std::filesystem::remove_all(folder_);
  }

  void StartProxy() {
    std::ofstream(folder_ + "/haproxy.cfg") << fmt::format(
        R"(global
  stats socket {}/socket mode 600 level admin
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option dontlog-normal
  timeout connect 100ms
  timeout client 10s
  timeout server 10s
  retries 3
  option redispatch 1
  retry-on conn-failure empty-response response-timeout
frontend http
  bind 127.0.0.1:{}
  default_backend acme
backend acme
  balance roundrobin
  server primary 127.0.0.1:1 disabled
  server shadow 127.0.0.1:1 disabled
)",
        folder_, port_);
    proxy_ = std::make_unique<Process>(
        std::vector<std::string>{kProgram, "-db", "-f", folder_ + "/haproxy.cfg"},
        folder_ + "/haproxy.log");
  }

  void Set(double split) {
    router::Route route;
    route.account = "acme";
    route.primary = {"p", "a", "one", {"127.0.0.1", 0, primary_->http_port()}};
    route.shadow = {"s", "b", "two", {"127.0.0.1", 0, shadow_->http_port()}};
    route.split = split;
    router_->Update({{route}, {}, true});
    WaitUntilReached();
  }
  void WaitUntilReached() const {
    for (int i = 0; i < 5'000; ++i) {
      const router::Reach reach = router_->ReachOf("acme");
      if (reach.clients_count == 1 && reach.behind_count == 0) return;
      Sleep(1);
    }
    FAIL() << "HAProxy was not told: " << proxy_->Output();
  }

  // wrk for so long; what it says at the end.
  std::string Wrk(
      int seconds, const std::function<void()>& meanwhile = [] {}) {
    const std::string log = folder_ + "/wrk.log";
    std::filesystem::remove(log);
    Process wrk({"/usr/bin/wrk", "-t2", "-c16", fmt::format("-d{}s", seconds),
                 fmt::format("http://127.0.0.1:{}/call", port_)},
                log);
    meanwhile();
    EXPECT_EQ(wrk.Wait(), 0) << wrk.Output();
    return wrk.Output();
  }
  uint64_t Served(ServingInstance& instance) const {
    grpc::ClientContext context;
    v1::Load load;
    EXPECT_TRUE(instance.stub->GetLoad(&context, {}, &load).ok());
    return load.requests_count();
  }

  static constexpr const char* kProgram = "/usr/sbin/haproxy";
  std::string folder_;
  int port_ = 0;
  std::unique_ptr<ServingInstance> primary_, shadow_;
  std::unique_ptr<Process> proxy_;
  std::mutex mutex_;
  std::map<std::string, uint64_t> requests_;
  std::unique_ptr<router::TrafficRouter> router_;
};

TEST_F(Haproxy, SplitIsTrueToAPointAndItsStatisticsAreRead) {
  Set(0.1);
  uint64_t all = 0;
  while (all < 10'000) {
    const std::string said = Wrk(2);
    EXPECT_EQ(said.find("Non-2xx"), std::string::npos) << said;
    all = Served(*primary_) + Served(*shadow_);
  }
  const double share = static_cast<double>(Served(*shadow_)) / static_cast<double>(all);
  EXPECT_NEAR(share, 0.1, 0.01);
  std::printf("%lu requests, %.4f of them at the shadow\n", static_cast<unsigned long>(all), share);
  for (int i = 0; i < 3'000; ++i) {
    Sleep(1);
    const std::lock_guard lock(mutex_);
    if (requests_["p"] + requests_["s"] >= all) break;
  }
  const std::lock_guard lock(mutex_);
  // The first look may have come after the first requests.
  EXPECT_NEAR(static_cast<double>(requests_["s"]), static_cast<double>(Served(*shadow_)),
              0.1 * static_cast<double>(Served(*shadow_)));
}

TEST_F(Haproxy, AChangedSplitAndAKilledPrimaryLoseNoRequest) {
  Set(0.25);
  const std::string said = Wrk(6, [this] {
    Sleep(1'500);
    Set(0.5);
    Sleep(1'500);
    primary_->process().Signal(SIGKILL);
    Sleep(500);
    Set(1);  // what the control plane does about it
  });
  EXPECT_EQ(said.find("Non-2xx"), std::string::npos) << said << proxy_->Output();
  EXPECT_EQ(said.find("Socket errors"), std::string::npos) << said << proxy_->Output();
  EXPECT_GT(Served(*shadow_), 1'000u);
  std::printf("%s", said.c_str());
}

TEST_F(Haproxy, OneThatIsStartedAnewIsToldEverythingAgain) {
  Set(1);
  EXPECT_THAT(router_->Alerts(), IsEmpty());
  proxy_.reset();
  for (int i = 0; i < 5'000 && router_->Alerts().empty(); ++i) Sleep(1);
  EXPECT_THAT(router_->Alerts(), Contains(HasSubstr("HAProxy at " + folder_ + "/socket")));
  EXPECT_FALSE(router_->Clients()[0].connected);
  StartProxy();
  httplib::Client client("127.0.0.1", port_);
  std::string instance;
  for (int i = 0; i < 300 && instance.empty(); ++i) {
    Sleep(10);
    const auto response = client.Get("/call");
    if (response && response->status == 200) {
      instance = response->get_header_value("x-foreshadow-instance");
    }
  }
  EXPECT_EQ(instance, "s");
  EXPECT_TRUE(router_->Clients()[0].connected);
  EXPECT_THAT(router_->Alerts(), IsEmpty());
}

TEST_F(Haproxy, AnAccountWithoutABackendIsNamed) {
  router::Route route;
  route.account = "nobody";
  route.primary = {"p", "a", "one", {"127.0.0.1", 0, primary_->http_port()}};
  router_->Update({{route}, {}, true});
  for (int i = 0; i < 5'000 && router_->Clients()[0].refused.empty(); ++i) Sleep(1);
  EXPECT_THAT(router_->Alerts(), Contains(HasSubstr("account nobody")));
  EXPECT_THAT(router_->Alerts(), Contains(HasSubstr("No such backend")));
}

}  // namespace
}  // namespace foreshadow::testing
