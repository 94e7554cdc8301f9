// The control plane against gRPC's own xDS client and real instances.
#include <gmock/gmock.h>
#include <httplib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "envoy/service/discovery/v3/ads.grpc.pb.h"
#include "service/xds/xds_router.h"
#include "tests/integration/certificates.h"
#include "tests/integration/xds_clients.h"

namespace foreshadow::testing {
namespace {

using std::chrono::steady_clock;
using ::testing::HasSubstr;

double Ms(steady_clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

class Xds : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    envoy_port_ = (*cell::HeldPort::Hold("127.0.0.1", 0))->port();
    xds::Options options;
    options.listen = "127.0.0.1:0";
    options.resources.envoy_listen = fmt::format("127.0.0.1:{}", envoy_port_);
    options.resources.health_interval_ms = 200;
    auto started = xds::XdsRouter::Start(std::move(options), {{}, {}, true});
    ASSERT_TRUE(started.ok()) << started.status();
    server_ = started->release();
    UseControlPlane(server_->port(), "client-1");
    std::srand(42);  // Debian's gRPC draws clusters by rand(), which every process begins alike
  }
  static void TearDownTestSuite() { delete server_; }

  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / fmt::format("xds-{}", getpid());
    std::filesystem::create_directories(folder_);
    account_ = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    primary_ = std::make_unique<ServingInstance>(folder_, account_ + "-primary");
    shadow_ = std::make_unique<ServingInstance>(folder_, account_ + "-shadow");
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  router::Route RouteAt(double split, bool stateful = false) const {
    const auto side = [](const std::string& id, const ServingInstance& instance) {
      return router::Side{
          id, "cell-" + id, "zone", {"127.0.0.1", instance.grpc_port(), instance.http_port()}};
    };
    router::Route route;
    route.account = account_;
    route.primary = side(account_ + "-primary", *primary_);
    route.shadow = side(account_ + "-shadow", *shadow_);
    route.split = split;
    route.stateful = stateful;
    return route;
  }
  void Set(double split, bool stateful = false, double shed = 0) {
    router::Route route = RouteAt(split, stateful);
    route.shed = shed;
    server_->Update({{route}, {}, true});
  }
  void WaitUntilReached() const {
    for (int i = 0; i < 2'000; ++i) {
      const router::Reach reach = server_->ReachOf(account_);
      if (reach.clients_count > 0 && reach.behind_count == 0) return;
      Sleep(1);
    }
    FAIL() << "not every client acknowledged";
  }

  static xds::XdsRouter* server_;
  static int envoy_port_;
  std::string folder_;
  std::string account_;
  std::unique_ptr<ServingInstance> primary_, shadow_;
};
xds::XdsRouter* Xds::server_ = nullptr;
int Xds::envoy_port_ = 0;

TEST_F(Xds, AnAddressInUseIsNamed) {
  xds::Options options;
  options.listen = fmt::format("127.0.0.1:{}", server_->port());
  const auto second = xds::XdsRouter::Start(std::move(options), {{}, {}, true});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(std::to_string(server_->port())));
}

// Three standard deviations of 10,000 draws are 0.9 points.
TEST_F(Xds, SplitIsTrueToAPointOver10000Requests) {
  for (const bool stateful : {false, true}) {
    Set(0.1, stateful);
    Callers callers(XdsChannel(account_), 8);
    callers.CountFrom(500);
    callers.WaitForCount(10'500);
    auto counts = callers.Stop();
    EXPECT_EQ(counts.failed, 0) << counts.first_error;
    const double shadow = counts.by_instance[account_ + "-shadow"];
    const double all = shadow + counts.by_instance[account_ + "-primary"];
    EXPECT_NEAR(shadow / all, 0.1, 0.01) << "stateful: " << stateful;
    RecordProperty(stateful ? "share_clusters" : "share_localities", std::to_string(shadow / all));
  }
}

// At once, without a side being asked, and not repeated, though the retry policy knows UNAVAILABLE:
// the share would be far from true.
TEST_F(Xds, RefusesTheShareThatIsTooMuch) {
  for (const bool stateful : {false, true}) {
    Set(0.5, stateful, 0.3);
    Callers callers(XdsChannel(account_), 8);
    callers.CountFrom(500);
    callers.WaitForCount(10'500);
    auto counts = callers.counts();
    double served = 0;
    for (const auto& [instance, count] : counts.by_instance) served += count;
    EXPECT_NEAR(counts.failed / (served + counts.failed), 0.3, 0.014) << "stateful: " << stateful;
    EXPECT_NEAR(counts.by_instance[account_ + "-shadow"] / served, 0.5, 0.018)
        << "three deviations";
    EXPECT_THAT(counts.first_error, HasSubstr("drop"));
    Set(0.5, stateful);
    WaitUntilReached();
    const int refused = callers.counts().failed;
    callers.WaitForCount(callers.count() + 1'000);
    EXPECT_LE(callers.Stop().failed, refused + 8) << "but those that were on their way";
  }
}

TEST_F(Xds, AChangeReachesTheClientInMilliseconds) {
  Set(0.1);
  Callers callers(XdsChannel(account_), 4);
  callers.WaitForCount(500);
  const SteadyTime changed = steady_clock::now();
  Set(1);
  WaitUntilReached();
  const double acknowledged_ms = Ms(steady_clock::now() - changed);
  callers.WaitForCount(callers.count() + 500);
  const auto counts = callers.Stop();
  EXPECT_EQ(counts.failed, 0) << counts.first_error;
  const double last_ms = Ms(counts.LastStartTo(account_ + "-primary") - changed);
  std::printf(
      "acknowledged after %.1f ms, last call to the primary begun %.1f ms after the change\n",
      acknowledged_ms, last_ms);
  EXPECT_LT(last_ms, 500) << "milliseconds on a machine that is not busy";
}

// Nobody tells the control plane: the data plane goes on by itself, and repeats what was in flight.
TEST_F(Xds, AKilledPrimaryCostsNoCall) {
  Set(0.1);
  Callers callers(XdsChannel(account_), 8);
  callers.WaitForCount(1'000);
  primary_->process().Signal(SIGKILL);
  callers.WaitForCount(callers.count() + 2'000);
  const auto counts = callers.Stop();
  EXPECT_EQ(counts.failed, 0) << counts.first_error;
  EXPECT_GT(counts.by_instance.at(account_ + "-shadow"), 1'500);
}

// Weights, all acknowledgements, then the fence: after it no write of the old side is taken.
TEST_F(Xds, CutOverOfAStatefulAccountIsFenced) {
  Set(0, true);
  Callers callers(XdsChannel(account_), 4);
  callers.WaitForCount(200);
  Set(1, true);
  WaitUntilReached();
  v1::FenceRequest fence;
  fence.set_epoch(2);
  grpc::ClientContext context;
  v1::FenceResponse fenced;
  ASSERT_TRUE(primary_->stub->Fence(&context, fence, &fenced).ok());
  EXPECT_EQ(fenced.epoch(), 2u);
  callers.WaitForCount(callers.count() + 200);
  EXPECT_EQ(callers.Stop().failed, 0);
  const auto write_of = [&](uint64_t epoch) {
    v1::CallRequest write;
    write.set_write(true);
    write.set_epoch(epoch);
    grpc::ClientContext call;
    v1::CallResponse response;
    return primary_->stub->Call(&call, write, &response).error_code();
  };
  EXPECT_EQ(write_of(0), grpc::StatusCode::FAILED_PRECONDITION) << "of nobody knows which route";
  EXPECT_EQ(write_of(1), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(write_of(2), grpc::StatusCode::OK);
  // What did not come about is taken back, by its own epoch only.
  const auto lift = [&](uint64_t epoch) {
    grpc::ClientContext lifting;
    fence.set_epoch(epoch);
    fence.set_lift(true);
    EXPECT_TRUE(primary_->stub->Fence(&lifting, fence, &fenced).ok());
    return fenced.epoch();
  };
  EXPECT_EQ(lift(1), 2u);
  EXPECT_EQ(lift(2), 0u);
  EXPECT_EQ(write_of(0), grpc::StatusCode::OK);
}

// Proxyless Python: another version of gRPC than the server's, as its maintainers ship it.
TEST_F(Xds, PythonClientSplits) {
  const std::string python = FORESHADOW_CLIENTS "/bin/python3";
  if (!std::filesystem::exists(python)) GTEST_SKIP() << python << " is not there: script/setup";
  Set(0.1);
  Process caller({python, FORESHADOW_SOURCE_DIR "/tests/integration/clients/xds_caller.py",
                  "xds:///accounts/" + account_, "3000"},
                 folder_ + "/python.log");
  ASSERT_EQ(caller.Wait(), 0) << caller.Output();
  const std::string output = caller.Output();
  const auto said = nlohmann::json::parse(output.substr(output.find('{')));
  EXPECT_TRUE(said["errors"].empty()) << output;
  const double share = said["counts"].value(account_ + "-shadow", 0) / 3'000.0;
  EXPECT_NEAR(share, 0.1, 0.025) << "four standard deviations are 0.022";
}

// Its version knows `tls` in a bootstrap; Debian's 1.51 does not.
TEST_F(Xds, PythonClientTakesItsRoutesOverTls) {
  const std::string python = FORESHADOW_CLIENTS "/bin/python3";
  if (!std::filesystem::exists(python)) GTEST_SKIP() << python << " is not there: script/setup";
  const Certificates certificates(folder_);
  grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  tls.pem_root_certs = ReadFile(certificates.path("ca.pem"));
  tls.pem_key_cert_pairs = {
      {ReadFile(certificates.path("server.key")), ReadFile(certificates.path("server.pem"))}};
  xds::Options options;
  options.listen = "127.0.0.1:0";
  options.credentials = grpc::SslServerCredentials(tls);
  const auto secure = xds::XdsRouter::Start(std::move(options), {{RouteAt(0.5)}, {}, true});
  ASSERT_TRUE(secure.ok()) << secure.status();
  const auto call = [&](const std::string& as, const char* calls, const char* timeout_s) {
    const nlohmann::json bootstrap = {
        {"xds_servers",
         {{{"server_uri", fmt::format("127.0.0.1:{}", (*secure)->port())},
           {"channel_creds",
            {{{"type", "tls"},
              {"config",
               {{"ca_certificate_file", certificates.path("ca.pem")},
                {"certificate_file", certificates.path(as + ".pem")},
                {"private_key_file", certificates.path(as + ".key")}}}}}},
           {"server_features", {"xds_v3"}}}}},
        {"node", {{"id", as}, {"cluster", "tests"}}}};
    const std::string program = FORESHADOW_SOURCE_DIR "/tests/integration/clients/xds_caller.py";
    Process caller({"/usr/bin/env", "GRPC_XDS_BOOTSTRAP_CONFIG=" + bootstrap.dump(), python,
                    program, "xds:///accounts/" + account_, calls, timeout_s},
                   folder_ + "/" + as + ".log");
    EXPECT_EQ(caller.Wait(), 0) << caller.Output();
    const std::string output = caller.Output();
    return nlohmann::json::parse(output.substr(output.find("{\"counts")));
  };
  // While one side's connection is still being made the other takes all.
  const nlohmann::json reader = call("reader", "2000", "20");
  EXPECT_TRUE(reader["errors"].empty()) << reader;
  EXPECT_GT(reader["counts"].value(account_ + "-shadow", 0), 500) << reader;
  EXPECT_GT(reader["counts"].value(account_ + "-primary", 0), 500) << reader;
  const nlohmann::json forged = call("forged", "8", "3");
  EXPECT_EQ(forged["counts"], nlohmann::json({{"failed", 8}})) << "signed by somebody else";
}

// A real Envoy, by both variants of the protocol; test-only, from script/setup.
class Envoy {
 public:
  Envoy(const std::string& folder, int xds_port, bool delta) {
    const std::string config = folder + "/envoy.yaml";
    std::ofstream(config) << fmt::format(R"(node: {{id: envoy-{0}, cluster: tests}}
dynamic_resources:
  ads_config:
    api_type: {0}
    transport_api_version: V3
    grpc_services: [{{envoy_grpc: {{cluster_name: xds}}}}]
  lds_config: {{ads: {{}}, resource_api_version: V3}}
  cds_config: {{ads: {{}}, resource_api_version: V3}}
static_resources:
  clusters:
  - name: xds
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment:
      cluster_name: xds
      endpoints: [{{lb_endpoints: [{{endpoint: {{address:
        {{socket_address: {{address: 127.0.0.1, port_value: {1}}}}}}}}}]}}]
)",
                                         delta ? "DELTA_GRPC" : "GRPC", xds_port);
    process_ = std::make_unique<Process>(
        std::vector<std::string>{Program(), "-c", config, "--concurrency", "1",
                                 "--disable-hot-restart", "-l", "warn"},
        folder + "/envoy.log");
  }

  static std::string Program() {
    const std::string lib = FORESHADOW_CLIENTS "/lib";
    std::error_code error;
    for (const auto& python : std::filesystem::directory_iterator(lib, error)) {
      const auto program = python.path() / "site-packages/envoy/_bin/envoy";
      if (std::filesystem::exists(program)) return program;
    }
    return "";
  }
  Process& process() { return *process_; }

 private:
  std::unique_ptr<Process> process_;
};

httplib::Client HttpClient(int port) {
  httplib::Client client("127.0.0.1", port);
  client.set_keep_alive(true);
  client.set_tcp_nodelay(true);
  client.set_read_timeout(20);
  return client;
}

TEST_F(Xds, EnvoySplitsAndLeavesAKilledPrimary) {
  if (Envoy::Program().empty()) GTEST_SKIP() << "envoy is not there: script/setup";
  for (const bool delta : {false, true}) {
    Set(0.1);
    Envoy envoy(folder_, server_->port(), delta);
    httplib::Client client = HttpClient(envoy_port_);
    const auto call = [&]() -> std::string {
      const auto answer = client.Get("/call", {{"x-foreshadow-account", account_}});
      if (answer == nullptr) return "no answer";
      if (answer->status != 200) return fmt::format("status {}", answer->status);
      return answer->get_header_value("x-foreshadow-instance");
    };
    const auto serves = [&] { return call().starts_with(account_); };
    for (int i = 0; i < 500 && !serves(); ++i) Sleep(20);
    ASSERT_TRUE(serves()) << envoy.process().Output();

    std::map<std::string, int> counts;
    constexpr int kCalls = 2'000;
    for (int i = 0; i < kCalls; ++i) ++counts[call()];
    EXPECT_EQ(counts.size(), 2u) << ::testing::PrintToString(counts);
    EXPECT_NEAR(counts[account_ + "-shadow"] / double{kCalls}, 0.1, 0.027) << "four deviations";

    Set(0.5, false, 0.3);
    WaitUntilReached();
    counts.clear();
    for (int i = 0; i < kCalls; ++i) ++counts[call()];
    EXPECT_NEAR(counts["status 503"] / double{kCalls}, 0.3, 0.041)
        << "four deviations; " << ::testing::PrintToString(counts);

    Set(1);
    WaitUntilReached();
    counts.clear();
    for (int i = 0; i < 200; ++i) ++counts[call()];
    EXPECT_EQ(counts[account_ + "-shadow"], 200) << ::testing::PrintToString(counts);
    if (!delta) continue;

    // Its control plane is told by nobody here: retries and outlier detection keep the calls whole.
    Set(0.5);
    WaitUntilReached();
    for (int i = 0; i < 50; ++i) call();
    primary_->process().Signal(SIGKILL);
    counts.clear();
    for (int i = 0; i < 1'000; ++i) ++counts[call()];
    EXPECT_EQ(counts[account_ + "-shadow"], 1'000) << ::testing::PrintToString(counts);
  }
}

// Callers over Envoy in a closed loop, each over a connection of its own.
class HttpCallers {
 public:
  HttpCallers(int port, const std::string& account, int callers) {
    for (int i = 0; i < callers; ++i) {
      threads_.emplace_back([this, port, account] {
        httplib::Client client = HttpClient(port);
        while (!stopping_) {
          const auto answer = client.Get("/call", {{"x-foreshadow-account", account}});
          ++(answer != nullptr && answer->status == 200 ? served_ : failed_);
        }
      });
    }
  }
  ~HttpCallers() { Stop(); }
  void Stop() {
    stopping_ = true;
    threads_.clear();
  }
  void WaitUntilServed(int count) const {
    while (served_ < count) Sleep(1);
  }
  int served() const { return served_; }
  int failed() const { return failed_; }

 private:
  std::atomic<bool> stopping_ = false;
  std::atomic<int> served_ = 0, failed_ = 0;
  std::vector<std::jthread> threads_;
};

// Where calls may not be repeated, those are lost that the instance had in hand when it died, and
// those that were sent to it before that was known: of one caller no more than one of each.
TEST_F(Xds, WithoutRetriesAKilledPrimaryCostsWhatItHadInHand) {
  if (Envoy::Program().empty()) GTEST_SKIP() << "envoy is not there: script/setup";
  const int port = (*cell::HeldPort::Hold("127.0.0.1", 0))->port();
  xds::Options options;
  options.listen = "127.0.0.1:0";
  options.resources.envoy_listen = fmt::format("127.0.0.1:{}", port);
  options.resources.health_interval_ms = 200;
  options.resources.retry_failed = false;
  primary_ = std::make_unique<ServingInstance>(  // slow, so that it has calls in hand
      folder_, account_ + "-slow",
      std::vector<std::string>{"--warm-requests", "0", "--work-ms", "5", "--cores", "8"});
  const auto server = xds::XdsRouter::Start(std::move(options), {{RouteAt(0.1)}, {}, true});
  ASSERT_TRUE(server.ok()) << server.status();
  Envoy envoy(folder_, (*server)->port(), true);
  HttpCallers callers(port, account_, 8);
  callers.WaitUntilServed(500);
  const int before = callers.failed();
  primary_->process().Signal(SIGKILL);
  callers.WaitUntilServed(callers.served() + 5'000);
  callers.Stop();
  EXPECT_GT(callers.failed() - before, 0) << "they are not repeated";
  EXPECT_LE(callers.failed() - before, 2 * 8) << "nobody told the control plane";
}

// A client of our own, that refuses and goes away.
class RawClient {
 public:
  RawClient(int port, const std::string& node)
      : stub_(
            envoy::service::discovery::v3::AggregatedDiscoveryService::NewStub(grpc::CreateChannel(
                fmt::format("127.0.0.1:{}", port), grpc::InsecureChannelCredentials()))),
        stream_(stub_->StreamAggregatedResources(&context_)) {
    request_.mutable_node()->set_id(node);
    request_.mutable_node()->set_user_agent_name("raw");
    request_.mutable_node()->set_user_agent_version("1");
  }
  void Ask(const std::string& cluster) {
    request_.set_type_url(xds::TypeUrl(xds::Type::kEndpoints));
    request_.add_resource_names(cluster);
    ASSERT_TRUE(stream_->Write(request_));
    ASSERT_TRUE(stream_->Read(&response_));
  }
  void Refuse(const std::string& why) {
    request_.set_response_nonce(response_.nonce());
    request_.mutable_error_detail()->set_message(why);
    ASSERT_TRUE(stream_->Write(request_));
  }
  void GoAway() {
    context_.TryCancel();
    stream_->Finish();
  }

 private:
  std::unique_ptr<envoy::service::discovery::v3::AggregatedDiscoveryService::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<envoy::service::discovery::v3::DiscoveryRequest,
                                           envoy::service::discovery::v3::DiscoveryResponse>>
      stream_;
  envoy::service::discovery::v3::DiscoveryRequest request_;
  envoy::service::discovery::v3::DiscoveryResponse response_;
};

router::Client Find(const xds::XdsRouter& server, const std::string& node, bool connected,
                    bool refused) {
  for (int i = 0; i < 2'000; ++i) {
    for (const router::Client& client : server.Clients()) {
      if (client.node == node && client.connected == connected &&
          client.refused.empty() == !refused) {
        return client;
      }
    }
    Sleep(1);
  }
  ADD_FAILURE() << node << " is not shown as expected";
  return {};
}

TEST_F(Xds, AClientThatRefusesIsShownAndOneThatGoesAwayToo) {
  Set(0.1);
  RawClient client(server_->port(), "grumpy");
  client.Ask("grpc " + account_);
  client.Refuse("I do not like it");
  const router::Client refused = Find(*server_, "grumpy", true, true);
  EXPECT_EQ(refused.refused, "I do not like it");
  EXPECT_EQ(refused.agent, "raw 1");
  EXPECT_GT(refused.behind_ms, 0);
  EXPECT_THAT(server_->Alerts(), ::testing::Contains(HasSubstr("grumpy")));
  EXPECT_THAT(server_->Alerts(), ::testing::Contains(HasSubstr("stays with the last good")));
  client.GoAway();
  EXPECT_FALSE(Find(*server_, "grumpy", false, true).connected);
}

// A split that cannot be: the route stays, the alert says why, calls go on.
TEST_F(Xds, ARouteThatCannotBeChangesNothing) {
  Set(0.5);
  Callers callers(XdsChannel(account_), 2);
  callers.WaitForCount(200);
  router::Route bad = RouteAt(2);
  server_->Update({{bad}, {}, true});
  EXPECT_THAT(server_->Alerts(), ::testing::Contains(HasSubstr("split = 2: must be 0 .. 1")));
  callers.WaitForCount(callers.count() + 400);
  const auto counts = callers.Stop();
  EXPECT_EQ(counts.failed, 0);
  EXPECT_GT(counts.by_instance.at(account_ + "-primary"), 150);
  Set(0.5);
  EXPECT_THAT(server_->Alerts(), ::testing::Not(::testing::Contains(HasSubstr("split = 2"))));
}

}  // namespace
}  // namespace foreshadow::testing
