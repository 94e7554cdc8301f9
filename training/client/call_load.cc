#include "training/client/call_load.h"

#include <fmt/core.h>
#include <grpc/grpc.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "foreshadow/v1/workload.grpc.pb.h"
#include "training/command.h"

namespace foreshadow::training {
namespace {

constexpr auto kCallDeadline = std::chrono::seconds(15);
constexpr auto kConnectDeadline = std::chrono::seconds(10);
constexpr auto kShutdownPoll = std::chrono::milliseconds(1);
constexpr int kShutdownPolls = 5'000;  // it takes a few

// For the channels of this process, before the first of them.
void UseControlPlane(const std::string& address) {
  const nlohmann::json bootstrap = {
      {"xds_servers",
       {{{"server_uri", address},
         {"channel_creds", {{{"type", "insecure"}}}},
         {"server_features", {"xds_v3"}}}}},
      {"node", {{"id", fmt::format("foreshadow-load-{}", getpid())}, {"cluster", "load"}}}};
  setenv("GRPC_XDS_BOOTSTRAP_CONFIG", bootstrap.dump().c_str(), 1);
  std::srand(static_cast<unsigned>(getpid()));  // Debian's gRPC draws weighted clusters by rand()
}

// As long as it lives, so does gRPC's library; then all its threads have ended. They put the last
// calls away a moment after these were answered, and when they are the last to need the library its
// end is left to one more thread: the process must not end, and destroy its globals, beside that.
struct Library {
  Library() { grpc_init(); }
  ~Library() {
    grpc_shutdown();
    for (int poll = 0; poll < kShutdownPolls && grpc_is_initialized() != 0; ++poll) {
      std::this_thread::sleep_for(kShutdownPoll);
    }
  }
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;
};

// Its context holds the channel, and whoever is the last to let go of that waits for gRPC's threads
// to end: as they cannot themselves, a call is destroyed before it counts as answered.
struct Call {
  grpc::ClientContext context;
  v1::CallRequest request;
  v1::CallResponse response;
};

nlohmann::ordered_json ToJson(const CallLoad& load) {
  const LoadResult& r = load.result;
  return {{"calls", r.calls},
          {"failed", r.failed},
          {"first_error", r.first_error},
          {"offered_per_s", r.offered_per_s},
          {"achieved_per_s", r.achieved_per_s},
          {"p50_ms", r.Percentile(50)},
          {"p99_ms", r.Percentile(99)},
          {"max_ms", r.Percentile(100)},
          {"late_ms", r.late_ms},
          {"by_instance", load.by_instance}};
}

void Print(const CallLoad& load) {
  const LoadResult& r = load.result;
  fmt::print("{} calls, {} failed, {:.0f} a second; p50 {:.2f} ms, p99 {:.2f} ms, longest {:.1f}\n",
             r.calls, r.failed, r.achieved_per_s, r.Percentile(50), r.Percentile(99),
             r.Percentile(100));
  if (r.failed > 0) fmt::print("the first failure: {}\n", r.first_error);
  for (const auto& [instance, count] : load.by_instance) {
    fmt::print("  {:<24} {}\n", instance, count);
  }
}

}  // namespace

absl::StatusOr<CallLoad> RunCallLoad(const CallLoadOptions& options) {
  UseControlPlane(options.xds);
  const Library library;
  std::vector<std::unique_ptr<v1::Workload::Stub>> stubs;
  for (const std::string& account : options.accounts) {
    const auto channel =
        grpc::CreateChannel("xds:///accounts/" + account, grpc::InsecureChannelCredentials());
    if (!channel->WaitForConnected(std::chrono::system_clock::now() + kConnectDeadline)) {
      return absl::UnavailableError(
          fmt::format("account {} cannot be reached by what {} says", account, options.xds));
    }
    stubs.push_back(v1::Workload::NewStub(channel));
  }
  CallLoad load;
  std::mutex mutex;
  load.result = RunOpenLoop(options.load, [&](int64_t number, AnswerTo answer) {
    auto* const call = new Call;
    call->context.set_deadline(std::chrono::system_clock::now() + kCallDeadline);
    v1::Workload::Stub& stub = *stubs[static_cast<size_t>(number) % stubs.size()];
    stub.async()->Call(&call->context, &call->request, &call->response,
                       [&, call, answer = std::move(answer)](const grpc::Status& status) {
                         {
                           const std::unique_ptr<Call> over(call);
                           const std::lock_guard lock(mutex);
                           if (status.ok()) ++load.by_instance[call->response.instance_id()];
                         }
                         answer({status.ok(), status.error_message(), 0});
                       });
  });
  return load;
}

void AddCallLoad(CLI::App& app) {
  struct Flags {
    CallLoadOptions options;
    bool json = false;
  };
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "load", "Call accounts' instances by gRPC's xDS client, and count what becomes of the calls");
  CallLoadOptions& o = flags->options;
  command->add_option("--xds", o.xds, "host:port of the control plane, xds.listen")->required();
  command->add_option("--account", o.accounts, "Account to call; several are called in turn")
      ->required();
  command->add_option("--per-s", o.load.per_s, "Calls a second")
      ->required()
      ->check(CLI::Range(0.1, 100'000.0));
  command->add_option("--to-per-s", o.load.per_s_end, "At the end; in between along a line")
      ->check(CLI::Range(0.1, 100'000.0));
  command->add_option("--seconds", o.load.seconds, "How long")
      ->check(CLI::Range(0.1, 86'400.0))
      ->capture_default_str();
  command->add_flag("--json", flags->json, "Print a JSON object");
  SetRun(*command, [flags]() -> absl::Status {
    const auto load = RunCallLoad(flags->options);
    if (!load.ok()) return load.status();
    if (flags->json) {
      fmt::print("{}\n", ToJson(*load).dump());
    } else {
      Print(*load);
    }
    return absl::OkStatus();
  });
}

}  // namespace foreshadow::training
