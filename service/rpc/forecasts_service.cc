#include <fmt/core.h>
#include <google/protobuf/arena.h>
#include <grpcpp/support/proto_buffer_reader.h>

#include <algorithm>
#include <atomic>

#include "foreshadow/v1/forecasts.grpc.pb.h"
#include "service/rpc/account_index.h"
#include "service/rpc/calls.h"
#include "service/rpc/forecast_answer.h"
#include "service/rpc/forecast_ask.h"
#include "service/rpc/services.h"
#include "service/rpc/work_queue.h"

namespace foreshadow::rpc {
namespace {

constexpr size_t kIdsPerPart = 1'000;  // of a streamed answer
// Larger requests are read, and larger answers made, off gRPC's threads, so that small calls do not
// wait behind them.
constexpr size_t kInlineBytes = 256 << 10;
constexpr int64_t kInlineValues = 64 << 10;
constexpr int kLargeThreads = 2;
constexpr int kLargeCallsMax = 64;     // each may hold an answer of 240 MB
constexpr int64_t kLargeRetryMs = 50;  // for one of those to be done

absl::Status Invalid(const std::string& what) { return absl::InvalidArgumentError(what); }

// What an answer is made of, in whole or in parts.
struct Rows {
  std::shared_ptr<const TickReport> report;  // of stored accounts: owns their ids
  std::shared_ptr<const ForecastTable> table;
  Shape shape;
  std::vector<v1::Signal> signals;
  size_t series_per_id = 1;
  std::vector<std::string_view> ids;
  std::vector<int64_t> series;  // [id][series_per_id]; kNoSeries = an unknown account
};

grpc::ByteBuffer PartOf(const Rows& rows, size_t first, size_t count) {
  google::protobuf::Arena arena;
  auto& frame = *google::protobuf::Arena::CreateMessage<v1::BatchForecastResponse>(&arena);
  FillFrame(*rows.table, rows.shape, frame);
  frame.mutable_signals()->Assign(rows.signals.begin(), rows.signals.end());
  frame.mutable_ids()->Reserve(static_cast<int>(count));
  for (size_t i = first; i < first + count; ++i) {
    frame.add_ids(rows.ids[i].data(), rows.ids[i].size());
  }
  const auto series =
      std::span(rows.series).subspan(first * rows.series_per_id, count * rows.series_per_id);
  FillSeries(*rows.table, series, frame);
  return Serialize(frame, *rows.table, series, rows.shape);
}

struct Shared {
  Engine& engine;
  batch::Batcher& batcher;
  AccountIndex accounts = {};
  std::atomic<int> large_calls_count = 0;
  WorkQueue large{kLargeThreads};  // bounded by kLargeCallsMax
};

// A call from its request to its answer; how that is sent is the reactor's. Lives as long as the
// reactor.
class ForecastCall {
 public:
  ForecastCall(Shared& shared, grpc::CallbackServerContext& context, size_t ids_per_part)
      : shared_(shared),
        context_(context),
        ids_per_part_(ids_per_part),
        ticket_(shared.batcher.NewTicket()) {}
  virtual ~ForecastCall() {
    if (is_large_) shared_.large_calls_count.fetch_sub(1);
  }

  void Begin(const grpc::ByteBuffer& received) {
    received_ = received;
    if (received_.Length() <= kInlineBytes) {
      Read();
    } else if (MayBeLarge()) {
      shared_.large.Run([this] { Read(); });
    }
  }

  void Cancelled() { shared_.batcher.Cancel(ticket_); }

 protected:
  // Called once, from any thread: rows() is ready, or there will be none.
  virtual void Deliver() = 0;
  virtual void Fail(grpc::Status status) = 0;

  const Rows& rows() const { return rows_; }
  grpc::ByteBuffer NextPart() {
    const size_t count = std::min(ids_per_part_, rows_.ids.size() - next_);
    grpc::ByteBuffer part = PartOf(rows_, next_, count);
    next_ += count;
    return part;
  }
  bool has_next() const { return next_ < rows_.ids.size(); }

 private:
  // Fails the call when too many large ones are under way.
  bool MayBeLarge() {
    if (is_large_) return true;
    is_large_ = true;
    if (shared_.large_calls_count.fetch_add(1) < kLargeCallsMax) return true;
    Fail(WithRetry(
        absl::ResourceExhaustedError(fmt::format(
            "{} large calls are under way, more are not served: come again later", kLargeCallsMax)),
        kLargeRetryMs, context_));
    return false;
  }

  void Read() {
    grpc::ProtoBufferReader reader(&received_);
    request_ = google::protobuf::Arena::CreateMessage<v1::BatchForecastRequest>(&arena_);
    if (!reader.status().ok() || !request_->ParseFromZeroCopyStream(&reader)) {
      return Fail({grpc::StatusCode::INVALID_ARGUMENT,
                   fmt::format("the message of {} bytes is not a BatchForecastRequest: truncated "
                               "or damaged",
                               received_.Length())});
    }
    received_.Clear();
    switch (request_->source_case()) {
      case v1::BatchForecastRequest::kStored:
        return AnswerStored();
      case v1::BatchForecastRequest::kHistories:
        return AnswerHistories();
      case v1::BatchForecastRequest::SOURCE_NOT_SET:
        return Fail(ToGrpc(Invalid("source is missing: set stored or histories")));
    }
  }

  void AnswerStored() {
    if (const absl::Status status = FindStored(); !status.ok()) return Fail(ToGrpc(status));
    const int64_t values =
        std::ssize(rows_.series) * rows_.shape.steps * std::ssize(rows_.shape.levels);
    if (is_large_ || values <= kInlineValues) {
      Deliver();
    } else if (MayBeLarge()) {
      shared_.large.Run([this] { Deliver(); });
    }
  }

  absl::Status FindStored() {
    rows_.report = shared_.engine.report();
    if (rows_.report == nullptr) {
      return absl::UnavailableError("no tick has finished yet: there is no forecast to give");
    }
    if (!request_->model().empty() && request_->model() != "auto") {
      return Invalid(
          fmt::format("model = \"{}\": stored accounts are forecast by \"auto\"; other "
                      "models are for histories",
                      request_->model()));
    }
    rows_.table = rows_.report->forecasts;
    auto shape = ShapeOf(*request_, rows_.table->step_ms);
    if (!shape.ok()) return shape.status();
    rows_.shape = *std::move(shape);
    const auto signals = SignalsOf(request_->stored());
    if (!signals.ok()) return signals.status();
    const auto& asked = request_->stored().account_ids();
    const auto& accounts = rows_.report->fleet->accounts;
    const size_t count = asked.empty() ? accounts.size() : static_cast<size_t>(asked.size());
    rows_.series_per_id = signals->size();
    const size_t series = std::min(count, ids_per_part_) * signals->size();
    if (absl::Status status = CheckSize(static_cast<int64_t>(series), rows_.shape); !status.ok()) {
      return status;
    }
    for (const SignalKind signal : *signals) rows_.signals.push_back(ToProto(signal));
    rows_.ids.reserve(count);
    rows_.series.reserve(count * signals->size());
    const auto index = asked.empty() ? nullptr : shared_.accounts.Of(rows_.report->fleet);
    for (size_t i = 0; i < count; ++i) {
      rows_.ids.push_back(asked.empty() ? std::string_view(accounts[i].id)
                                        : std::string_view(asked[static_cast<int>(i)]));
      auto account = static_cast<int64_t>(i);
      if (index != nullptr) {
        const auto at = index->find(rows_.ids.back());
        account = at == index->end() ? kNoSeries : at->second;
      }
      for (const SignalKind signal : *signals) {
        rows_.series.push_back(account == kNoSeries ? kNoSeries : SeriesOf(account, signal));
      }
    }
    return absl::OkStatus();
  }

  void AnswerHistories() {
    auto ask = ReadHistories();
    if (!ask.ok()) return Fail(ToGrpc(ask.status()));
    if (context_.IsCancelled()) return Fail(grpc::Status::CANCELLED);
    // Once it is submitted another thread may end this call: nothing here is touched any more.
    batch::Batcher& batcher = shared_.batcher;
    const absl::Status status =
        batcher.Submit(ticket_, *std::move(ask), [this](absl::StatusOr<batch::Answer> answer) {
          if (!answer.ok()) return Fail(ToGrpc(answer.status()));
          TakeAnswer(*answer);
          Deliver();
        });
    if (!status.ok()) Fail(Refusal(status, batcher, context_));
  }

  absl::StatusOr<batch::Ask> ReadHistories() {
    const v1::Histories& in = request_->histories();
    if (absl::Status status = CheckStepMs(in.step_ms(), "histories.step_ms"); !status.ok()) {
      return status;
    }
    auto shape = ShapeOf(*request_, in.step_ms());
    if (!shape.ok()) return shape.status();
    rows_.shape = *std::move(shape);
    auto ask = AskOf(*request_, rows_.shape);
    if (!ask.ok()) return ask.status();
    if (absl::Status status = CheckSize(std::ssize(ask->signals), rows_.shape); !status.ok()) {
      return status;
    }
    const auto found = shared_.batcher.Find(shared_.engine.models(), request_->model());
    if (!found.ok()) return Invalid(std::string(found.status().message()));
    ask->models = found->models;
    ask->first_model = found->first_model;
    ask->deadline = DeadlineOf(context_);
    return ask;
  }

  void TakeAnswer(const batch::Answer& answer) {
    const v1::Histories& in = request_->histories();
    rows_.table = answer.table;
    rows_.signals.push_back(static_cast<v1::Signal>(in.signals(0)));
    for (const std::string& id : in.series_ids()) {
      rows_.series.push_back(answer.first_series + std::ssize(rows_.ids));
      rows_.ids.push_back(id);
    }
  }

  Shared& shared_;
  grpc::CallbackServerContext& context_;
  const size_t ids_per_part_;
  const batch::Ticket ticket_;
  bool is_large_ = false;
  grpc::ByteBuffer received_;
  google::protobuf::Arena arena_;
  v1::BatchForecastRequest* request_ = nullptr;  // in the arena; owns the ids of histories
  Rows rows_;
  size_t next_ = 0;
};

// Both delete themselves.
class UnaryReactor : public grpc::ServerUnaryReactor, public ForecastCall {
 public:
  UnaryReactor(Shared& shared, grpc::CallbackServerContext& context, grpc::ByteBuffer& response)
      : ForecastCall(shared, context, std::numeric_limits<size_t>::max()), response_(response) {}

 private:
  void Deliver() override {
    response_ = NextPart();
    Finish(grpc::Status::OK);
  }
  void Fail(grpc::Status status) override { Finish(std::move(status)); }
  void OnCancel() override { Cancelled(); }
  void OnDone() override { delete this; }

  grpc::ByteBuffer& response_;
};

class StreamReactor : public grpc::ServerWriteReactor<grpc::ByteBuffer>, public ForecastCall {
 public:
  StreamReactor(Shared& shared, grpc::CallbackServerContext& context)
      : ForecastCall(shared, context, kIdsPerPart) {}

 private:
  void Deliver() override {
    if (!has_next()) return Finish(grpc::Status::OK);
    part_ = NextPart();
    StartWrite(&part_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) {
      Deliver();
    } else {
      Finish(grpc::Status::CANCELLED);
    }
  }
  void Fail(grpc::Status status) override { Finish(std::move(status)); }
  void OnCancel() override { Cancelled(); }
  void OnDone() override { delete this; }

  grpc::ByteBuffer part_;
};

class ForecastsService
    : public v1::Forecasts::WithRawCallbackMethod_BatchForecast<
          v1::Forecasts::WithRawCallbackMethod_StreamForecast<v1::Forecasts::Service>> {
 public:
  ForecastsService(Engine& engine, batch::Batcher& batcher) : shared_{engine, batcher} {}

  grpc::ServerUnaryReactor* BatchForecast(grpc::CallbackServerContext* context,
                                          const grpc::ByteBuffer* request,
                                          grpc::ByteBuffer* response) override {
    auto* reactor = new UnaryReactor(shared_, *context, *response);
    reactor->Begin(*request);
    return reactor;
  }

  grpc::ServerWriteReactor<grpc::ByteBuffer>* StreamForecast(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) override {
    auto* reactor = new StreamReactor(shared_, *context);
    reactor->Begin(*request);
    return reactor;
  }

 private:
  Shared shared_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeForecastsService(Engine& engine, batch::Batcher& batcher) {
  return std::make_unique<ForecastsService>(engine, batcher);
}

}  // namespace foreshadow::rpc
