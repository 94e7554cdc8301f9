#include <fmt/core.h>

#include <atomic>

#include "foreshadow/v1/telemetry.grpc.pb.h"
#include "service/rpc/convert.h"
#include "service/rpc/services.h"
#include "service/rpc/work_queue.h"

namespace foreshadow::rpc {
namespace {

constexpr int kThreads = 4;       // writing is one at a time anyway; parsing and checking are not
constexpr int kStreamsMax = 256;  // each may hold a message of 64 MiB
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

// One stream. Its messages come as bytes, since gRPC ends a stream whose message it cannot parse as
// if the sender had ended it, and the sender would not learn that a batch was lost. Reads, works
// and answers one message after the other, which is what makes HTTP/2 push back. Deletes itself.
class IngestStream : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  IngestStream(Engine& engine, WorkQueue& queue, std::atomic<int>& streams_count)
      : engine_(engine), queue_(queue), streams_count_(streams_count) {
    if (streams_count_.fetch_add(1) >= kStreamsMax) {
      Finish({grpc::StatusCode::RESOURCE_EXHAUSTED,
              fmt::format("{} telemetry streams are open, more are not served", kStreamsMax)});
      return;
    }
    StartRead(&received_);
  }

  void OnReadDone(bool ok) override {
    if (ok) {
      queue_.Run([this] { Work(); });
    } else {
      Finish(grpc::Status::OK);
    }
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      StartRead(&received_);
    } else {
      Finish(grpc::Status::OK);
    }
  }

  void OnDone() override {
    streams_count_.fetch_sub(1);
    delete this;
  }

 private:
  void Work() {
    ++messages_count_;
    const size_t size_bytes = received_.Length();
    v1::IngestRequest request;
    if (!grpc::SerializationTraits<v1::IngestRequest>::Deserialize(&received_, &request).ok()) {
      Finish(
          {grpc::StatusCode::INVALID_ARGUMENT,
           fmt::format("message {} of the stream ({} bytes) is not an IngestRequest: truncated or "
                       "damaged; nothing of it was kept",
                       messages_count_, size_bytes)});
      return;
    }
    const v1::SampleBatch& batch = request.samples();
    const std::vector<const std::string*> ids(batch.account_ids().pointer_begin(),
                                              batch.account_ids().pointer_end());
    const auto result = engine_.Ingest(ids, ColumnsOf(batch), request.watermark_ms());
    if (!result.ok()) {
      Finish(ToGrpc(result.status()));
      return;
    }
    answer_.Clear();
    bool own_buffer = false;
    const grpc::Status written = grpc::SerializationTraits<v1::IngestResponse>::Serialize(
        AnswerOf(*result, request.sequence()), &answer_, &own_buffer);
    if (!written.ok()) {
      Finish(written);
      return;
    }
    StartWrite(&answer_);
  }

  Engine& engine_;
  WorkQueue& queue_;
  std::atomic<int>& streams_count_;
  int64_t messages_count_ = 0;
  grpc::ByteBuffer received_;
  grpc::ByteBuffer answer_;
};

class TelemetryService
    : public v1::Telemetry::WithRawCallbackMethod_Ingest<v1::Telemetry::Service> {
 public:
  explicit TelemetryService(Engine& engine) : engine_(engine) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Ingest(
      grpc::CallbackServerContext*) override {
    return new IngestStream(engine_, queue_, streams_count_);
  }

 private:
  Engine& engine_;
  std::atomic<int> streams_count_ = 0;
  WorkQueue queue_{kThreads};  // holds one message a stream
};

}  // namespace

std::unique_ptr<grpc::Service> MakeTelemetryService(Engine& engine) {
  return std::make_unique<TelemetryService>(engine);
}

}  // namespace foreshadow::rpc
