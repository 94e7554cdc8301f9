#include <fmt/core.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "foreshadow/v1/plans.grpc.pb.h"
#include "service/rpc/call_watch.h"
#include "service/rpc/convert.h"
#include "service/rpc/services.h"
#include "service/tick/decisions_json.h"

namespace foreshadow::rpc {
namespace {

// How often a watcher looks whether its caller is still there.
constexpr int64_t kWatchWaitMs = 500;

void AddClient(const router::Client& client, v1::GetStatusResponse& response) {
  v1::DataPlaneClient& proto = *response.add_clients();
  proto.set_node(client.node);
  proto.set_agent(client.agent);
  proto.set_peer(client.peer);
  proto.set_connected(client.connected);
  proto.set_since_ms(client.since_ms);
  proto.set_behind_ms(client.behind_ms);
  proto.set_refused(client.refused);
}

class PlansService : public v1::Plans::Service {
 public:
  explicit PlansService(Engine& engine) : engine_(engine) {}

  grpc::Status GetStatus(grpc::ServerContext*, const v1::GetStatusRequest*,
                         v1::GetStatusResponse* response) override {
    const auto fleet = engine_.fleet();
    response->set_version(FORESHADOW_VERSION);
    response->set_accounts_count(fleet->accounts.size());
    response->set_series_count(static_cast<uint64_t>(fleet->series_count()));
    response->set_mode(Name(engine_.settings().shadow.mode));
    response->set_compute(std::string(engine_.compute()));
    for (const auto& model : *engine_.models()) response->add_models(models::Label(*model));
    if (const Traffic* traffic = engine_.traffic(); traffic != nullptr) {
      for (const router::Client& client : traffic->Clients()) AddClient(client, *response);
    }
    const auto report = engine_.report();
    if (report == nullptr) return grpc::Status::OK;
    response->set_last_tick_ms(report->tick_ms);
    response->set_last_tick_duration_ms(report->duration_ms);
    response->set_paused(report->paused);
    *response->mutable_scores() = ToProto(report->scores);
    if (!report->evaluation.candidate.empty()) {
      *response->mutable_evaluation() = ToProto(report->evaluation);
    }
    for (const StageTime& time : report->stages) {
      v1::StageTime* stage = response->add_stages();
      stage->set_stage(time.stage);
      stage->set_duration_ms(time.duration_ms);
    }
    return grpc::Status::OK;
  }

  grpc::Status GetPlan(grpc::ServerContext*, const v1::GetPlanRequest*,
                       v1::Plan* response) override {
    const auto report = engine_.report();
    if (report == nullptr) {
      return {grpc::StatusCode::UNAVAILABLE, "no tick has finished yet: there is no plan"};
    }
    *response = ToProto(*report);
    return grpc::Status::OK;
  }

  grpc::Status WatchPlans(grpc::ServerContext* context, const v1::WatchPlansRequest*,
                          grpc::ServerWriter<v1::Plan>* writer) override {
    int64_t seen_ms = 0;
    while (!context->IsCancelled()) {
      const auto report = engine_.WaitForReport(seen_ms, kWatchWaitMs);
      if (report == nullptr) {
        if (engine_.stopping()) return {grpc::StatusCode::UNAVAILABLE, "the server is stopping"};
        continue;
      }
      seen_ms = report->tick_ms;
      if (!writer->Write(ToProto(*report))) break;
    }
    return grpc::Status::OK;
  }

  grpc::Status Explain(grpc::ServerContext*, const v1::ExplainRequest* request,
                       v1::Explanation* response) override {
    const auto text = engine_.store().ReadAudit(request->action_id());
    if (!text.ok()) {
      return absl::IsNotFound(text.status())
                 ? grpc::Status(grpc::StatusCode::NOT_FOUND,
                                fmt::format("action_id = {}: no such action", request->action_id()))
                 : ToGrpc(text.status());
    }
    const auto fleet = engine_.fleet();
    const auto explanation = ExplanationFromJson(*text, *fleet);
    if (!explanation.ok()) return ToGrpc(explanation.status());
    *response = ToProto(*explanation, *fleet);
    return grpc::Status::OK;
  }

  grpc::Status Approve(grpc::ServerContext*, const v1::ApproveRequest* request,
                       v1::ApproveResponse*) override {
    if (!Waits(request->action_id())) return NotWaiting(request->action_id());
    return ToGrpc(engine_.Tell(Command{Command::Kind::kApprove, request->action_id()}));
  }

  grpc::Status Reject(grpc::ServerContext*, const v1::RejectRequest* request,
                      v1::RejectResponse*) override {
    if (!Waits(request->action_id())) return NotWaiting(request->action_id());
    return ToGrpc(engine_.Tell({.kind = Command::Kind::kReject,
                                .action_id = request->action_id(),
                                .reason = request->reason()}));
  }

  grpc::Status ChangeSetting(grpc::ServerContext* context, const v1::ChangeSettingRequest* request,
                             v1::ChangeSettingResponse* response) override {
    const logs::LogScope scope(TraceOf(*context));
    const absl::Status status = engine_.Change(request->key(), request->value(), request->reason());
    if (!status.ok()) return ToGrpc(status);
    for (const auto& [key, value] : SettingTexts(engine_.settings())) {
      if (key == request->key()) response->set_value(value);
    }
    spdlog::info("an operator set {} = {}: {}", request->key(), response->value(),
                 nlohmann::json(request->reason()).dump());
    return grpc::Status::OK;
  }

  grpc::Status ListSettings(grpc::ServerContext*, const v1::ListSettingsRequest*,
                            v1::ListSettingsResponse* response) override {
    const std::vector<SettingChange> changes = engine_.changes();
    for (const auto& [key, value] : SettingTexts(engine_.settings())) {
      v1::Setting& setting = *response->add_settings();
      setting.set_key(key);
      setting.set_value(value);
      const auto change = std::ranges::find(changes, key, &SettingChange::key);
      if (change == changes.end()) continue;
      setting.set_changed(true);
      setting.set_reason(change->reason);
      setting.set_changed_ms(change->changed_ms);
    }
    return grpc::Status::OK;
  }

  grpc::Status Pause(grpc::ServerContext* context, const v1::PauseRequest* request,
                     v1::PauseResponse*) override {
    const logs::LogScope scope(TraceOf(*context));
    spdlog::info("paused by an operator: {}", nlohmann::json(request->reason()).dump());
    return ToGrpc(engine_.Tell(Command{Command::Kind::kPause, 0}));
  }

  grpc::Status Resume(grpc::ServerContext*, const v1::ResumeRequest*,
                      v1::ResumeResponse*) override {
    spdlog::info("resumed by an operator");
    return ToGrpc(engine_.Tell(Command{Command::Kind::kResume, 0}));
  }

 private:
  bool Waits(uint64_t action_id) const {
    const auto report = engine_.report();
    return report != nullptr && std::ranges::any_of(report->actions, [&](const Action& a) {
             return a.id == action_id && a.state == ActionState::kWaiting;
           });
  }
  static grpc::Status NotWaiting(uint64_t action_id) {
    return {grpc::StatusCode::FAILED_PRECONDITION,
            fmt::format("action_id = {} does not wait for approval", action_id)};
  }

  Engine& engine_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakePlansService(Engine& engine) {
  return std::make_unique<PlansService>(engine);
}

}  // namespace foreshadow::rpc
