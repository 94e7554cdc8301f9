#include "training/demo/traffic.h"

#include <fmt/core.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "foreshadow/v1/cell.grpc.pb.h"
#include "training/client/client.h"
#include "training/demo/narrator.h"
#include "training/demo/running.h"

namespace foreshadow::training {
namespace {

using Clock = std::chrono::steady_clock;

// A step of telemetry tells of a minute and takes half a second.
constexpr int64_t kStepMs = 60'000;
constexpr auto kPace = std::chrono::milliseconds(500);
constexpr int64_t kStartMs = 1'700'000'040'000;
constexpr int kHistorySteps = 120;

// A cell that is an account's home has the cores of its primary, and no more.
constexpr double kHomeCores = 1.5;
constexpr double kWorkMs = 1.5;
constexpr double kQuietPerS = 450;  // requests to each account: 45 % of what its home can serve
constexpr double kBusyPerS = 1'200;
constexpr int kRampSteps = 40;
constexpr double kKillSeconds = 6;
constexpr double kKillAfterSeconds = 2;
constexpr double kMigrationSeconds = 20;  // of requests
// From its first share; so begun soon after the primary is killed, with most of the requests to go.
constexpr int kPromoteAfterSteps = 36;
// What has begun under requests ends without them on a machine that is too busy for the pace.
constexpr int kMigrationStepsMax = 120;
constexpr double kRiskThreshold = 0.1;

struct Home {
  const char* account;
  const char* cell;
};
constexpr Home kHomes[] = {{"checkout", "cell-a"}, {"search", "cell-b"}};
constexpr const char* kRoomyCell = "cell-c";
constexpr double kRoomyCores = 8;

double Seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

// What came of the requests of one part of the act.
struct Row {
  std::string part;
  int64_t calls = 0;
  int64_t failed = 0;
  std::string first_error;
  double p50_ms = 0;
  double p99_ms = 0;
};

// `foreshadow load` as a child: gRPC knows one control plane a process.
class Load {
 public:
  static absl::StatusOr<Load> Begin(const std::string& folder, const std::string& xds,
                                    double per_s_each, double to_per_s_each, double seconds) {
    const auto count = static_cast<double>(std::size(kHomes));
    std::vector<std::string> command = {(ProgramFolder() / "foreshadow").string(),
                                        "load",
                                        "--json",
                                        "--xds",
                                        xds,
                                        "--per-s",
                                        fmt::format("{}", count * per_s_each),
                                        "--to-per-s",
                                        fmt::format("{}", count * to_per_s_each),
                                        "--seconds",
                                        fmt::format("{}", seconds)};
    for (const Home& home : kHomes) command.insert(command.end(), {"--account", home.account});
    static int number = 0;
    const std::string log = fmt::format("{}/load-{}", folder, ++number);
    auto child = ChildProcess::Start(command, log);
    if (!child.ok()) return child.status();
    return Load(*std::move(child), log);
  }

  absl::StatusOr<Row> End(std::string part) {
    const int code = child_.Wait();
    std::ifstream file(log_);
    std::string last;
    for (std::string line; std::getline(file, line); last = line) {
      const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (!json.is_object() || !json.contains("calls")) continue;
      const auto number = [&](const char* name) {
        return json[name].is_number() ? json[name].get<double>() : 0;
      };
      return Row{std::move(part),     json["calls"],    json["failed"],
                 json["first_error"], number("p50_ms"), number("p99_ms")};
    }
    return absl::UnavailableError(fmt::format("foreshadow load ended with {}: {}", code, last));
  }

 private:
  Load(ChildProcess child, std::string log) : child_(std::move(child)), log_(std::move(log)) {}
  ChildProcess child_;
  std::string log_;
};

// One world with its cells, its server and what is told to it step by step.
class World {
 public:
  static absl::StatusOr<std::unique_ptr<World>> Start(const char* mode) {
    std::unique_ptr<World> world(new World);
    if (world->folder_.path.empty()) return absl::UnavailableError("no temporary folder");
    if (absl::Status s = world->StartAll(mode); !s.ok()) return s;
    return world;
  }

  ~World() {
    context_.TryCancel();
    if (stream_ != nullptr) stream_->Finish();
  }

  const std::string& folder() const { return folder_.path; }
  const std::string& xds() const { return running_.xds_address; }

  // Tells the step's load and returns the plan that came of it, a pace after the step before.
  absl::StatusOr<v1::Plan> Step(double per_s_each) {
    std::this_thread::sleep_until(next_);
    next_ = std::max(next_, Clock::now() - kPace) + kPace;
    if (absl::Status s = Tell(per_s_each, /*tick=*/true); !s.ok()) return s;
    return client_->Call(*client_->plans, &v1::Plans::Stub::GetPlan, v1::GetPlanRequest());
  }
  // The first step is due now.
  void Go() { next_ = Clock::now(); }

  absl::StatusOr<v1::Instance> Find(size_t agent, const std::string& id) const {
    v1::ListInstancesResponse list;
    grpc::ClientContext context;
    const grpc::Status status = Agent(agent)->ListInstances(&context, {}, &list);
    if (!status.ok()) return absl::UnavailableError(status.error_message());
    for (const v1::Instance& instance : list.instances()) {
      if (instance.id() == id) return instance;
    }
    return absl::NotFoundError(id);
  }

 private:
  World() = default;

  std::unique_ptr<v1::CellController::Stub> Agent(size_t agent) const {
    return v1::CellController::NewStub(
        grpc::CreateChannel(running_.agent_addresses[agent], grpc::InsecureChannelCredentials()));
  }

  absl::Status StartAll(const char* mode) {
    std::vector<AgentSpec> agents;
    // At home an instance has the cores that are reserved for it; where there is room, as many as
    // its account may need.
    const auto instance = [](const std::string& cores) {
      return std::vector<std::string>{
          "--id",          "{id}",   "--cell",          "{cell}",
          "--host",        "{host}", "--grpc-port",     "{grpc_port}",
          "--cores",       cores,    "--work-ms",       fmt::format("{}", kWorkMs),
          "--waiting-max", "300",    "--warm-requests", "300"};
    };
    for (const Home& home : kHomes) {
      agents.push_back({home.cell, kHomeCores, 0, instance("{cpu_cores}")});
    }
    agents.push_back({kRoomyCell, kRoomyCores, 0, instance(fmt::format("{}", kRoomyCores / 2))});
    if (absl::Status s = StartAgents(agents, folder_.path, running_); !s.ok()) return s;
    std::string config = fmt::format(
        "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"{}/data\"\nlog_level = \"warning\"\n"
        "[tick]\nclock = \"data\"\nstep_ms = {}\nwindow_steps = 240\n"
        "[plan]\nrisk_threshold = {}\n"
        "[shadow]\nmode = \"{}\"\npromote_after_ms = {}\n"
        "[migrate]\nstep_hold_ms = {}\nsamples_min = 50\n"
        "[monitor]\nslo_ms = 100\n[xds]\nlisten = \"127.0.0.1:0\"\n",
        folder_.path, kStepMs, kRiskThreshold, mode, kPromoteAfterSteps * kStepMs, 2 * kStepMs);
    for (size_t i = 0; i < agents.size(); ++i) {
      config += fmt::format("[[cell]]\nid = \"{}\"\ncpu_cores = {}\nagent = \"{}\"\n",
                            agents[i].cell, agents[i].cpu_cores, running_.agent_addresses[i]);
    }
    if (absl::Status s = StartServer(config, folder_.path, running_); !s.ok()) return s;
    client_ = std::make_unique<Client>(Client::To(running_.address));
    v1::PutAccountsRequest accounts;
    for (size_t i = 0; i < std::size(kHomes); ++i) {
      v1::Account& account = *accounts.add_accounts();
      account.set_id(kHomes[i].account);
      account.set_cell(kHomes[i].cell);
      v1::CreateInstanceRequest primary;
      primary.set_id(fmt::format("primary-{}", kHomes[i].account));
      primary.set_account_id(kHomes[i].account);
      primary.set_role(v1::INSTANCE_ROLE_PRIMARY);
      primary.mutable_reserved()->set_cpu_cores(kHomeCores);
      grpc::ClientContext context;
      v1::Instance created;
      const grpc::Status status = Agent(i)->CreateInstance(&context, primary, &created);
      if (!status.ok()) return absl::UnavailableError(status.error_message());
    }
    const auto put = client_->Call(*client_->fleet, &v1::Fleet::Stub::PutAccounts, accounts);
    if (!put.ok()) return put.status();
    for (int step = 0; step < kHistorySteps; ++step) {
      if (absl::Status s = Tell(kQuietPerS, /*tick=*/false); !s.ok()) return s;
    }
    return absl::OkStatus();
  }

  absl::Status Tell(double per_s_each, bool tick) {
    if (stream_ == nullptr) stream_ = client_->telemetry->Ingest(&context_);
    v1::IngestRequest request;
    v1::SampleColumn& column = *request.mutable_samples()->add_columns();
    column.set_signal(v1::SIGNAL_CPU);
    column.add_time_ms(kStartMs + step_ * kStepMs);
    for (size_t i = 0; i < std::size(kHomes); ++i) {
      request.mutable_samples()->add_account_ids(kHomes[i].account);
      const double wiggle = 1 + 0.02 * std::sin(0.7 * static_cast<double>(step_ + 3 * i));
      column.add_values(static_cast<float>(per_s_each * kWorkMs / 1'000 * wiggle));
    }
    ++step_;
    if (tick) request.set_watermark_ms(kStartMs + step_ * kStepMs);
    v1::IngestResponse response;
    if (!stream_->Write(request) || !stream_->Read(&response)) {
      return absl::UnavailableError("the server takes no telemetry");
    }
    return response.error().empty() ? absl::OkStatus() : absl::UnavailableError(response.error());
  }

  TemporaryFolder folder_;
  Running running_;
  std::unique_ptr<Client> client_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::IngestRequest, v1::IngestResponse>> stream_;
  int64_t step_ = 0;
  Clock::time_point next_{};
};

double RampAt(int step) {
  return kQuietPerS + (kBusyPerS - kQuietPerS) * step / static_cast<double>(kRampSteps);
}

absl::Status Interrupted() { return absl::CancelledError("interrupted; all is stopped"); }

// The load of both accounts grows beyond what their homes can serve.
absl::StatusOr<Row> Outgrow(World& world, Narrator* narrator, std::string part,
                            const std::function<bool()>& interrupted) {
  const double seconds = kRampSteps * Seconds(kPace);
  auto load = Load::Begin(world.folder(), world.xds(), kQuietPerS, kBusyPerS, seconds);
  if (!load.ok()) return load.status();
  world.Go();
  for (int step = 0; step < kRampSteps; ++step) {
    if (interrupted()) return Interrupted();
    const auto plan = world.Step(RampAt(step));
    if (!plan.ok()) return plan.status();
    if (narrator != nullptr) narrator->Tell(*plan);
  }
  return load->End(std::move(part));
}

absl::StatusOr<Row> KillAPrimary(World& world, Narrator& narrator,
                                 const std::function<bool()>& interrupted) {
  constexpr size_t kVictim = 1;
  auto load = Load::Begin(world.folder(), world.xds(), kBusyPerS, kBusyPerS, kKillSeconds);
  if (!load.ok()) return load.status();
  bool killed = false;
  const Clock::time_point start = Clock::now();
  while (Seconds(Clock::now() - start) < kKillSeconds) {
    if (interrupted()) return Interrupted();
    if (!killed && Seconds(Clock::now() - start) > kKillAfterSeconds) {
      const auto primary = world.Find(kVictim, fmt::format("primary-{}", kHomes[kVictim].account));
      if (!primary.ok()) return primary.status();
      fmt::print("       kill -9 {}, the primary of {}\n", primary->pid(), kHomes[kVictim].account);
      killed = kill(primary->pid(), SIGKILL) == 0;
    }
    const auto plan = world.Step(kBusyPerS);
    if (!plan.ok()) return plan.status();
    narrator.Tell(*plan);
  }
  return load->End("a primary killed");
}

const v1::Shadow* ShadowOf(const v1::Plan& plan, const std::string& account) {
  for (const v1::Shadow& shadow : plan.shadows()) {
    if (shadow.account_id() == account) return &shadow;
  }
  return nullptr;
}

// Until the first account lives where its shadow was, step by step, and its old primary is gone.
absl::StatusOr<Row> Migrate(World& world, Narrator& narrator,
                            const std::function<bool()>& interrupted) {
  const std::string account = kHomes[0].account;
  auto load = Load::Begin(world.folder(), world.xds(), kBusyPerS, kBusyPerS, kMigrationSeconds);
  if (!load.ok()) return load.status();
  bool promoted = false;
  double split = -1;
  const auto primary = [&] { return world.Find(0, "primary-" + account); };
  const auto ended = [&] { return promoted && absl::IsNotFound(primary().status()); };
  const Clock::time_point start = Clock::now();
  for (int step = 0;
       Seconds(Clock::now() - start) < kMigrationSeconds || (step < kMigrationStepsMax && !ended());
       ++step) {
    if (interrupted()) return Interrupted();
    const auto plan = world.Step(kBusyPerS);
    if (!plan.ok()) return plan.status();
    narrator.Tell(*plan);
    const v1::Shadow* shadow = ShadowOf(*plan, account);
    if (shadow == nullptr) continue;
    if (shadow->state() == v1::SHADOW_STATE_PROMOTING && shadow->split() != split) {
      split = shadow->split();
      fmt::print("       {} migrates: {:.0f} % of its traffic\n", account, 100 * split);
    }
    promoted |= shadow->state() == v1::SHADOW_STATE_PROMOTED;
  }
  auto row = load->End("a migration");
  if (!row.ok()) return row;
  if (ended()) return row;
  const auto left = primary();
  const std::string what = !promoted   ? "its shadow was not seen as the primary"
                           : left.ok() ? "its old primary is still there"
                                       : std::string(left.status().message());
  return absl::AbortedError(fmt::format("the migration of {} did not end within {} steps: {}",
                                        account, kMigrationStepsMax, what));
}

void Print(const std::vector<Row>& rows) {
  fmt::print("\n{:<26}{:>10}{:>8}{:>10}{:>10}\n", "", "requests", "failed", "p50 ms", "p99 ms");
  for (const Row& row : rows) {
    fmt::print("{:<26}{:>10}{:>8}{:>10.2f}{:>10.1f}\n", row.part, row.calls, row.failed, row.p50_ms,
               row.p99_ms);
  }
}

// What has to be true of the rows: without, with, killed, migrated.
absl::Status Judge(const std::vector<Row>& rows) {
  const Row& without = rows[0];
  const Row& with = rows[1];
  if (with.failed > without.failed || with.p99_ms >= without.p99_ms) {
    return absl::AbortedError("the shadows were of no use: see the table");
  }
  for (size_t i = 2; i < rows.size(); ++i) {
    if (rows[i].failed == 0) continue;
    return absl::AbortedError(fmt::format("{}: {} requests were lost, the first because: {}",
                                          rows[i].part, rows[i].failed, rows[i].first_error));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RunTraffic(const std::function<bool()>& interrupted, nlohmann::ordered_json& summary) {
  fmt::print(
      "\nReal requests: {} accounts, {:.0f} growing to {:.0f} requests/s together, each at home "
      "in\n"
      "a cell that serves {:.0f}; first with shadows forbidden, then with them\n\n",
      std::size(kHomes), std::size(kHomes) * kQuietPerS, std::size(kHomes) * kBusyPerS,
      1'000 * kHomeCores / kWorkMs);
  std::fflush(stdout);
  std::vector<Row> rows;
  const auto add = [&](absl::StatusOr<Row> row) -> absl::Status {
    if (row.ok()) rows.push_back(*std::move(row));
    return row.status();
  };
  {
    auto world = World::Start("observe");
    if (!world.ok()) return world.status();
    auto row = Outgrow(**world, nullptr, "outgrown, no shadows", interrupted);
    if (absl::Status s = add(std::move(row)); !s.ok()) return s;
  }
  auto world = World::Start("act");
  if (!world.ok()) return world.status();
  Narrator narrator(kRiskThreshold, kStepMs);
  auto row = Outgrow(**world, &narrator, "outgrown, with shadows", interrupted);
  if (absl::Status s = add(std::move(row)); !s.ok()) return s;
  if (absl::Status s = add(KillAPrimary(**world, narrator, interrupted)); !s.ok()) return s;
  if (absl::Status s = add(Migrate(**world, narrator, interrupted)); !s.ok()) return s;
  Print(rows);
  for (const Row& r : rows) {
    summary["traffic"].push_back({{"part", r.part},
                                  {"requests", r.calls},
                                  {"failed", r.failed},
                                  {"p50_ms", r.p50_ms},
                                  {"p99_ms", r.p99_ms}});
  }
  return Judge(rows);
}

}  // namespace foreshadow::training
