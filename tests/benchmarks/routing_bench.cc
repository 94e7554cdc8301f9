// How fast and how far routes reach, on real sockets:
//
//   routing_bench clients [N]     a changed split to N connected xDS clients (1,000): light ones in
//                                 a process of their own, and gRPC's in the server's
//   routing_bench accounts [N]    N accounts' routes held (10,000): memory, time of an update
//   routing_bench failover [N]    SIGKILL of N primaries under load (50): from the signal to the
//                                 start of the last call that was sent there, and how many failed
//                 failover-unrepeated: with xds.retry_failed = false; failover-stateful: stateful
#include <grpcpp/grpcpp.h>
#include <malloc.h>

#include <algorithm>
#include <condition_variable>
#include <cstdio>
#include <filesystem>

#include "envoy/service/discovery/v3/ads.grpc.pb.h"
#include "service/router/steering.h"
#include "service/rpc/cell_watch.h"
#include "service/xds/xds_router.h"
#include "tests/benchmarks/light_clients.h"
#include "tests/integration/running_agent.h"
#include "tests/integration/xds_clients.h"

namespace foreshadow::testing {
namespace {

using std::chrono::steady_clock;
namespace discovery = envoy::service::discovery::v3;

double MsSince(SteadyTime start) {
  return std::chrono::duration<double, std::milli>(steady_clock::now() - start).count();
}

void Print(const char* what, std::vector<double> ms) {
  std::sort(ms.begin(), ms.end());
  const auto at = [&](double level) {
    return ms[static_cast<size_t>(level * static_cast<double>(ms.size() - 1))];
  };
  std::printf("%s: median %.2f ms, p90 %.2f, p99 %.2f, max %.2f (%zu)\n", what, at(0.5), at(0.9),
              at(0.99), at(1), ms.size());
}

router::Route MakeRoute(const std::string& account, double split) {
  router::Route route;
  route.account = account;
  route.primary = {"p-" + account, "a", "one", {"127.0.0.1", 10'001, 10'002}};
  route.shadow = {"s-" + account, "b", "two", {"127.0.0.1", 10'003, 10'004}};
  route.split = split;
  return route;
}

// A client that follows the endpoints of one account over a connection of its own.
class Follower
    : public grpc::ClientBidiReactor<discovery::DiscoveryRequest, discovery::DiscoveryResponse> {
 public:
  Follower(int port, int number, std::function<void(double)> got) : got_(std::move(got)) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    stub_ = discovery::AggregatedDiscoveryService::NewStub(grpc::CreateCustomChannel(
        "127.0.0.1:" + std::to_string(port), grpc::InsecureChannelCredentials(), arguments));
    request_.mutable_node()->set_id("follower-" + std::to_string(number));
    request_.set_type_url(xds::TypeUrl(xds::Type::kEndpoints));
    request_.add_resource_names("grpc hot");
    stub_->async()->StreamAggregatedResources(&context_, this);
    StartWrite(&request_);
    StartRead(&response_);
    StartCall();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    got_(0);
    request_.set_response_nonce(response_.nonce());
    request_.set_version_info(response_.version_info());
    Acknowledge();
  }
  void OnWriteDone(bool ok) override {
    if (ok) Acknowledge();
  }
  void OnDone(const grpc::Status&) override { done_ = true; }
  void End() {
    context_.TryCancel();
    while (!done_) Sleep(1);
  }

 private:
  // When the answer is there and the request before has been written: one may overtake the other.
  void Acknowledge() {
    if (--waits_for_ > 0) return;
    waits_for_ = 2;
    StartWrite(&request_);
    StartRead(&response_);
  }

  std::atomic<int> waits_for_ = 2;
  std::function<void(double)> got_;
  std::unique_ptr<discovery::AggregatedDiscoveryService::Stub> stub_;
  grpc::ClientContext context_;
  discovery::DiscoveryRequest request_;
  discovery::DiscoveryResponse response_;
  std::atomic<bool> done_ = false;
};

constexpr int kChanges = 100;

int64_t RealNs() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

void LightOnes(LightClients& clients, xds::XdsRouter& server) {
  clients.Connect(server.port());
  clients.ArrivalsNs(1);
  Sleep(500);
  std::vector<double> last_ms, every_ms;
  for (int round = 1; round <= kChanges; ++round) {
    const int64_t start_ns = RealNs();
    server.Update({{MakeRoute("hot", round / 1e3)}, {}, true});
    double last = 0;
    for (const int64_t arrived_ns : clients.ArrivalsNs(1 + round)) {
      every_ms.push_back(static_cast<double>(arrived_ns - start_ns) / 1e6);
      last = std::max(last, every_ms.back());
    }
    last_ms.push_back(last);
    Sleep(100);
  }
  std::printf("light clients, in a process of their own\n");
  Print("change to each client", every_ms);
  Print("change to the last client", last_ms);
}

int Clients(int count) {
  auto light = std::make_unique<LightClients>(count, "grpc hot");
  auto server = xds::XdsRouter::Start({"127.0.0.1:0", {}}, {{MakeRoute("hot", 0)}, {}, true});
  std::printf("%d clients, %d changes\n", count, kChanges);
  LightOnes(*light, **server);
  light.reset();
  Sleep(1'000);
  std::mutex mutex;
  std::condition_variable all_got;
  std::vector<double> times_ms;
  SteadyTime start = steady_clock::now();
  int got_count = 0;
  const auto got = [&](double) {
    const std::lock_guard lock(mutex);
    times_ms.push_back(MsSince(start));
    if (++got_count == count) all_got.notify_all();
  };
  const auto wait = [&] {
    std::unique_lock lock(mutex);
    all_got.wait(lock, [&] { return got_count == count; });
  };
  std::vector<std::unique_ptr<Follower>> followers;
  followers.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    followers.push_back(std::make_unique<Follower>((*server)->port(), i, got));
  }
  wait();
  Sleep(500);
  std::vector<double> last_ms, every_ms;
  for (int round = 1; round <= kChanges; ++round) {
    {
      const std::lock_guard lock(mutex);
      times_ms.clear();
      got_count = 0;
      start = steady_clock::now();
    }
    (*server)->Update({{MakeRoute("hot", 0.5 + round / 1e3)}, {}, true});
    wait();
    last_ms.push_back(*std::max_element(times_ms.begin(), times_ms.end()));
    every_ms.insert(every_ms.end(), times_ms.begin(), times_ms.end());
    Sleep(100);
  }
  std::printf("gRPC's clients, in the server's process\n");
  Print("change to each client", every_ms);
  Print("change to the last client", last_ms);
  for (auto& follower : followers) follower->End();
  return 0;
}

int Accounts(int count) {
  const auto used = [] { return static_cast<double>(mallinfo2().uordblks) / (1 << 20); };
  const double before = used();
  router::RouteUpdate all;
  for (int i = 0; i < count; ++i) {
    all.changed.push_back(MakeRoute("account-" + std::to_string(i), 0.1));
  }
  const double routes = used();
  SteadyTime start = steady_clock::now();
  auto server = xds::XdsRouter::Start({"127.0.0.1:0", {"127.0.0.1:10000", "", 5'000}}, all);
  std::printf(
      "%d accounts for gRPC and Envoy: %.1f MiB (%.0f bytes an account), built in %.0f ms\n", count,
      used() - routes, (used() - routes) * (1 << 20) / count, MsSince(start));
  std::printf("the routes themselves: %.1f MiB\n", routes - before);
  std::vector<double> one_ms;
  for (int i = 0; i < 1'000; ++i) {
    const router::Route route = MakeRoute("account-" + std::to_string(i), 0.5);
    start = steady_clock::now();
    (*server)->Update({{route}, {}, true});
    one_ms.push_back(MsSince(start));
  }
  Print("one account's split changed, nobody connected", one_ms);
  return 0;
}

// How the accounts of a run are routed, and whether their failed calls are repeated.
struct Way {
  const char* name;
  const char* what;
  bool stateful;
  bool retry_failed;
};

// A process has one control plane: the clients of all its channels share it.
constexpr Way kWays[] = {
    {"failover", "stateless, failed calls are repeated", false, true},
    {"failover-unrepeated", "stateless, failed calls are not repeated", false, false},
    {"failover-stateful", "stateful", true, false},
};

int Failover(int count, const Way& way) {
  constexpr int kCallers = 4;
  const std::string folder =
      std::filesystem::temp_directory_path() / ("failover-" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  RunningAgent a(folder, "a"), b(folder, "b");
  auto fleet = std::make_shared<Fleet>();
  fleet->cells = {{"a", "one"}, {"b", "two"}};
  std::vector<Shadow> shadows;
  for (int i = 0; i < count; ++i) {
    Account account;
    account.id = "account-" + std::to_string(i);
    account.stateful = way.stateful;
    fleet->accounts.push_back(account);
    a.CreatePrimary(account.id);
    Shadow shadow;
    shadow.instance_id = "shadow-of-" + account.id;
    b.Create(shadow.instance_id, account.id, v1::INSTANCE_ROLE_SHADOW);
    shadow.account = i;
    shadow.target = 1;
    shadow.state = ShadowState::kSharing;
    shadow.split = 0.1;
    shadows.push_back(shadow);
  }
  router::Hooks hooks;
  hooks.probe = [](const router::Address&) { return true; };
  router::Steering steering({}, 400, 2, std::move(hooks));
  xds::Options options{"127.0.0.1:0", {}};
  options.resources.retry_failed = way.retry_failed;
  auto server = xds::XdsRouter::Start(std::move(options), steering.All());
  steering.SetRouter(server->get());
  steering.Decided(fleet, shadows, {});
  const auto plain = grpc::InsecureChannelCredentials();
  rpc::CellWatch watch_a(0, a.address(), plain, steering);
  rpc::CellWatch watch_b(1, b.address(), plain, steering);
  UseControlPlane((*server)->port(), "caller");
  std::srand(1);
  std::vector<double> last_ms, failed;
  for (int i = 0; i < count; ++i) {
    const std::string id = fleet->accounts[i].id;
    a.WaitUntilServing("primary-" + id);
    b.WaitUntilServing("shadow-of-" + id);
    const pid_t pid = a.Find("primary-" + id).pid();
    Callers callers(XdsChannel(id), kCallers);
    callers.WaitForCount(400);
    const SteadyTime killed = steady_clock::now();
    kill(pid, SIGKILL);
    Sleep(400);
    auto counts = callers.Stop();
    double last = 0;
    for (const std::string& where : {std::string(), "primary-" + id}) {
      const auto it = counts.last_start.find(where);
      if (it == counts.last_start.end()) continue;
      last = std::max(last, std::chrono::duration<double, std::milli>(it->second - killed).count());
    }
    last_ms.push_back(last);
    failed.push_back(counts.failed);
  }
  std::printf("%s: %d primaries killed under load of %d callers each\n", way.what, count, kCallers);
  Print("SIGKILL to the start of the last call sent there", last_ms);
  std::ranges::sort(failed);
  std::printf("failed calls: median %.0f, most %.0f\n", failed[failed.size() / 2], failed.back());
  steering.SetRouter(nullptr);
  return 0;
}

}  // namespace
}  // namespace foreshadow::testing

int main(int argc, char** argv) {
  using namespace foreshadow::testing;
  const std::string mode = argc > 1 ? argv[1] : "";
  const int count = argc > 2 ? std::atoi(argv[2]) : 0;
  if (mode == "clients") return Clients(count > 0 ? count : 1'000);
  if (mode == "accounts") return Accounts(count > 0 ? count : 10'000);
  for (const Way& way : kWays) {
    if (mode == way.name) return Failover(count > 0 ? count : 50, way);
  }
  std::fprintf(stderr,
               "usage: routing_bench clients|accounts|failover|failover-unrepeated|"
               "failover-stateful [N]\n");
  return 2;
}
