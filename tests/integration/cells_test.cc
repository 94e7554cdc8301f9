// foreshadowd with real foreshadow-cell agents: shadows are processes of the operating system.
#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <memory>
#include <thread>

#include "foreshadow/v1/cell.grpc.pb.h"
#include "tests/integration/running_server.h"
#include "tests/integration/story.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using testing::ConfigText;
using testing::IsSharing;
using testing::Process;
using testing::ReadFile;
using testing::RunningServer;
using testing::Story;
using testing::TemporaryFolder;

// A foreshadow-cell whose instances are sleeping processes; they end with the test.
class RunningAgent {
 public:
  RunningAgent(const std::string& folder, const std::string& cell) : folder_(folder), cell_(cell) {
    Start("127.0.0.1:0");
  }
  ~RunningAgent() {
    for (const auto& [id, instance] : List()) {
      v1::DestroyInstanceRequest request;
      request.set_id(id);
      v1::DestroyInstanceResponse response;
      grpc::ClientContext context;
      stub_->DestroyInstance(&context, request, &response);
    }
  }

  const std::string& address() const { return address_; }

  void KillAtOnce() {
    process_->Signal(SIGKILL);
    process_->Wait();
  }
  void StartAgain() { Start(address_); }

  std::map<std::string, v1::Instance> List() const {
    v1::ListInstancesResponse response;
    grpc::ClientContext context;
    const grpc::Status status = stub_->ListInstances(&context, {}, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    std::map<std::string, v1::Instance> instances;
    for (const v1::Instance& instance : response.instances()) instances[instance.id()] = instance;
    return instances;
  }

 private:
  void Start(const std::string& listen) {
    const std::string port_file = folder_ + "/port-" + cell_;
    unlink(port_file.c_str());
    process_ = std::make_unique<Process>(
        std::vector<std::string>{std::string(FORESHADOW_BIN_DIR) + "/foreshadow-cell", "--cell",
                                 cell_, "--state-dir", folder_ + "/state-" + cell_, "--listen",
                                 listen, "--port-file", port_file, "--", "/bin/sleep", "600"},
        folder_ + "/log-" + cell_);
    while (ReadFile(port_file).empty() && !process_->Ended()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ASSERT_FALSE(process_->Ended()) << process_->Output();
    address_ = "127.0.0.1:" + std::to_string(std::stoi(ReadFile(port_file)));
    stub_ = v1::CellController::NewStub(
        grpc::CreateChannel(address_, grpc::InsecureChannelCredentials()));
  }

  std::string folder_;
  std::string cell_;
  std::string address_;
  std::unique_ptr<Process> process_;
  std::unique_ptr<v1::CellController::Stub> stub_;
};

TEST(Cells, ShadowsAreProcessesThatOutliveTheirAgent) {
  const TemporaryFolder folder;
  RunningAgent a(folder.path(), "a");
  RunningAgent b(folder.path(), "b");
  RunningServer server(folder.path(), ConfigText(folder.path(), a.address(), b.address()));
  const Story story;
  ASSERT_TRUE(server.Put(story.Accounts()).ok());
  const v1::Plan plan = story.Play(server, 0, 172).back();
  ASSERT_TRUE(IsSharing(plan)) << plan.DebugString();
  EXPECT_TRUE(a.List().empty());
  const auto before = b.List();
  int sharing_count = 0;
  for (const v1::Shadow& shadow : plan.shadows()) {
    if (shadow.state() != v1::SHADOW_STATE_SHARING) continue;
    ++sharing_count;
    ASSERT_TRUE(before.contains(shadow.instance_id()));
    const v1::Instance& instance = before.at(shadow.instance_id());
    EXPECT_EQ(instance.state(), v1::INSTANCE_STATE_RUNNING);
    EXPECT_EQ(kill(instance.pid(), 0), 0) << "its process exists";
  }
  EXPECT_GT(sharing_count, 0);

  b.KillAtOnce();
  story.Play(server, 172, 173);  // this tick asks, the next one knows
  EXPECT_EQ(story.Play(server, 173, 174).back().cells(1).state(), v1::CELL_STATE_DOWN);
  b.StartAgain();
  // The client's channel comes back after a pause of its own, at most a few seconds.
  v1::CellState state = v1::CELL_STATE_DOWN;
  int step = 174;
  while (state == v1::CELL_STATE_DOWN && step < 400) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    state = story.Play(server, step, step + 1).back().cells(1).state();
    ++step;
  }
  EXPECT_EQ(state, v1::CELL_STATE_UP);
  for (const auto& [id, instance] : b.List()) {
    if (!before.contains(id)) continue;
    EXPECT_EQ(instance.pid(), before.at(id).pid()) << id;
  }
}

}  // namespace
}  // namespace foreshadow
