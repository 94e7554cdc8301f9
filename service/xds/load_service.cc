#include "service/xds/load_service.h"

#include <grpcpp/grpcpp.h>

#include <utility>

#include "envoy/service/load_stats/v3/lrs.grpc.pb.h"

namespace foreshadow::xds {
namespace {

namespace stats = envoy::service::load_stats::v3;

constexpr int kIntervalSeconds = 1;  // gRPC reports no more often

using Sink = std::function<void(const Load&)>;

// Deletes itself when the call is over.
class LoadStream
    : public grpc::ServerBidiReactor<stats::LoadStatsRequest, stats::LoadStatsResponse> {
 public:
  explicit LoadStream(const Sink& sink) : sink_(sink) { StartRead(&request_); }

  void OnReadDone(bool ok) override {
    if (!ok) {
      Finish(grpc::Status::OK);
      return;
    }
    if (!std::exchange(asked_, true)) {
      response_.set_send_all_clusters(true);
      response_.mutable_load_reporting_interval()->set_seconds(kIntervalSeconds);
      StartWrite(&response_);
    }
    Report();
    StartRead(&request_);
  }

  void OnDone() override { delete this; }

 private:
  void Report() const {
    if (sink_ == nullptr) return;
    for (const auto& cluster : request_.cluster_stats()) {
      const auto& interval = cluster.load_report_interval();
      const double seconds =
          static_cast<double>(interval.seconds()) + 1e-9 * static_cast<double>(interval.nanos());
      for (const auto& side : cluster.upstream_locality_stats()) {
        const uint64_t errors = side.total_error_requests();
        sink_({side.locality().sub_zone(), side.total_successful_requests() + errors, errors,
               seconds});
      }
    }
  }

  const Sink& sink_;
  bool asked_ = false;
  stats::LoadStatsRequest request_;
  stats::LoadStatsResponse response_;
};

class LoadService : public stats::LoadReportingService::CallbackService {
 public:
  explicit LoadService(Sink sink) : sink_(std::move(sink)) {}

  grpc::ServerBidiReactor<stats::LoadStatsRequest, stats::LoadStatsResponse>* StreamLoadStats(
      grpc::CallbackServerContext*) override {
    return new LoadStream(sink_);
  }

 private:
  const Sink sink_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeLoadService(std::function<void(const Load&)> load) {
  return std::make_unique<LoadService>(std::move(load));
}

}  // namespace foreshadow::xds
