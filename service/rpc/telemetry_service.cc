#include <fmt/core.h>

#include <array>
#include <chrono>
#include <mutex>
#include <unordered_map>

#include "foreshadow/v1/telemetry.grpc.pb.h"
#include "service/metrics/metrics.h"
#include "service/rpc/convert.h"
#include "service/rpc/retry.h"
#include "service/rpc/sender.h"
#include "service/rpc/services.h"
#include "service/rpc/work_queue.h"

namespace foreshadow::rpc {
namespace {

constexpr int kThreads = 4;       // writing is one at a time anyway; parsing and checking are not
constexpr int kStreamsMax = 256;  // each may hold a message of 64 MiB
constexpr int kRejectionsShown = 100;       // an answer must stay small whatever was sent
constexpr int64_t kStreamsRetryMs = 1'000;  // somebody may have ended by then
constexpr const char* kProtocol = "telemetry";

int64_t WallNowMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

// How many streams each sender has open.
class OpenStreams {
 public:
  // What stands in the way of one more; "" = nothing, and it is counted.
  std::string Open(const std::string& sender, int per_sender_max) {
    const std::lock_guard lock(mutex_);
    if (count_ >= kStreamsMax) {
      return fmt::format("{} telemetry streams are open, more are not served", kStreamsMax);
    }
    int& of_sender = by_sender_[sender];
    if (of_sender >= per_sender_max) {
      return fmt::format("{} has {} telemetry streams open: ingest.streams_per_sender_max = {}",
                         sender, of_sender, per_sender_max);
    }
    ++of_sender;
    ++count_;
    return "";
  }
  void Close(const std::string& sender) {
    const std::lock_guard lock(mutex_);
    --count_;
    if (--by_sender_[sender] == 0) by_sender_.erase(sender);
  }

 private:
  std::mutex mutex_;
  int count_ = 0;
  std::unordered_map<std::string, int> by_sender_;
};

int64_t SamplesOf(const v1::SampleBatch& batch) {
  int64_t count = 0;
  for (const v1::SampleColumn& column : batch.columns()) count += column.values_size();
  return count;
}

void CountRejections(const std::vector<Rejection>& rejections) {
  constexpr std::array<const char*, 7> kNames = {
      "", "unknown_account", "not_finite", "negative", "too_old", "in_future", "conflict"};
  std::array<int64_t, kNames.size()> counts{};
  for (const Rejection& r : rejections) ++counts[static_cast<size_t>(r.reason)];
  for (size_t i = 1; i < counts.size(); ++i) {
    metrics::CountIngestRefused(kProtocol, kNames[i], counts[i]);
  }
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
  IngestStream(Engine& engine, WorkQueue& queue, OpenStreams& streams,
               grpc::CallbackServerContext& context, std::string sender)
      : engine_(engine),
        queue_(queue),
        streams_(streams),
        context_(context),
        sender_(std::move(sender)) {
    const std::string why = streams_.Open(sender_, engine.config().ingest.streams_per_sender_max);
    opened_ = why.empty();
    if (opened_) {
      StartRead(&received_);
    } else {
      metrics::CountIngestRefused(kProtocol, "streams", 1);
      Finish(WithRetry(absl::ResourceExhaustedError(why), kStreamsRetryMs, context_));
    }
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
    if (opened_) streams_.Close(sender_);
    delete this;
  }

 private:
  void Work() {
    ++messages_count_;
    const size_t size_bytes = received_.Length();
    v1::IngestRequest request;
    if (!grpc::SerializationTraits<v1::IngestRequest>::Deserialize(&received_, &request).ok()) {
      metrics::CountIngestRefused(kProtocol, "malformed", 1);
      Finish(
          {grpc::StatusCode::INVALID_ARGUMENT,
           fmt::format("message {} of the stream ({} bytes) is not an IngestRequest: truncated or "
                       "damaged; nothing of it was kept",
                       messages_count_, size_bytes)});
      return;
    }
    const v1::SampleBatch& batch = request.samples();
    const int64_t samples_count = SamplesOf(batch);
    if (const SenderLimits::Wait wait =
            engine_.sender_limits().Take(sender_, samples_count, WallNowMs());
        wait.ms > 0) {
      metrics::CountIngestRefused(kProtocol, "rate", samples_count);
      Finish(WithRetry(absl::ResourceExhaustedError(
                           fmt::format("{}: batch {} is not kept, go on with it after {} ms",
                                       wait.why, request.sequence(), wait.ms)),
                       wait.ms, context_));
      return;
    }
    const std::vector<const std::string*> ids(batch.account_ids().pointer_begin(),
                                              batch.account_ids().pointer_end());
    const auto result = engine_.Ingest(ids, ColumnsOf(batch), request.watermark_ms());
    if (!result.ok()) {
      metrics::CountIngestRefused(kProtocol, "unavailable", samples_count);
      Finish(ToGrpc(result.status()));
      return;
    }
    if (!result->error.empty()) metrics::CountIngestRefused(kProtocol, "malformed", 1);
    CountRejections(result->rejections);
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
  OpenStreams& streams_;
  grpc::CallbackServerContext& context_;
  const std::string sender_;
  bool opened_ = false;
  int64_t messages_count_ = 0;
  grpc::ByteBuffer received_;
  grpc::ByteBuffer answer_;
};

class TelemetryService
    : public v1::Telemetry::WithRawCallbackMethod_Ingest<v1::Telemetry::Service> {
 public:
  TelemetryService(Engine& engine, SenderName sender_name)
      : engine_(engine), sender_name_(std::move(sender_name)) {}

  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Ingest(
      grpc::CallbackServerContext* context) override {
    return new IngestStream(engine_, queue_, streams_, *context, sender_name_(*context));
  }

 private:
  Engine& engine_;
  const SenderName sender_name_;
  OpenStreams streams_;
  WorkQueue queue_{kThreads};  // holds one message a stream
};

}  // namespace

std::unique_ptr<grpc::Service> MakeTelemetryService(Engine& engine, SenderName sender_name) {
  return std::make_unique<TelemetryService>(engine, std::move(sender_name));
}

}  // namespace foreshadow::rpc
