// A cell's agent in this process that keeps instances in a map: what the engine asks for can be
// looked at, and it can be made to fail.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "foreshadow/v1/cell.grpc.pb.h"

namespace foreshadow::testing {

class FakeCell : public v1::CellController::Service {
 public:
  FakeCell() { Serve("127.0.0.1:0"); }
  ~FakeCell() override {
    if (server_ != nullptr) server_->Shutdown();
  }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

  // As if the agent had died: its instances are still there when it comes back.
  void Die() {
    server_->Shutdown();
    server_.reset();
  }
  void ComeBack() { Serve(address()); }

  std::map<std::string, v1::Instance> instances() const {
    const std::lock_guard lock(mutex_);
    return instances_;
  }
  int creates_count() const { return creates_count_; }  // calls, repeated ones included
  // Accounts whose primaries are fenced, and by which epoch.
  std::map<std::string, uint64_t> fences() const {
    const std::lock_guard lock(mutex_);
    return fences_;
  }
  std::atomic<bool> lifts_fences = true;
  std::atomic<bool> promotes = true;

  grpc::Status CreateInstance(grpc::ServerContext*, const v1::CreateInstanceRequest* request,
                              v1::Instance* response) override {
    const std::lock_guard lock(mutex_);
    ++creates_count_;
    v1::Instance& instance = instances_[request->id()];
    instance.set_id(request->id());
    instance.set_account_id(request->account_id());
    instance.set_role(request->role());
    instance.set_state(request->paused() ? v1::INSTANCE_STATE_PAUSED : v1::INSTANCE_STATE_RUNNING);
    *response = instance;
    return grpc::Status::OK;
  }

  grpc::Status ResumeInstance(grpc::ServerContext*, const v1::ResumeInstanceRequest* request,
                              v1::Instance* response) override {
    return Enter(request->id(), v1::INSTANCE_STATE_RUNNING, response);
  }

  grpc::Status PauseInstance(grpc::ServerContext*, const v1::PauseInstanceRequest* request,
                             v1::Instance* response) override {
    return Enter(request->id(), v1::INSTANCE_STATE_PAUSED, response);
  }

  grpc::Status DestroyInstance(grpc::ServerContext*, const v1::DestroyInstanceRequest* request,
                               v1::DestroyInstanceResponse*) override {
    const std::lock_guard lock(mutex_);
    instances_.erase(request->id());
    return grpc::Status::OK;
  }

  grpc::Status PromoteInstance(grpc::ServerContext*, const v1::PromoteInstanceRequest* request,
                               v1::Instance* response) override {
    if (!promotes) return {grpc::StatusCode::FAILED_PRECONDITION, "it will not"};
    const std::lock_guard lock(mutex_);
    instances_[request->id()].set_role(v1::INSTANCE_ROLE_PRIMARY);
    *response = instances_[request->id()];
    return grpc::Status::OK;
  }

  grpc::Status FencePrimary(grpc::ServerContext*, const v1::FencePrimaryRequest* request,
                            v1::FencePrimaryResponse*) override {
    if (request->lift() && !lifts_fences) return {grpc::StatusCode::UNAVAILABLE, "not now"};
    const std::lock_guard lock(mutex_);
    if (!request->lift()) {
      fences_[request->account_id()] = request->epoch();
    } else if (const auto it = fences_.find(request->account_id());
               it != fences_.end() && it->second == request->epoch()) {
      fences_.erase(it);
    }
    return grpc::Status::OK;
  }

  grpc::Status ListInstances(grpc::ServerContext*, const v1::ListInstancesRequest*,
                             v1::ListInstancesResponse* response) override {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, instance] : instances_) *response->add_instances() = instance;
    return grpc::Status::OK;
  }

 private:
  void Serve(const std::string& address) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port_);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
  }

  grpc::Status Enter(const std::string& id, v1::InstanceState state, v1::Instance* response) {
    const std::lock_guard lock(mutex_);
    const auto it = instances_.find(id);
    if (it == instances_.end()) return {grpc::StatusCode::NOT_FOUND, "no instance " + id};
    it->second.set_state(state);
    *response = it->second;
    return grpc::Status::OK;
  }

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
  mutable std::mutex mutex_;
  std::map<std::string, v1::Instance> instances_;
  std::map<std::string, uint64_t> fences_;
  std::atomic<int> creates_count_ = 0;
};

}  // namespace foreshadow::testing
