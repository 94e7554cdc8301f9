#include "service/rpc/call_watch.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>

#include <array>
#include <chrono>
#include <string_view>

#include "service/metrics/metrics.h"

namespace foreshadow::rpc {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::ServerRpcInfo;

const char* Name(ServerRpcInfo::Type type) {
  switch (type) {
    case ServerRpcInfo::Type::UNARY:
      return "unary";
    case ServerRpcInfo::Type::CLIENT_STREAMING:
      return "client_stream";
    case ServerRpcInfo::Type::SERVER_STREAMING:
      return "server_stream";
    case ServerRpcInfo::Type::BIDI_STREAMING:
      return "bidi_stream";
  }
  return "unknown";
}

// The server's own faults; everything else is the caller's to know.
bool IsFault(grpc::StatusCode code) {
  return code == grpc::StatusCode::INTERNAL || code == grpc::StatusCode::UNKNOWN ||
         code == grpc::StatusCode::DATA_LOSS;
}

class CallWatch : public grpc::experimental::Interceptor {
 public:
  explicit CallWatch(ServerRpcInfo* info) : info_(info), began_(std::chrono::steady_clock::now()) {}

  void Intercept(grpc::experimental::InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
      // Seen here once; a context's metadata is gone when its call has ended.
      if (const auto* metadata = methods->GetRecvInitialMetadata()) {
        const auto found = metadata->find("traceparent");
        if (found != metadata->end()) {
          trace_ = logs::TraceFields({found->second.data(), found->second.size()});
        }
      }
    }
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      Ended(methods->GetSendStatus());
    }
    methods->Proceed();
  }

  ~CallWatch() override {
    if (!ended_) Ended(grpc::Status::CANCELLED);
  }

 private:
  void Ended(const grpc::Status& status) {
    ended_ = true;
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began_;
    std::string_view service = info_->method();
    if (service.starts_with('/')) service.remove_prefix(1);
    const size_t slash = service.find('/');
    const std::string_view method =
        slash == std::string_view::npos ? "" : service.substr(slash + 1);
    service = service.substr(0, slash);
    const char* code = rpc::Name(status.error_code());
    metrics::CountCall(service, method, Name(info_->type()), code, took.count());
    const auto level = IsFault(status.error_code()) ? spdlog::level::err : spdlog::level::debug;
    if (!spdlog::should_log(level)) return;
    const logs::LogScope scope(trace_);
    spdlog::log(level, "{}/{}: {} in {:.3f} ms{}{}", service, method, code, took.count() * 1e3,
                status.ok() ? "" : ": ", status.error_message());
  }

  ServerRpcInfo* info_;
  const std::chrono::steady_clock::time_point began_;
  logs::Fields trace_;
  bool ended_ = false;
};

class Factory : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  grpc::experimental::Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    return new CallWatch(info);
  }
};

}  // namespace

std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> CallWatchers() {
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> watchers;
  watchers.push_back(std::make_unique<Factory>());
  return watchers;
}

const char* Name(grpc::StatusCode code) {
  constexpr std::array<const char*, 17> kNames = {"OK",
                                                  "CANCELLED",
                                                  "UNKNOWN",
                                                  "INVALID_ARGUMENT",
                                                  "DEADLINE_EXCEEDED",
                                                  "NOT_FOUND",
                                                  "ALREADY_EXISTS",
                                                  "PERMISSION_DENIED",
                                                  "RESOURCE_EXHAUSTED",
                                                  "FAILED_PRECONDITION",
                                                  "ABORTED",
                                                  "OUT_OF_RANGE",
                                                  "UNIMPLEMENTED",
                                                  "INTERNAL",
                                                  "UNAVAILABLE",
                                                  "DATA_LOSS",
                                                  "UNAUTHENTICATED"};
  const auto index = static_cast<size_t>(code);
  return index < kNames.size() ? kNames[index] : "UNKNOWN";
}

logs::Fields TraceOf(const grpc::ServerContextBase& context) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find("traceparent");
  if (found == metadata.end()) return {};
  return logs::TraceFields({found->second.data(), found->second.size()});
}

}  // namespace foreshadow::rpc
