#include "foreshadow/v1/telemetry.grpc.pb.h"
#include "service/rpc/convert.h"
#include "service/rpc/services.h"

namespace foreshadow::rpc {
namespace {

constexpr int kRejectionsShown = 100;  // an answer must stay small whatever was sent

std::vector<RawColumn> ColumnsOf(const v1::SampleBatch& batch) {
  std::vector<RawColumn> columns;
  for (const v1::SampleColumn& column : batch.columns()) {
    columns.push_back(
        {column.signal(),
         {column.account_index().data(), static_cast<size_t>(column.account_index_size())},
         {column.time_ms().data(), static_cast<size_t>(column.time_ms_size())},
         {column.values().data(), static_cast<size_t>(column.values_size())}});
  }
  return columns;
}

void Fill(const Rejection& from, v1::Rejection& to) {
  to.set_reason(static_cast<v1::RejectReason>(from.reason));
  to.set_account_id(from.account);
  to.set_signal(ToProto(from.signal));
  to.set_time_ms(from.time_ms);
  to.set_value(from.value);
  to.set_message(from.message);
}

v1::IngestResponse AnswerOf(const IngestResult& result, uint64_t sequence) {
  v1::IngestResponse response;
  response.set_sequence(sequence);
  response.set_error(result.error);
  response.set_accepted_count(static_cast<uint64_t>(result.accepted_count));
  response.set_duplicate_count(static_cast<uint64_t>(result.duplicate_count));
  response.set_rejected_count(result.rejections.size());
  for (const Rejection& rejection : result.rejections) {
    if (response.rejections_size() == kRejectionsShown) break;
    Fill(rejection, *response.add_rejections());
  }
  response.set_last_tick_ms(result.last_tick_ms);
  return response;
}

class TelemetryService : public v1::Telemetry::Service {
 public:
  explicit TelemetryService(Engine& engine) : engine_(engine) {}

  grpc::Status Ingest(
      grpc::ServerContext*,
      grpc::ServerReaderWriter<v1::IngestResponse, v1::IngestRequest>* stream) override {
    v1::IngestRequest request;
    while (stream->Read(&request)) {
      const v1::SampleBatch& batch = request.samples();
      const std::vector<const std::string*> ids(batch.account_ids().pointer_begin(),
                                                batch.account_ids().pointer_end());
      const auto result = engine_.Ingest(ids, ColumnsOf(batch), request.watermark_ms());
      if (!result.ok()) return ToGrpc(result.status());
      if (!stream->Write(AnswerOf(*result, request.sequence()))) break;
    }
    return grpc::Status::OK;
  }

 private:
  Engine& engine_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeTelemetryService(Engine& engine) {
  return std::make_unique<TelemetryService>(engine);
}

}  // namespace foreshadow::rpc
