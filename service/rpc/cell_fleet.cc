#include "service/rpc/cell_fleet.h"

#include <fmt/core.h>
#include <grpcpp/grpcpp.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <mutex>

#include "foreshadow/v1/cell.grpc.pb.h"
#include "service/rpc/cell_watch.h"
#include "service/rpc/convert.h"
#include "service/rpc/work_queue.h"
#include "service/tls/credentials.h"

namespace foreshadow::rpc {
namespace {

constexpr int kThreads = 8;                          // they wait for cells more than they work
constexpr auto kDeadline = std::chrono::seconds(5);  // of one call to a cell
constexpr int64_t kGraceMs = 2'000;                  // for an instance to end by itself

// Codes that the same call will meet again however often it is repeated.
bool IsFinal(grpc::StatusCode code) {
  switch (code) {
    case grpc::StatusCode::INVALID_ARGUMENT:
    case grpc::StatusCode::ALREADY_EXISTS:
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
    case grpc::StatusCode::NOT_FOUND:
    case grpc::StatusCode::FAILED_PRECONDITION:
    case grpc::StatusCode::UNIMPLEMENTED:
    case grpc::StatusCode::PERMISSION_DENIED:
      return true;
    default:
      return false;
  }
}

grpc::Status Fence(v1::CellController::Stub& stub, const Action& action, bool lift) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  v1::FencePrimaryRequest request;
  request.set_account_id(action.account);
  request.set_epoch(action.epoch);
  request.set_lift(lift);
  v1::FencePrimaryResponse response;
  return stub.FencePrimary(&context, request, &response);
}

grpc::Status Carry(v1::CellController::Stub& stub, const Action& action) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  v1::Instance instance;
  switch (action.kind) {
    case ActionKind::kCreate: {
      v1::CreateInstanceRequest request;
      request.set_id(action.instance_id);
      request.set_account_id(action.account);
      request.set_role(v1::INSTANCE_ROLE_SHADOW);
      request.set_paused(!action.run);
      *request.mutable_reserved() = ToProto(action.reserved);
      return stub.CreateInstance(&context, request, &instance);
    }
    case ActionKind::kResume: {
      v1::ResumeInstanceRequest request;
      request.set_id(action.instance_id);
      return stub.ResumeInstance(&context, request, &instance);
    }
    case ActionKind::kPause: {
      v1::PauseInstanceRequest request;
      request.set_id(action.instance_id);
      return stub.PauseInstance(&context, request, &instance);
    }
    case ActionKind::kDestroy: {
      v1::DestroyInstanceRequest request;
      request.set_id(action.instance_id);
      request.set_grace_ms(kGraceMs);
      v1::DestroyInstanceResponse response;
      return stub.DestroyInstance(&context, request, &response);
    }
    case ActionKind::kPromote: {
      v1::PromoteInstanceRequest request;
      request.set_id(action.instance_id);
      return stub.PromoteInstance(&context, request, &instance);
    }
    case ActionKind::kRetire: {
      v1::RetirePrimaryRequest request;
      request.set_account_id(action.account);
      request.set_grace_ms(kGraceMs);
      v1::RetirePrimaryResponse response;
      return stub.RetirePrimary(&context, request, &response);
    }
    case ActionKind::kLiftFence:
      return Fence(stub, action, /*lift=*/true);
    case ActionKind::kSetSplit:
      return grpc::Status::OK;  // the data plane's, never queued here
  }
  return grpc::Status(grpc::StatusCode::INTERNAL, "unknown action");
}

class CellFleet : public CellHands {
 public:
  CellFleet(const std::vector<CellConfig>& cells,
            const std::shared_ptr<grpc::ChannelCredentials>& credentials, Engine& engine)
      : cells_(cells), credentials_(credentials), engine_(engine), asked_(cells.size(), false) {
    for (const CellConfig& cell : cells_) {
      stubs_.push_back(cell.agent.empty() ? nullptr
                                          : v1::CellController::NewStub(
                                                grpc::CreateChannel(cell.agent, credentials)));
    }
  }

  void Tell(router::Steering& steering) override {
    for (size_t c = 0; c < cells_.size(); ++c) {
      if (stubs_[c] == nullptr) continue;
      watches_.push_back(std::make_unique<CellWatch>(static_cast<int32_t>(c), cells_[c].agent,
                                                     credentials_, steering));
    }
  }

  void ResumeNow(int32_t cell, const std::string& instance_id) override {
    Action action;
    action.kind = ActionKind::kResume;
    action.instance_id = instance_id;
    queue_.Run([this, cell, action] {
      if (stubs_[cell] == nullptr) return;
      const grpc::Status status = Carry(*stubs_[cell], action);
      if (!status.ok()) {
        spdlog::error("{} cannot be resumed: {}", action.instance_id, status.error_message());
      }
    });
  }

  void Start(const Action& action) override {
    queue_.Run([this, action] { CarryOut(action); });
  }

  void Poll() override {
    for (size_t c = 0; c < cells_.size(); ++c) {
      if (stubs_[c] == nullptr) continue;
      {
        const std::lock_guard lock(mutex_);
        if (asked_[c]) continue;  // a slow cell is not asked twice at once
        asked_[c] = true;
      }
      queue_.Run([this, c] { Ask(c); });
    }
  }

  void WaitUntilIdle() override { queue_.WaitUntilIdle(); }

 private:
  void CarryOut(const Action& action) {
    const std::string& where = AtSource(action.kind) ? action.source_cell : action.target_cell;
    v1::CellController::Stub* stub = StubOf(where);
    const bool fenced = action.kind == ActionKind::kPromote && action.epoch != 0;
    v1::CellController::Stub* source = fenced ? StubOf(action.source_cell) : nullptr;
    Outcome outcome{action.id, false, true, ""};
    if (stub == nullptr) {
      outcome.message = fmt::format("cell {} has no agent configured", where);
    } else {
      const grpc::Status status =
          source != nullptr ? PromoteFenced(*stub, *source, action) : Carry(*stub, action);
      outcome.done = status.ok();
      outcome.final = IsFinal(status.error_code());
      if (!status.ok()) {
        outcome.message = fmt::format("the agent of {} said: {}", where, status.error_message());
      }
    }
    engine_.Tell(outcome);
  }

  // The old primary takes no more writes before the new one is made: of a promotion that does not
  // come about it takes them again. Where it cannot be told so now, the promotion is given up: what
  // then lifts the fence is an action of its own.
  grpc::Status PromoteFenced(v1::CellController::Stub& target, v1::CellController::Stub& source,
                             const Action& action) {
    grpc::Status status = Fence(source, action, /*lift=*/false);
    if (status.ok()) status = Carry(target, action);
    if (status.ok()) return status;
    const grpc::Status lifted = Fence(source, action, /*lift=*/true);
    if (lifted.ok()) return status;
    spdlog::error("the fence of account {} in cell {} cannot be lifted yet: {}", action.account,
                  action.source_cell, lifted.error_message());
    return {grpc::StatusCode::FAILED_PRECONDITION, status.error_message()};
  }

  // Null: no such cell, or no agent of it.
  v1::CellController::Stub* StubOf(const std::string& cell) const {
    for (size_t c = 0; c < cells_.size(); ++c) {
      if (cells_[c].cell.id == cell) return stubs_[c].get();
    }
    return nullptr;
  }

  void Ask(size_t cell) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + kDeadline);
    v1::ListInstancesResponse response;
    const grpc::Status status = stubs_[cell]->ListInstances(&context, {}, &response);
    CellReport report{static_cast<int32_t>(cell), status.ok(), {}};
    for (const v1::Instance& instance : response.instances()) {
      const bool shadow = instance.role() == v1::INSTANCE_ROLE_SHADOW;
      const bool exited = instance.state() == v1::INSTANCE_STATE_EXITED;
      if (shadow && !exited) report.instances.push_back(instance.id());
    }
    engine_.Tell(std::move(report));
    const std::lock_guard lock(mutex_);
    asked_[cell] = false;
  }

  const std::vector<CellConfig> cells_;
  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
  Engine& engine_;
  std::vector<std::unique_ptr<v1::CellController::Stub>> stubs_;  // [cell], null = no agent
  std::mutex mutex_;
  std::vector<bool> asked_;  // [cell]
  // Bounded by what it holds: one question a cell, and the open actions, each of which is started
  // once and answered before it is repeated (at most two a shadow, of plan.shadows_max). What waits
  // at the end of the process is intended in the log and begins anew at the next start.
  WorkQueue queue_{kThreads};
  std::vector<std::unique_ptr<CellWatch>> watches_;  // the first to go: what they tell may resume
};

}  // namespace

absl::StatusOr<std::unique_ptr<CellHands>> MakeCellFleet(const std::vector<CellConfig>& cells,
                                                         Engine& engine) {
  const security::Settings& s = engine.config().security;
  tls::ClientFiles files{s.agent_ca, "", "", s.agent_token_file};
  if (!s.agent_ca.empty()) {
    files.cert = s.tls_cert;
    files.key = s.tls_key;
  }
  const auto credentials = tls::MakeChannelCredentials(files, "security.agent_");
  if (!credentials.ok()) return credentials.status();
  return std::make_unique<CellFleet>(cells, *credentials, engine);
}

}  // namespace foreshadow::rpc
