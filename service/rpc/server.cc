#include "service/rpc/server.h"

#include <fmt/core.h>
#include <google/protobuf/stubs/logging.h>
#include <grpcpp/ext/channelz_service_plugin.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include <chrono>

#include "models/registry.h"
#include "service/rpc/call_watch.h"
#include "service/rpc/guard.h"
#include "service/rpc/report_feed.h"
#include "service/rpc/services.h"

namespace foreshadow::rpc {
namespace {

// A stream or a watcher holds a thread as long as it lasts; a call beyond that is refused with
// RESOURCE_EXHAUSTED instead of taking the machine's memory.
constexpr int kThreadsMax = 512;

// These have nothing to answer with before the first tick.
constexpr const char* kNeedATick[] = {"foreshadow.v1.Forecasts", "foreshadow.v1.Patterns"};

class GrpcServer : public Server {
 public:
  GrpcServer(Engine& engine, receive::Receiver* receiver)
      : engine_(engine),
        feed_(engine),
        batcher_(engine.config().inference, engine.config().settings.analyze.period_significance,
                 models::FittedModels()),
        services_(MakeServices(engine, batcher_, receiver,
                               [this](const grpc::ServerContextBase& context) {
                                 const std::string identity = guard_->IdentityOf(context);
                                 return identity.empty() ? SenderOf(context) : identity;
                               })) {}
  ~GrpcServer() override { feed_.Remove(health_listener_); }

  absl::Status Bind(const std::string& listen) {
    // What cannot be parsed is told to its sender; the log is not the sender's to fill.
    google::protobuf::SetLogHandler(nullptr);
    auto guard = Guard::Create(engine_.config());
    if (!guard.ok()) return guard.status();
    guard_ = *std::move(guard);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::channelz::experimental::InitChannelzService();
    grpc::ServerBuilder builder;
    // Two servers on one port would each get a part of the calls.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddListeningPort(listen, guard_->Credentials(), &port_);
    builder.SetMaxReceiveMessageSize(engine_.config().security.message_mib_max << 20);
    builder.SetResourceQuota(grpc::ResourceQuota("foreshadowd").SetMaxThreads(kThreadsMax));
    for (const auto& service : services_) builder.RegisterService(service.get());
    auto watchers = CallWatchers();
    watchers.push_back(guard_->Auditor());
    builder.experimental().SetInterceptorCreators(std::move(watchers));
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError(fmt::format(
          "server.listen = \"{}\" cannot be bound: is the port in use or the address not of this "
          "machine?",
          listen));
    }
    ReportHealth();
    return absl::OkStatus();
  }

  int port() const override { return port_; }

  void Stop(int64_t grace_ms) override {
    server_->GetHealthCheckService()->SetServingStatus(false);
    batcher_.Stop();
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(grace_ms));
  }

 private:
  // The server as a whole, and each service that needs none, serves at once.
  void ReportHealth() {
    grpc::HealthCheckServiceInterface& health = *server_->GetHealthCheckService();
    for (const char* service : kNeedATick) health.SetServingStatus(service, false);
    for (const char* service :
         {"", "foreshadow.v1.Telemetry", "foreshadow.v1.Fleet", "foreshadow.v1.History",
          "foreshadow.v1.Plans", "inference.GRPCInferenceService"}) {
      health.SetServingStatus(service, true);
    }
    health_listener_ = feed_.Add([&health](const std::shared_ptr<const TickReport>& report) {
      for (const char* service : kNeedATick) health.SetServingStatus(service, report != nullptr);
    });
  }

  Engine& engine_;
  std::unique_ptr<Guard> guard_;
  ReportFeed feed_;
  int64_t health_listener_ = 0;
  batch::Batcher batcher_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const std::string& listen, Engine& engine,
                                                      receive::Receiver* receiver) {
  auto server = std::make_unique<GrpcServer>(engine, receiver);
  if (absl::Status status = server->Bind(listen); !status.ok()) return status;
  return server;
}

}  // namespace foreshadow::rpc
