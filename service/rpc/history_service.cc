#include <fmt/core.h>

#include <algorithm>
#include <limits>

#include "foreshadow/v1/history.grpc.pb.h"
#include "service/rpc/convert.h"
#include "service/rpc/services.h"

namespace foreshadow::rpc {
namespace {

constexpr int64_t kStepsMax = 1'000'000;  // an answer of at most 20 MB

class HistoryService : public v1::History::Service {
 public:
  explicit HistoryService(Engine& engine) : engine_(engine) {}

  grpc::Status ReadSeries(grpc::ServerContext*, const v1::ReadSeriesRequest* request,
                          v1::ReadSeriesResponse* response) override {
    const auto account = engine_.FindAccount(request->account_id());
    if (!account) {
      return {grpc::StatusCode::NOT_FOUND,
              fmt::format("account_id = \"{}\": no such account", request->account_id())};
    }
    const int signal = request->signal() - 1;
    if (signal < 0 || signal >= kSignals) {
      return {grpc::StatusCode::INVALID_ARGUMENT,
              fmt::format("signal = {}: must be 1 .. {}", signal + 1, kSignals)};
    }
    const int resolution = std::max(0, request->resolution() - 1);
    if (resolution > static_cast<int>(Resolution::kHour)) {
      return {grpc::StatusCode::INVALID_ARGUMENT,
              fmt::format("resolution = {}: must be 1 .. 3", resolution + 1)};
    }
    const int64_t to_ms =
        request->to_ms() == 0 ? std::numeric_limits<int64_t>::max() : request->to_ms();
    if (request->from_ms() < 0 || to_ms < request->from_ms()) {
      return {grpc::StatusCode::INVALID_ARGUMENT,
              fmt::format("from_ms = {}, to_ms = {}: must be 0 <= from_ms <= to_ms",
                          request->from_ms(), request->to_ms())};
    }
    const auto series =
        engine_.store().ReadSeries(*account, static_cast<SignalKind>(signal), request->from_ms(),
                                   to_ms, static_cast<Resolution>(resolution));
    if (!series.ok()) return ToGrpc(series.status());
    if (std::ssize(*series) > kStepsMax) {
      return {grpc::StatusCode::INVALID_ARGUMENT,
              fmt::format("{} steps from from_ms to to_ms: at most {}", series->size(), kStepsMax)};
    }
    for (const Bin& bin : *series) {
      response->add_start_ms(bin.start_ms);
      response->add_mean(bin.mean);
      if (resolution == static_cast<int>(Resolution::kSamples)) continue;
      response->add_min(bin.min);
      response->add_max(bin.max);
      response->add_count(bin.count);
    }
    return grpc::Status::OK;
  }

  grpc::Status Backup(grpc::ServerContext*, const v1::BackupRequest*,
                      v1::BackupResponse* response) override {
    const auto made = engine_.Backup();
    if (!made.ok()) return ToGrpc(made.status());
    response->set_id(made->id);
    response->set_folder(engine_.config().backup_dir);
    response->set_made_ms(made->made_ms);
    response->set_bytes(made->bytes);
    response->set_files_count(made->files_count);
    return grpc::Status::OK;
  }

 private:
  Engine& engine_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeHistoryService(Engine& engine) {
  return std::make_unique<HistoryService>(engine);
}

}  // namespace foreshadow::rpc
