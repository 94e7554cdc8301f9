#include "service/xds/xds_router.h"

#include <fmt/core.h>
#include <grpcpp/grpcpp.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <thread>
#include <type_traits>
#include <vector>

#include "envoy/service/discovery/v3/ads.grpc.pb.h"
#include "service/xds/hub.h"
#include "service/xds/load_service.h"

namespace foreshadow::xds {
namespace {

namespace discovery = envoy::service::discovery::v3;

// A client that went away without a word is noticed within the sum of both.
constexpr int kKeepaliveMs = 10'000;
constexpr int kKeepaliveTimeoutMs = 5'000;
constexpr int kClientPingMsMin = 5'000;     // clients may ask as often whether the server is there
constexpr int kRequestBytesMax = 16 << 20;  // names of some 100,000 resources
// What a client may send before it hears that it was read. gRPC would find out by pings what its
// connection takes; with them the last of 1,000 clients is told after 20 ms, without after 10.
constexpr int kUnreadBytesMax = 1 << 20;
constexpr int kQueues = 4;  // of completions, each with a thread
constexpr auto kStopGrace = std::chrono::milliseconds(200);

std::optional<Type> TypeOf(const std::string& url) {
  for (int t = 0; t < kTypes; ++t) {
    if (url == TypeUrl(static_cast<Type>(t))) return static_cast<Type>(t);
  }
  return std::nullopt;
}

std::string AgentOf(const envoy::config::core::v3::Node& node) {
  if (!node.user_agent_version().empty()) {
    return fmt::format("{} {}", node.user_agent_name(), node.user_agent_version());
  }
  const auto& version = node.user_agent_build_version().version();
  return fmt::format("{} {}.{}.{}", node.user_agent_name(), version.major_number(),
                     version.minor_number(), version.patch());
}

template <typename Message>
std::string RefusedOf(const Message& message) {
  if (!message.has_error_detail()) return "";
  return message.error_detail().message().empty() ? "without a reason"
                                                  : message.error_detail().message();
}

Request FromProto(const discovery::DiscoveryRequest& message, Type type) {
  return {type,
          message.response_nonce(),
          RefusedOf(message),
          {message.resource_names().begin(), message.resource_names().end()},
          {},
          {}};
}

Request FromProto(const discovery::DeltaDiscoveryRequest& message, Type type) {
  return {
      type,
      message.response_nonce(),
      RefusedOf(message),
      {message.resource_names_subscribe().begin(), message.resource_names_subscribe().end()},
      {message.resource_names_unsubscribe().begin(), message.resource_names_unsubscribe().end()},
      {message.initial_resource_versions().begin(), message.initial_resource_versions().end()}};
}

void ToProto(const Response& response, discovery::DiscoveryResponse& message) {
  message.set_version_info(response.version);
  message.set_type_url(TypeUrl(response.type));
  message.set_nonce(response.nonce);
  for (const Response::Item& item : response.items) {
    auto* resource = message.add_resources();
    resource->set_type_url(TypeUrl(response.type));
    resource->set_value(*item.held.bytes);
  }
}

void ToProto(const Response& response, discovery::DeltaDiscoveryResponse& message) {
  message.set_system_version_info(response.version);
  message.set_type_url(TypeUrl(response.type));
  message.set_nonce(response.nonce);
  for (const Response::Item& item : response.items) {
    auto* resource = message.add_resources();
    resource->set_name(item.name);
    resource->set_version(item.held.version);
    resource->mutable_resource()->set_type_url(TypeUrl(response.type));
    resource->mutable_resource()->set_value(*item.held.bytes);
  }
  for (const std::string& name : response.removed) message.add_removed_resources(name);
}

using Ads = discovery::AggregatedDiscoveryService;
using AdsService = Ads::WithRawMethod_StreamAggregatedResources<
    Ads::WithRawMethod_DeltaAggregatedResources<Ads::Service>>;

// What a completion queue tells of.
class Event {
 public:
  virtual ~Event() = default;
  virtual void Happened(bool ok) = 0;
};

template <typename Owner>
class Tag : public Event {
 public:
  Tag(Owner* owner, void (Owner::*what)(bool)) : owner_(owner), what_(what) {}
  void Happened(bool ok) override { (owner_->*what_)(ok); }

 private:
  Owner* owner_;
  void (Owner::*what_)(bool);
};

// One call, from before it comes until it is over, when it deletes itself. When it comes the next
// one begins to wait. Not by gRPC's callbacks: these share one completion queue, and Debian's gRPC,
// which is built with its own checks, goes through all that is under way in a queue, under its
// lock, whenever a part of that ends.
template <typename Req, typename Resp>
class AdsStream : public Stream {
  static constexpr bool kDelta = std::is_same_v<Req, discovery::DeltaDiscoveryRequest>;

 public:
  AdsStream(Hub& hub, AdsService& service, grpc::ServerCompletionQueue* queue)
      : Stream(kDelta), hub_(hub), service_(service), queue_(queue) {
    if constexpr (kDelta) {
      service.RequestDeltaAggregatedResources(&context_, &stream_, queue, queue, &came_);
    } else {
      service.RequestStreamAggregatedResources(&context_, &stream_, queue, queue, &came_);
    }
  }

  grpc::ByteBuffer Encode(const Response& response) const override {
    Resp message;
    ToProto(response, message);
    grpc::ByteBuffer encoded;
    bool own_buffer = false;
    grpc::SerializationTraits<Resp>::Serialize(message, &encoded, &own_buffer);
    return encoded;
  }
  void Write() override { stream_.Write(bytes, &written_); }

 private:
  void Came(bool ok) {
    if (!ok) {  // the server ends
      delete this;
      return;
    }
    new AdsStream(hub_, service_, queue_);
    hub_.Add(this, context_.peer());
    stream_.Read(&request_bytes_, &read_);
  }

  void Read(bool ok) {
    ok = ok && grpc::SerializationTraits<Req>::Deserialize(&request_bytes_, &request_).ok();
    if (!ok) {
      if (hub_.End(*this)) Finish();
      return;
    }
    // A type that is not served here is never answered, which a client takes as "not yet".
    if (const auto type = TypeOf(request_.type_url())) {
      const bool has_node = request_.has_node();
      hub_.Take(*this, FromProto(request_, *type), has_node ? request_.node().id() : "",
                has_node ? AgentOf(request_.node()) : "");
    }
    stream_.Read(&request_bytes_, &read_);
  }

  void Written(bool ok) {
    if (hub_.Written(*this, ok)) Finish();
  }

  void Finish() { stream_.Finish(grpc::Status::OK, &finished_); }

  void Finished(bool) {
    hub_.Remove(this);
    delete this;
  }

  Hub& hub_;
  AdsService& service_;
  grpc::ServerCompletionQueue* queue_;
  grpc::ServerContext context_;
  grpc::ServerAsyncReaderWriter<grpc::ByteBuffer, grpc::ByteBuffer> stream_{&context_};
  Req request_;
  grpc::ByteBuffer request_bytes_;
  Tag<AdsStream> came_{this, &AdsStream::Came};
  Tag<AdsStream> read_{this, &AdsStream::Read};
  Tag<AdsStream> written_{this, &AdsStream::Written};
  Tag<AdsStream> finished_{this, &AdsStream::Finished};
};

void Serve(Hub& hub, AdsService& service, grpc::ServerCompletionQueue* queue) {
  new AdsStream<discovery::DiscoveryRequest, discovery::DiscoveryResponse>(hub, service, queue);
  new AdsStream<discovery::DeltaDiscoveryRequest, discovery::DeltaDiscoveryResponse>(hub, service,
                                                                                     queue);
  void* tag = nullptr;
  bool ok = false;
  while (queue->Next(&tag, &ok)) static_cast<Event*>(tag)->Happened(ok);
}

std::string RunName() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return fmt::format("{}", std::chrono::duration_cast<std::chrono::milliseconds>(now).count());
}

class Server : public XdsRouter {
 public:
  explicit Server(Options options)
      : options_(std::move(options)),
        hub_(Snapshot(options_.resources, RunName())),
        loads_(MakeLoadService(options_.load)) {}

  ~Server() override {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now() + kStopGrace);
    for (const auto& queue : queues_) queue->Shutdown();
  }

  absl::Status Bind() {
    grpc::ServerBuilder builder;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                               kClientPingMsMin);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_BDP_PROBE, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, kUnreadBytesMax);
    builder.SetMaxReceiveMessageSize(kRequestBytesMax);
    builder.AddListeningPort(
        options_.listen,
        options_.credentials != nullptr ? options_.credentials : grpc::InsecureServerCredentials(),
        &port_);
    builder.RegisterService(&ads_);
    builder.RegisterService(loads_.get());
    for (int i = 0; i < kQueues; ++i) queues_.push_back(builder.AddCompletionQueue());
    server_ = builder.BuildAndStart();
    if (server_ == nullptr || port_ == 0) {
      return absl::UnavailableError(fmt::format(
          "xds.listen = \"{}\" cannot be bound: is the port in use or the address not of this "
          "machine?",
          options_.listen));
    }
    for (const auto& queue : queues_) {
      threads_.emplace_back([this, &queue] { Serve(hub_, ads_, queue.get()); });
    }
    return absl::OkStatus();
  }

  int port() const override { return port_; }
  void Update(const router::RouteUpdate& update) override { hub_.Update(update); }
  std::vector<router::Client> Clients() const override { return hub_.Clients(); }
  router::Reach ReachOf(const std::string& account) const override { return hub_.ReachOf(account); }
  std::vector<std::string> Alerts() const override { return hub_.Alerts(); }

 private:
  const Options options_;
  Hub hub_;
  AdsService ads_;
  const std::unique_ptr<grpc::Service> loads_;
  std::vector<std::unique_ptr<grpc::ServerCompletionQueue>> queues_;
  std::unique_ptr<grpc::Server> server_;
  std::vector<std::jthread> threads_;  // one of each queue
  int port_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<XdsRouter>> XdsRouter::Start(Options options,
                                                            const router::RouteUpdate& first) {
  auto server = std::make_unique<Server>(std::move(options));
  server->Update(first);
  if (absl::Status status = server->Bind(); !status.ok()) return status;
  return server;
}

}  // namespace foreshadow::xds
