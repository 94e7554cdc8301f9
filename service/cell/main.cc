// foreshadow-cell: the reference agent of a cell. Serves CellController over gRPC; its instances
// outlive it.
#include <fmt/core.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "foreshadow/v1/cell.grpc.pb.h"
#include "service/cell/board.h"
#include "service/cell/fence.h"
#include "service/cell/instances.h"
#include "service/security/certificates.h"
#include "service/tls/credentials.h"

namespace foreshadow::cell {
namespace {

constexpr auto kStopGrace = std::chrono::seconds(2);

grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

Amounts FromProto(const v1::Resources& r) {
  return {r.cpu_cores(), r.memory_bytes(), r.network_bytes_per_second(), r.storage_bytes()};
}

void ToProto(const Amounts& amounts, v1::Resources& r) {
  r.set_cpu_cores(amounts[0]);
  r.set_memory_bytes(amounts[1]);
  r.set_network_bytes_per_second(amounts[2]);
  r.set_storage_bytes(amounts[3]);
}

// The longest silence of a watch.
constexpr int64_t kHeartbeatMs = 500;

class Service : public v1::CellController::Service {
 public:
  explicit Service(Instances& instances) : instances_(instances), board_(instances) {}

  void Stop() { board_.Stop(); }

  grpc::Status CreateInstance(grpc::ServerContext*, const v1::CreateInstanceRequest* request,
                              v1::Instance* response) override {
    const Spec spec{request->id(), request->account_id(), request->role(),
                    FromProto(request->reserved())};
    return Answer(request->id(), instances_.Create(spec, request->paused()), *response);
  }
  grpc::Status ResumeInstance(grpc::ServerContext*, const v1::ResumeInstanceRequest* request,
                              v1::Instance* response) override {
    return Answer(request->id(), instances_.Resume(request->id()), *response);
  }
  grpc::Status PauseInstance(grpc::ServerContext*, const v1::PauseInstanceRequest* request,
                             v1::Instance* response) override {
    return Answer(request->id(), instances_.Pause(request->id()), *response);
  }
  grpc::Status DestroyInstance(grpc::ServerContext*, const v1::DestroyInstanceRequest* request,
                               v1::DestroyInstanceResponse*) override {
    const absl::Status status = instances_.Destroy(request->id(), request->grace_ms());
    board_.Update(request->id());
    return ToGrpc(status);
  }
  grpc::Status PromoteInstance(grpc::ServerContext*, const v1::PromoteInstanceRequest* request,
                               v1::Instance* response) override {
    return Answer(request->id(), instances_.Promote(request->id()), *response);
  }
  grpc::Status RetirePrimary(grpc::ServerContext*, const v1::RetirePrimaryRequest* request,
                             v1::RetirePrimaryResponse* response) override {
    const auto ids = instances_.RetirePrimaries(request->account_id(), request->grace_ms());
    if (!ids.ok()) return ToGrpc(ids.status());
    for (const std::string& id : *ids) board_.Update(id);
    response->mutable_instance_ids()->Assign(ids->begin(), ids->end());
    return grpc::Status::OK;
  }
  grpc::Status FencePrimary(grpc::ServerContext*, const v1::FencePrimaryRequest* request,
                            v1::FencePrimaryResponse* response) override {
    if (request->epoch() == 0) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "epoch = 0: must be 1 at least"};
    }
    const auto ids =
        FencePrimaries(instances_, request->account_id(), request->epoch(), request->lift());
    if (!ids.ok()) return ToGrpc(ids.status());
    response->mutable_instance_ids()->Assign(ids->begin(), ids->end());
    return grpc::Status::OK;
  }
  grpc::Status ListInstances(grpc::ServerContext*, const v1::ListInstancesRequest*,
                             v1::ListInstancesResponse* response) override {
    for (v1::Instance& instance : board_.List()) *response->add_instances() = std::move(instance);
    return grpc::Status::OK;
  }
  grpc::Status WatchInstances(grpc::ServerContext* context, const v1::WatchInstancesRequest*,
                              grpc::ServerWriter<v1::WatchInstancesResponse>* writer) override {
    uint64_t seen = 0;
    while (!context->IsCancelled()) {
      v1::WatchInstancesResponse changes;
      if (!board_.WaitForChange(seen, kHeartbeatMs, changes)) {
        return {grpc::StatusCode::UNAVAILABLE, "the agent is stopping"};
      }
      if (!writer->Write(changes)) break;
    }
    return grpc::Status::OK;
  }
  grpc::Status DescribeCell(grpc::ServerContext*, const v1::DescribeCellRequest*,
                            v1::DescribeCellResponse* response) override {
    response->set_cell(instances_.options().cell);
    ToProto(instances_.options().capacity, *response->mutable_capacity());
    ToProto(instances_.reserved(), *response->mutable_reserved());
    response->set_freezer("sigstop");
    return grpc::Status::OK;
  }

 private:
  grpc::Status Answer(const std::string& id, const absl::StatusOr<InstanceView>& view,
                      v1::Instance& instance) {
    board_.Update(id);
    if (!view.ok()) return ToGrpc(view.status());
    instance = ToProto(*view, instances_.options().host);
    return grpc::Status::OK;
  }

  Instances& instances_;
  Board board_;
};

struct Flags {
  Options options;
  std::string listen = "127.0.0.1:7430";
  std::string port_file;
  tls::ServerFiles tls;
  std::string token_file;
};

// Those who may call: everybody, or whoever knows the token.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> MakeCredentials(const Flags& flags) {
  const tls::ServerFiles& files = flags.tls;
  if (files.cert.empty() != files.key.empty()) {
    return absl::InvalidArgumentError(
        "--tls-cert and --tls-key belong together: give both or none");
  }
  if (files.cert.empty() && !(files.client_ca.empty() && flags.token_file.empty())) {
    return absl::InvalidArgumentError("--tls-ca and --token-file need --tls-cert and --tls-key");
  }
  if (!files.cert.empty()) {
    absl::Status status = security::CheckPair("--tls-cert", files.cert, "--tls-key", files.key);
    if (!status.ok()) return status;
  }
  if (!files.client_ca.empty()) {
    absl::Status status = security::CheckAuthorities("--tls-ca", files.client_ca);
    if (!status.ok()) return status;
  }
  tls::Judge judge;
  if (!flags.token_file.empty()) {
    const auto token = tls::ReadToken(flags.token_file);
    if (!token.ok()) return token.status();
    judge = [hash = security::Sha256Hex(*token)](const security::Caller& caller,
                                                 const std::string& method) {
      const bool open = !security::RoleFor(method).has_value();  // health checks
      if (open || (caller.token && security::Sha256Hex(*caller.token) == hash)) {
        return absl::OkStatus();
      }
      return absl::UnauthenticatedError(
          "the agent needs its bearer token, and got another or none");
    };
  }
  return tls::MakeServerCredentials(files, std::move(judge));
}

// Of CLI11: an empty answer means that the text is fine.
std::string CheckCell(const std::string& text) { return text.empty() ? "must not be empty" : ""; }

std::string CheckAmount(const std::string& text) {
  const double value = std::strtod(text.c_str(), nullptr);  // that it is a number, CLI11 checks
  const bool fine = value >= 0 && value <= kAmountMax;
  return fine ? "" : fmt::format("{}: must be 0 .. {}", text, kAmountMax);
}

int Fail(const std::string& what) {
  fmt::print(stderr, "foreshadow-cell: {}\n", what);
  return 1;
}

int Run(const Flags& flags) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  const std::string& program = flags.options.command[0];
  if (program.find('{') == std::string::npos && !CanRun(program)) {
    return Fail(fmt::format("command {}: no such program that may be run", program));
  }
  const auto credentials = MakeCredentials(flags);
  if (!credentials.ok()) return Fail(std::string(credentials.status().message()));
  auto instances = Instances::Open(flags.options);
  if (!instances.ok()) return Fail(std::string(instances.status().message()));
  Service service(**instances);
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  builder.AddListeningPort(flags.listen, *credentials, &port);
  builder.RegisterService(&service);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || port == 0) {
    return Fail(fmt::format(
        "--listen {} cannot be bound: must be HOST:PORT of this machine, with the port not in use",
        flags.listen));
  }
  if (!flags.port_file.empty()) {
    const std::string temporary = flags.port_file + ".new";
    std::ofstream(temporary) << port << '\n';
    std::error_code error;
    std::filesystem::rename(temporary, flags.port_file, error);
    if (error) {
      return Fail(fmt::format("--port-file {}: {}", flags.port_file, error.message()));
    }
  }
  spdlog::info("cell {} listens on port {} and has {} instances", flags.options.cell, port,
               (*instances)->List().size());
  int signal = 0;
  sigwait(&signals, &signal);
  spdlog::info("stopping on {}; instances are left as they are", strsignal(signal));
  service.Stop();
  server->Shutdown(std::chrono::system_clock::now() + kStopGrace);
  return 0;
}

}  // namespace
}  // namespace foreshadow::cell

int main(int argc, char** argv) {
  if (argc > 2 && std::strcmp(argv[1], foreshadow::cell::kLauncherFlag) == 0) {
    foreshadow::cell::RunLauncher(argv + 2);
  }
  using namespace foreshadow::cell;
  Flags flags;
  Options& options = flags.options;
  CLI::App app("The agent of a cell: starts, pauses, resumes and destroys instances as processes.");
  app.set_version_flag("--version", FORESHADOW_VERSION);
  app.add_option("--cell", options.cell, "Id of the cell")->required()->check(CheckCell);
  app.add_option("--state-dir", options.state_dir, "Folder that remembers the instances")
      ->required();
  app.add_option("--listen", flags.listen, "Address to serve on; port 0: any free one")
      ->capture_default_str();
  app.add_option("--port-file", flags.port_file, "Write the port that is listened on to this file");
  app.add_option("--tls-cert", flags.tls.cert, "PEM certificate to serve with; none: plain text");
  app.add_option("--tls-key", flags.tls.key, "Its private key");
  app.add_option("--tls-ca", flags.tls.client_ca,
                 "PEM authorities; callers must show a certificate of theirs");
  app.add_option("--token-file", flags.token_file,
                 "File whose line is the bearer token that callers must send");
  constexpr const char* kCapacityFlags[] = {"--cpu-cores", "--memory-bytes",
                                            "--network-bytes-per-second", "--storage-bytes"};
  for (size_t r = 0; r < options.capacity.size(); ++r) {
    app.add_option(kCapacityFlags[r], options.capacity[r], "Capacity; 0 = not limited")
        ->check(CheckAmount);
  }
  app.add_option("--instance-host", options.host, "IP address that instances serve on")
      ->capture_default_str();
  app.add_option("--grace-ms", options.grace_ms, "Between SIGTERM and SIGKILL")
      ->check(CLI::Range(int64_t{0}, kGraceMsMax))
      ->capture_default_str();
  app.add_option("command", options.command,
                 "After --: the command of an instance; {id} {account} {cell} {cpu_cores} "
                 "{memory_bytes} {host} {grpc_port} {http_port} are replaced in each word")
      ->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return Run(flags);
}
