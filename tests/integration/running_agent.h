// A real foreshadow-cell whose instances are real foreshadow-instances that serve.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "foreshadow/v1/cell.grpc.pb.h"
#include "tests/integration/process.h"

namespace foreshadow::testing {

class RunningAgent {
 public:
  RunningAgent(const std::string& folder, const std::string& cell)
      : folder_(folder), cell_(cell), state_(folder + "/state-" + cell) {
    Start("127.0.0.1:0");
  }
  ~RunningAgent() {
    v1::ListInstancesResponse all = List();
    for (const v1::Instance& instance : all.instances()) kill(instance.pid(), SIGKILL);
  }

  // Its instances go on without it.
  void Kill() {
    process_->Signal(SIGKILL);
    process_->Wait();
  }
  // The machine is gone: the agent, and all that runs there.
  void Vanish() {
    const v1::ListInstancesResponse all = List();
    Kill();
    for (const v1::Instance& instance : all.instances()) kill(instance.pid(), SIGKILL);
  }
  void ComeBack() { Start(address_); }

  const std::string& address() const { return address_; }

  v1::Instance CreatePrimary(const std::string& account) {
    return Create("primary-" + account, account, v1::INSTANCE_ROLE_PRIMARY);
  }
  v1::Instance Create(const std::string& id, const std::string& account, v1::InstanceRole role) {
    v1::CreateInstanceRequest request;
    request.set_id(id);
    request.set_account_id(account);
    request.set_role(role);
    grpc::ClientContext context;
    v1::Instance instance;
    const grpc::Status status = stub->CreateInstance(&context, request, &instance);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return instance;
  }

  v1::ListInstancesResponse List() {
    grpc::ClientContext context;
    v1::ListInstancesResponse response;
    stub->ListInstances(&context, {}, &response);
    return response;
  }
  v1::Instance Find(const std::string& id) {
    const v1::ListInstancesResponse all = List();
    for (const v1::Instance& instance : all.instances()) {
      if (instance.id() == id) return instance;
    }
    return {};
  }
  bool WaitUntilServing(const std::string& id) {
    for (int i = 0; i < 2'000; ++i) {
      if (Find(id).serving()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return false;
  }

  std::unique_ptr<v1::CellController::Stub> stub;

 private:
  void Start(const std::string& listen) {
    const std::string port_file = state_ + ".port";
    std::filesystem::remove(port_file);
    const std::string bin = FORESHADOW_BIN_DIR;
    process_ = std::make_unique<Process>(std::vector<std::string>{bin + "/foreshadow-cell",
                                                                  "--cell",
                                                                  cell_,
                                                                  "--state-dir",
                                                                  state_,
                                                                  "--listen",
                                                                  listen,
                                                                  "--port-file",
                                                                  port_file,
                                                                  "--",
                                                                  bin + "/foreshadow-instance",
                                                                  "--id",
                                                                  "{id}",
                                                                  "--cell",
                                                                  "{cell}",
                                                                  "--host",
                                                                  "{host}",
                                                                  "--grpc-port",
                                                                  "{grpc_port}",
                                                                  "--http-port",
                                                                  "{http_port}",
                                                                  "--work-ms",
                                                                  "0.1",
                                                                  "--cores",
                                                                  "8",
                                                                  "--warm-requests",
                                                                  "0"},
                                         folder_ + "/agent-" + cell_ + ".log");
    while (ReadFile(port_file).empty() && !process_->Ended()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ASSERT_FALSE(process_->Ended()) << process_->Output();
    address_ = "127.0.0.1:" + std::to_string(std::stoi(ReadFile(port_file)));
    stub = v1::CellController::NewStub(
        grpc::CreateChannel(address_, grpc::InsecureChannelCredentials()));
  }

  const std::string folder_, cell_, state_;
  std::string address_;
  std::unique_ptr<Process> process_;
};

}  // namespace foreshadow::testing
