#include <fmt/core.h>

#include <chrono>

#include "opentelemetry/metrics_service.grpc.pb.h"
#include "service/metrics/metrics.h"
#include "service/rpc/convert.h"
#include "service/rpc/otlp_convert.h"
#include "service/rpc/retry.h"
#include "service/rpc/sender.h"
#include "service/rpc/services.h"

namespace foreshadow::rpc {
namespace {

namespace otlp = opentelemetry::proto::collector::metrics::v1;

constexpr const char* kProtocol = "otlp";

int64_t WallNowMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

class OtlpService : public otlp::MetricsService::Service {
 public:
  OtlpService(Engine& engine, receive::Receiver& receiver, SenderName sender_name)
      : engine_(engine), receiver_(receiver), sender_name_(std::move(sender_name)) {}

  // What OTLP calls retryable is UNAVAILABLE, and RESOURCE_EXHAUSTED with a RetryInfo.
  grpc::Status Export(grpc::ServerContext* context,
                      const otlp::ExportMetricsServiceRequest* request,
                      otlp::ExportMetricsServiceResponse* response) override {
    std::vector<receive::IncomingSeries> series = SeriesOf(*request);
    int64_t points_count = 0;
    for (const receive::IncomingSeries& one : series) points_count += std::ssize(one.points);
    const int64_t now_ms = WallNowMs();
    if (const SenderLimits::Wait wait =
            engine_.sender_limits().Take(sender_name_(*context), points_count, now_ms);
        wait.ms > 0) {
      metrics::CountIngestRefused(kProtocol, "rate", points_count);
      return WithRetry(absl::ResourceExhaustedError(wait.why), wait.ms, *context);
    }
    const auto received = receiver_.Receive(std::move(series), kProtocol, now_ms);
    if (!received.ok()) {
      metrics::CountIngestRefused(kProtocol, "unavailable", points_count);
      return ToGrpc(received.status());
    }
    if (received->refused_count > 0) {
      otlp::ExportMetricsPartialSuccess& partial = *response->mutable_partial_success();
      partial.set_rejected_data_points(received->refused_count);
      partial.set_error_message(received->why_refused);
    }
    return grpc::Status::OK;
  }

 private:
  Engine& engine_;
  receive::Receiver& receiver_;
  const SenderName sender_name_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeOtlpService(Engine& engine, receive::Receiver& receiver,
                                               SenderName sender_name) {
  return std::make_unique<OtlpService>(engine, receiver, std::move(sender_name));
}

}  // namespace foreshadow::rpc
