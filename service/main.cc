// foreshadowd: reads the configuration, wires store, models, engine, cells and server together,
// owns their threads, and stops them in the opposite order.
#include <fmt/core.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <thread>

#include "models/registry.h"
#include "service/config/config.h"
#include "service/haproxy/haproxy_router.h"
#include "service/history/store.h"
#include "service/learn/q_policy.h"
#include "service/logs/logs.h"
#include "service/metrics/http.h"
#include "service/monitor/prometheus.h"
#include "service/receive/receiver.h"
#include "service/router/probe.h"
#include "service/router/routers.h"
#include "service/router/steering.h"
#include "service/rpc/cell_fleet.h"
#include "service/rpc/guard.h"
#include "service/rpc/remote_write.h"
#include "service/rpc/server.h"
#include "service/serving/engine.h"
#include "service/serving/model_watch.h"
#include "service/xds/xds_router.h"

namespace foreshadow {
namespace {

// For calls under way; an idle telemetry stream lasts as long.
constexpr int64_t kStopGraceMs = 2'000;

struct Flags {
  std::string config;
  std::string port_file;
  std::string http_port_file;
  std::string xds_port_file;
  bool check = false;
};

int Fail(const absl::Status& status) {
  fmt::print(stderr, "foreshadowd: {}\n", std::string(status.message()));
  return 1;
}

// Whoever started the server on port 0 reads the port there; it appears whole or not at all.
absl::Status WritePortFile(const char* flag, const std::string& path, int port) {
  if (path.empty()) return absl::OkStatus();
  const std::string temporary = path + ".new";
  std::ofstream(temporary) << port << '\n';
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  return error ? absl::FailedPreconditionError(
                     fmt::format("{} {}: cannot be written: {}", flag, path, error.message()))
               : absl::OkStatus();
}

// Signals are taken by sigwait on the main thread, so they are blocked before any other starts.
sigset_t BlockStopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signals;
}

int64_t WallNowMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

metrics::HttpPosts Posts(Engine& engine, receive::Receiver* receiver) {
  if (receiver == nullptr) return {};
  return {{"/api/v1/write", [&engine, receiver](const metrics::HttpPost& post) {
             return rpc::AnswerRemoteWrite(post, engine, *receiver, WallNowMs());
           }}};
}

// Without a policy that can be read the rule decides, within the guard rails: a server that starts
// is worth more than one that waits for a file.
void LoadSplitPolicy(const std::string& model_dir, LearnSettings& learn) {
  // Loaded in any case: learn.policy may be changed while the server runs.
  auto policy = LoadQPolicy(model_dir + "/router");
  if (!policy.ok()) {
    if (learn.policy == LearnPolicy::kQ) {
      spdlog::warn("learn.policy is q, but the rule decides where requests are measured: {}",
                   policy.status().ToString());
    }
    return;
  }
  spdlog::info("split policy {} ({:016x}) of {}/router", policy->card().version,
               policy->fingerprint(), model_dir);
  learn.learned = std::make_shared<const QPolicy>(*std::move(policy));
}

// For the agents to tell what is there, before the first client of the data plane is answered. What
// is told later is passed on then.
constexpr auto kFirstWord = std::chrono::seconds(2);
constexpr auto kFirstWordPoll = std::chrono::milliseconds(5);
// For somebody who listens to accept a connection: across a zone it takes a few.
constexpr int kProbeTimeoutMs = 300;

std::unique_ptr<router::Steering> MakeSteering(const Config& config, Engine& engine,
                                               rpc::CellHands*& hands) {
  router::Hooks hooks;
  hooks.record = [&engine](const Command& command) {
    const absl::Status status = engine.Tell(command);
    if (!status.ok()) spdlog::error("a fail-over is not recorded: {}", status.ToString());
  };
  hooks.resume = [&hands](int32_t cell, const std::string& instance_id) {
    if (hands != nullptr) hands->ResumeNow(cell, instance_id);
  };
  hooks.probe = [](const router::Address& address) {
    return router::Probe(address, kProbeTimeoutMs) == router::Probed::kAnswers;
  };
  const auto agents = std::ranges::count_if(
      config.cells, [](const CellConfig& cell) { return !cell.agent.empty(); });
  return std::make_unique<router::Steering>(config.settings.route, config.settings.monitor.slo_ms,
                                            static_cast<size_t>(agents), std::move(hooks));
}

// Whatever carries the routes into force.
struct DataPlane {
  std::unique_ptr<rpc::Guard> guard;  // of the control plane's port
  std::unique_ptr<xds::XdsRouter> xds;
  std::unique_ptr<router::TrafficRouter> haproxy;
  std::unique_ptr<router::Routers> all;
};

absl::Status StartXds(const Flags& flags, const Config& config, router::Steering& steering,
                      DataPlane& plane) {
  auto guard = rpc::Guard::Create(config);
  if (!guard.ok()) return guard.status();
  plane.guard = *std::move(guard);
  xds::Options options;
  options.credentials = plane.guard->Credentials();
  options.listen = config.xds_listen;
  options.resources = {config.envoy_listen, config.sticky_header, config.health_interval_ms,
                       config.retry_failed};
  options.load = [&steering](const xds::Load& load) {
    steering.ClientsSay(load.instance_id, load.requests_count, load.errors_count);
  };
  auto started = xds::XdsRouter::Start(std::move(options), steering.All());
  if (!started.ok()) return started.status();
  plane.xds = *std::move(started);
  spdlog::info("xDS control plane on port {}", plane.xds->port());
  return WritePortFile("--xds-port-file", flags.xds_port_file, plane.xds->port());
}

absl::Status StartDataPlane(const Flags& flags, const Config& config, router::Steering& steering,
                            DataPlane& plane) {
  const auto deadline = std::chrono::steady_clock::now() + kFirstWord;
  while (!steering.All().complete && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(kFirstWordPoll);
  }
  std::vector<router::TrafficRouter*> routers;
  if (!config.xds_listen.empty()) {
    if (absl::Status status = StartXds(flags, config, steering, plane); !status.ok()) return status;
    routers.push_back(plane.xds.get());
  }
  if (!config.haproxy_socket.empty()) {
    haproxy::Options options;
    options.socket = config.haproxy_socket;
    options.load = [&steering](const haproxy::Load& load) {
      steering.ClientsSay(load.instance_id, load.requests_count, load.errors_count);
    };
    plane.haproxy = haproxy::MakeHaproxyRouter(std::move(options));
    routers.push_back(plane.haproxy.get());
  }
  plane.all = std::make_unique<router::Routers>(std::move(routers));
  steering.SetRouter(plane.all.get());
  return absl::OkStatus();
}

// Serves until a signal asks to stop.
absl::Status Serve(const Flags& flags, const sigset_t& signals, Engine& engine,
                   receive::Receiver* receiver) {
  const Config& config = engine.config();
  auto server = rpc::Server::Start(config.listen, engine, receiver);
  if (!server.ok()) return server.status();
  std::unique_ptr<metrics::HttpServer> http;
  if (!config.http_listen.empty()) {
    auto started = metrics::HttpServer::Start(config.http_listen, engine, Posts(engine, receiver));
    if (!started.ok()) return started.status();
    http = *std::move(started);
    spdlog::info("metrics and probes on http port {}", http->port());
    absl::Status status = WritePortFile("--http-port-file", flags.http_port_file, http->port());
    if (!status.ok()) return status;
  }
  absl::Status written = WritePortFile("--port-file", flags.port_file, (*server)->port());
  if (!written.ok()) return written;
  spdlog::info("listening on port {}, {} cells, {} accounts, data in {}", (*server)->port(),
               config.cells.size(), engine.fleet()->accounts.size(), config.data_dir);
  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::info("stopping on {}", strsignal(signal));
  engine.Stop();  // first, so that calls that wait for a tick end
  (*server)->Stop(kStopGraceMs);
  return absl::OkStatus();
}

int Run(const Flags& flags) {
  auto config = LoadConfig(flags.config);
  if (!config.ok()) return Fail(config.status());
  if (flags.check) {
    fmt::print("{}: ok, {} cells\n", flags.config, config->cells.size());
    return 0;
  }
  logs::SetUp(config->log_format, config->log_level);
  const sigset_t signals = BlockStopSignals();
  std::error_code no_stale_file;
  for (const std::string& file : {flags.port_file, flags.http_port_file, flags.xds_port_file}) {
    if (!file.empty()) std::filesystem::remove(file, no_stale_file);
  }

  auto store = HistoryStore::Open(config->data_dir);
  if (!store.ok()) return Fail(store.status());
  const std::string model_dir =
      config->model_dir.empty() ? models::InstalledModels() : config->model_dir;
  ModelWatch models(model_dir, config->settings.tick.step_ms, config->auto_promote_hours);

  LoadSplitPolicy(model_dir, config->settings.learn);

  auto engine = Engine::Create(*config, models.models(), **store);
  if (!engine.ok()) return Fail(engine.status());
  spdlog::info("the analysis runs on {}", (*engine)->compute());
  rpc::CellHands* resumer = nullptr;  // the hands, once there are
  std::unique_ptr<router::Steering> steering;
  if (!config->xds_listen.empty() || !config->haproxy_socket.empty())
    steering = MakeSteering(*config, **engine, resumer);
  auto made = rpc::MakeCellFleet(config->cells, **engine);
  if (!made.ok()) return Fail(made.status());
  std::unique_ptr<rpc::CellHands> hands = *std::move(made);
  resumer = hands.get();
  std::unique_ptr<receive::Receiver> receiver;
  if (!config->receive.rules.empty()) {
    auto created = receive::Receiver::Create(**engine);
    if (!created.ok()) return Fail(created.status());
    receiver = *std::move(created);
    receiver->Start();
  }
  (*engine)->Start(hands.get(), &models, steering.get());
  if (steering != nullptr) hands->Tell(*steering);
  std::unique_ptr<PrometheusWatch> prometheus;
  if (steering != nullptr && !config->prometheus.url.empty()) {
    prometheus = PrometheusWatch::Start(
        config->prometheus,
        [&](const absl::StatusOr<ScrapedTotals>& totals) { steering->PrometheusSays(totals); });
  }
  DataPlane plane;
  absl::Status served;
  if (steering != nullptr) served = StartDataPlane(flags, *config, *steering, plane);
  if (served.ok()) served = Serve(flags, signals, **engine, receiver.get());
  (*engine)->Stop();  // its thread uses the hands
  hands.reset();      // they tell the steering, which tells the data plane
  if (steering != nullptr) steering->SetRouter(nullptr);
  return served.ok() ? 0 : Fail(served);
}

}  // namespace
}  // namespace foreshadow

int main(int argc, char** argv) {
  foreshadow::Flags flags;
  CLI::App app("The Foreshadow server: telemetry in, forecasts, plans and shadows out.");
  app.set_version_flag("--version", FORESHADOW_VERSION);
  app.add_option("--config", flags.config, "The configuration file (TOML)")->required();
  app.add_option("--port-file", flags.port_file, "Write the port that is listened on to this file");
  app.add_option("--http-port-file", flags.http_port_file,
                 "Write the port of server.http_listen to this file");
  app.add_option("--xds-port-file", flags.xds_port_file,
                 "Write the port of xds.listen to this file");
  app.add_flag("--check", flags.check, "Check the configuration and exit");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return foreshadow::Run(flags);
}
