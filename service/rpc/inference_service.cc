// The Open Inference Protocol: every model as one that takes histories and gives quantiles.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "inference/inference.grpc.pb.h"
#include "service/rpc/calls.h"
#include "service/rpc/infer_convert.h"
#include "service/rpc/infer_statistics.h"
#include "service/rpc/services.h"

namespace foreshadow::rpc {
namespace {

constexpr const char* kAuto = "auto";
constexpr size_t kStreamCallsMax = 64;  // of one stream, read and not yet answered

struct Shared {
  Engine& engine;
  batch::Batcher& batcher;
  InferStatistics statistics;
};

int64_t WallNowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

absl::StatusOr<batch::Batcher::Found> FindModel(Shared& shared, const std::string& name,
                                                const std::string& version) {
  return shared.batcher.Find(shared.engine.models(), LabelOf(name, version));
}

// As RepositoryIndex names the model: "auto", "lstm@2".
std::string LabelOf(const std::string& asked_name, const batch::Batcher::Found& found) {
  if (asked_name.empty() || asked_name == kAuto) return kAuto;
  return models::Label(*(*found.models)[found.first_model]);
}

absl::StatusOr<InferAsk> Read(Shared& shared, const inference::ModelInferRequest& request,
                              const grpc::ServerContextBase& context, InferWatch& watch) {
  const auto found = FindModel(shared, request.model_name(), request.model_version());
  if (!found.ok()) return found.status();
  auto asked =
      ReadInfer(request, *found, shared.engine.config().settings.tick.step_ms, WallNowMs());
  watch.Read(LabelOf(request.model_name(), *found));
  if (asked.ok()) asked->ask.deadline = std::min(asked->ask.deadline, DeadlineOf(context));
  return asked;
}

// The part of it that is needed once the history is with the batcher.
InferAsk WithoutHistory(const InferAsk& asked) {
  InferAsk rest;
  rest.shape = asked.shape;
  rest.outputs = asked.outputs;
  rest.raw = asked.raw;
  return rest;
}

// Deletes itself.
class InferReactor : public grpc::ServerUnaryReactor {
 public:
  InferReactor(Shared& shared, grpc::CallbackServerContext& context,
               const inference::ModelInferRequest& request, inference::ModelInferResponse& response)
      : batcher_(shared.batcher), ticket_(batcher_.NewTicket()) {
    InferWatch watch(shared.statistics);
    auto asked = Read(shared, request, context, watch);
    if (!asked.ok()) {
      watch.Ended(asked.status(), {}, WallNowMs());
      Finish(ToGrpc(asked.status()));
      return;
    }
    // Once it is submitted another thread may end this call: nothing here is touched any more.
    batch::Batcher& batcher = batcher_;
    const absl::Status status =
        batcher.Submit(ticket_, std::move(asked->ask),
                       [this, &request, &response, watch, rest = WithoutHistory(*asked)](
                           const absl::StatusOr<batch::Answer>& answer) {
                         const auto answered = std::chrono::steady_clock::now();
                         if (answer.ok()) WriteInfer(request, rest, *answer, response);
                         watch.Ended(answer, answered, WallNowMs());
                         Finish(ToGrpc(answer.status()));
                       });
    if (status.ok()) return;
    watch.Ended(status, {}, WallNowMs());
    Finish(Refusal(status, batcher, context));
  }

 private:
  void OnCancel() override { batcher_.Cancel(ticket_); }
  void OnDone() override { delete this; }

  batch::Batcher& batcher_;
  const batch::Ticket ticket_;
};

// Many requests under way on one stream; answers leave in their order. Deletes itself.
class StreamReactor : public grpc::ServerBidiReactor<inference::ModelInferRequest,
                                                     inference::ModelStreamInferResponse> {
 public:
  StreamReactor(Shared& shared, grpc::CallbackServerContext& context)
      : shared_(shared), context_(context) {
    StartRead(&request_);
  }

 private:
  struct Slot {
    batch::Ticket ticket = 0;
    bool done = false;
    inference::ModelInferRequest request;
    inference::ModelStreamInferResponse response;
  };

  void OnReadDone(bool ok) override {
    const auto slot = std::make_shared<Slot>();
    {
      const std::lock_guard lock(mutex_);
      if (!ok || gone_) {
        reading_ = false;
        ended_ = true;
        return FinishIfDone();
      }
      slot->ticket = shared_.batcher.NewTicket();
      slot->request = std::move(request_);
      slots_.push_back(slot);
    }
    Infer(slot);
    // The slot may be answered by now, but the stream cannot have ended: it still reads.
    const std::lock_guard lock(mutex_);
    reading_ = slots_.size() < kStreamCallsMax;
    if (reading_) StartRead(&request_);
  }

  void Infer(const std::shared_ptr<Slot>& slot) {
    InferWatch watch(shared_.statistics);
    auto asked = Read(shared_, slot->request, context_, watch);
    if (!asked.ok()) {
      watch.Ended(asked.status(), {}, WallNowMs());
      return Answered(slot, asked.status());
    }
    const absl::Status status = shared_.batcher.Submit(
        slot->ticket, std::move(asked->ask),
        [this, slot, watch,
         rest = WithoutHistory(*asked)](const absl::StatusOr<batch::Answer>& answer) {
          const auto answered = std::chrono::steady_clock::now();
          if (answer.ok()) {
            WriteInfer(slot->request, rest, *answer, *slot->response.mutable_infer_response());
          }
          watch.Ended(answer, answered, WallNowMs());
          Answered(slot, answer.status());
        });
    if (status.ok()) return;
    watch.Ended(status, {}, WallNowMs());
    Answered(slot, status);
  }

  void Answered(const std::shared_ptr<Slot>& slot, const absl::Status& status) {
    if (!status.ok()) {
      slot->response.set_error_message(std::string(status.message()));
      slot->response.mutable_infer_response()->set_id(slot->request.id());
    }
    const auto& parameters = slot->request.parameters();
    const auto final = parameters.find("triton_enable_empty_final_response");
    if (final != parameters.end() && final->second.bool_param()) {
      auto& told = *slot->response.mutable_infer_response()->mutable_parameters();
      told["triton_final_response"].set_bool_param(true);
    }
    slot->request.Clear();
    const std::lock_guard lock(mutex_);
    slot->done = true;
    WriteNext();
  }

  // With the lock held, as the two below.
  void WriteNext() {
    if (writing_ || finished_ || slots_.empty() || !slots_.front()->done) return;
    writing_ = true;
    StartWrite(&slots_.front()->response);
  }

  void FinishIfDone() {
    if (finished_ || !ended_ || writing_ || !slots_.empty()) return;
    finished_ = true;
    Finish(grpc::Status::OK);
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    writing_ = false;
    slots_.pop_front();
    if (!ok) gone_ = true;
    if (gone_) std::erase_if(slots_, [](const auto& slot) { return slot->done; });
    if (!reading_ && !ended_) {
      reading_ = !gone_;
      ended_ = gone_;
      if (reading_) StartRead(&request_);
    }
    WriteNext();
    FinishIfDone();
  }

  // What waits is told so, each by its own callback.
  void OnCancel() override {
    std::vector<batch::Ticket> waiting;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& slot : slots_) waiting.push_back(slot->ticket);
    }
    for (const batch::Ticket ticket : waiting) shared_.batcher.Cancel(ticket);
  }

  void OnDone() override { delete this; }

  Shared& shared_;
  grpc::CallbackServerContext& context_;
  inference::ModelInferRequest request_;
  std::mutex mutex_;
  std::deque<std::shared_ptr<Slot>> slots_;  // in the order of the requests
  bool reading_ = true;
  bool ended_ = false;  // nothing more is read
  bool gone_ = false;   // nobody reads what is written
  bool writing_ = false;
  bool finished_ = false;
};

class InferenceService : public inference::GRPCInferenceService::CallbackService {
 public:
  InferenceService(Engine& engine, batch::Batcher& batcher) : shared_{engine, batcher, {}} {}

  grpc::ServerUnaryReactor* ServerLive(grpc::CallbackServerContext* context,
                                       const inference::ServerLiveRequest*,
                                       inference::ServerLiveResponse* response) override {
    response->set_live(true);
    return End(*context, absl::OkStatus());
  }

  // Histories need no tick: the models are there from the start.
  grpc::ServerUnaryReactor* ServerReady(grpc::CallbackServerContext* context,
                                        const inference::ServerReadyRequest*,
                                        inference::ServerReadyResponse* response) override {
    response->set_ready(!shared_.engine.stopping());
    return End(*context, absl::OkStatus());
  }

  grpc::ServerUnaryReactor* ModelReady(grpc::CallbackServerContext* context,
                                       const inference::ModelReadyRequest* request,
                                       inference::ModelReadyResponse* response) override {
    response->set_ready(FindModel(shared_, request->name(), request->version()).ok());
    return End(*context, absl::OkStatus());
  }

  grpc::ServerUnaryReactor* ServerMetadata(grpc::CallbackServerContext* context,
                                           const inference::ServerMetadataRequest*,
                                           inference::ServerMetadataResponse* response) override {
    response->set_name("foreshadow");
    response->set_version(FORESHADOW_VERSION);
    response->add_extensions("schedule_policy");
    response->add_extensions("model_repository");
    response->add_extensions("model_configuration");
    response->add_extensions("statistics");
    return End(*context, absl::OkStatus());
  }

  grpc::ServerUnaryReactor* ModelMetadata(grpc::CallbackServerContext* context,
                                          const inference::ModelMetadataRequest* request,
                                          inference::ModelMetadataResponse* response) override {
    const auto found = FindModel(shared_, request->name(), request->version());
    if (!found.ok()) return End(*context, found.status());
    response->set_name(request->name());
    response->set_platform(kPlatform);
    const int version = (*found->models)[found->first_model]->version();
    if (request->name() != kAuto && version != 0) {
      response->add_versions(std::to_string(version));
    }
    DescribeTensors(*response);
    return End(*context, absl::OkStatus());
  }

  grpc::ServerUnaryReactor* ModelConfig(grpc::CallbackServerContext* context,
                                        const inference::ModelConfigRequest* request,
                                        inference::ModelConfigResponse* response) override {
    const auto found = FindModel(shared_, request->name(), request->version());
    if (!found.ok()) return End(*context, found.status());
    inference::ModelConfig& config = *response->mutable_config();
    config.set_name(request->name());
    config.set_platform(kPlatform);
    config.set_backend(kPlatform);
    DescribeTensors(config);
    constexpr uint64_t kMicrosecondsPerMs = 1'000;
    config.mutable_dynamic_batching()->set_max_queue_delay_microseconds(
        static_cast<uint64_t>(shared_.engine.config().inference.wait_ms) * kMicrosecondsPerMs);
    config.mutable_model_transaction_policy();
    return End(*context, absl::OkStatus());
  }

  grpc::ServerUnaryReactor* ModelStatistics(grpc::CallbackServerContext* context,
                                            const inference::ModelStatisticsRequest* request,
                                            inference::ModelStatisticsResponse* response) override {
    std::string label;  // "" = all
    if (!request->name().empty()) {
      const auto found = FindModel(shared_, request->name(), request->version());
      if (!found.ok()) return End(*context, found.status());
      label = LabelOf(request->name(), *found);
    }
    ForEachModel([&](std::string_view name, int version) {
      const std::string own = models::Label(name, version);
      if (!label.empty() && label != own) return;
      inference::ModelStatistics& statistics = *response->add_model_stats();
      statistics.set_name(std::string(name));
      if (version != 0) statistics.set_version(std::to_string(version));
      shared_.statistics.Fill(own, statistics);
    });
    return End(*context, absl::OkStatus());
  }

  grpc::ServerUnaryReactor* RepositoryIndex(grpc::CallbackServerContext* context,
                                            const inference::RepositoryIndexRequest*,
                                            inference::RepositoryIndexResponse* response) override {
    ForEachModel([&](std::string_view name, int version) {
      auto& model = *response->add_models();
      model.set_name(std::string(name));
      if (version != 0) model.set_version(std::to_string(version));
      model.set_state("READY");
    });
    return End(*context, absl::OkStatus());
  }

  grpc::ServerUnaryReactor* ModelInfer(grpc::CallbackServerContext* context,
                                       const inference::ModelInferRequest* request,
                                       inference::ModelInferResponse* response) override {
    return new InferReactor(shared_, *context, *request, *response);
  }

  grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>*
  ModelStreamInfer(grpc::CallbackServerContext* context) override {
    return new StreamReactor(shared_, *context);
  }

 private:
  void ForEachModel(const std::function<void(std::string_view name, int version)>& visit) {
    visit(kAuto, 0);
    for (const auto& model : *shared_.engine.models()) visit(model->name(), model->version());
    for (const auto& fitted : shared_.batcher.fitted()) visit(fitted->front()->name(), 0);
  }

  static grpc::ServerUnaryReactor* End(grpc::CallbackServerContext& context,
                                       const absl::Status& status) {
    grpc::ServerUnaryReactor* reactor = context.DefaultReactor();
    reactor->Finish(ToGrpc(status));
    return reactor;
  }

  Shared shared_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeInferenceService(Engine& engine, batch::Batcher& batcher) {
  return std::make_unique<InferenceService>(engine, batcher);
}

}  // namespace foreshadow::rpc
