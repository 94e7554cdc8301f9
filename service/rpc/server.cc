#include "service/rpc/server.h"

#include <fmt/core.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>

#include <chrono>

#include "service/rpc/services.h"

namespace foreshadow::rpc {
namespace {

// A stream or a watcher holds a thread as long as it lasts; a call beyond that is refused with
// RESOURCE_EXHAUSTED instead of taking the machine's memory.
constexpr int kThreadsMax = 512;

class GrpcServer : public Server {
 public:
  explicit GrpcServer(Engine& engine) : services_(MakeServices(engine)) {}

  absl::Status Bind(const std::string& listen) {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    // Two servers on one port would each get a part of the calls.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddListeningPort(listen, grpc::InsecureServerCredentials(), &port_);
    builder.SetMaxReceiveMessageSize(kMessageBytesMax);
    builder.SetResourceQuota(grpc::ResourceQuota("foreshadowd").SetMaxThreads(kThreadsMax));
    for (const auto& service : services_) builder.RegisterService(service.get());
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError(fmt::format(
          "server.listen = \"{}\" cannot be bound: is the port in use or the address not of this "
          "machine?",
          listen));
    }
    return absl::OkStatus();
  }

  int port() const override { return port_; }

  void Stop(int64_t grace_ms) override {
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::milliseconds(grace_ms));
  }

 private:
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const std::string& listen, Engine& engine) {
  auto server = std::make_unique<GrpcServer>(engine);
  if (absl::Status status = server->Bind(listen); !status.ok()) return status;
  return server;
}

}  // namespace foreshadow::rpc
