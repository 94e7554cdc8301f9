// The real agent over a real socket, with real processes as instances.
#include <fmt/core.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <thread>

#include "foreshadow/v1/cell.grpc.pb.h"
#include "tests/integration/process.h"

namespace foreshadow::testing {
namespace {

namespace fs = std::filesystem;

// An agent over `folder`; its instances write a line to FOLDER/ran-ID when their command really
// runs.
class Agent {
 public:
  explicit Agent(const std::string& folder, const std::vector<std::string>& flags = {},
                 const std::string& script = "echo {account} >> ran-{id}; exec sleep 1000")
      : folder_(folder) {
    const std::string port_file = folder + "/port";
    fs::remove(port_file);
    std::vector<std::string> command = {std::string(FORESHADOW_BIN_DIR) + "/foreshadow-cell",
                                        "--cell",
                                        "cell-1",
                                        "--state-dir",
                                        folder + "/state",
                                        "--listen",
                                        "127.0.0.1:0",
                                        "--port-file",
                                        port_file};
    command.insert(command.end(), flags.begin(), flags.end());
    command.insert(command.end(), {"--", "/bin/sh", "-c", "cd " + folder + "; " + script});
    process_ = std::make_unique<Process>(command, folder + "/log");
    while (ReadFile(port_file).empty() && !process_->Ended()) Pause(5);
    EXPECT_FALSE(process_->Ended()) << process_->Output();
    stub_ = v1::CellController::NewStub(grpc::CreateChannel(
        "127.0.0.1:" + ReadFile(port_file).substr(0, ReadFile(port_file).find('\n')),
        grpc::InsecureChannelCredentials()));
  }

  static void Pause(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

  grpc::Status Create(const std::string& id, bool paused, v1::Instance* instance, double cores = 1,
                      const std::string& account = "acme") {
    v1::CreateInstanceRequest request;
    request.set_id(id);
    request.set_account_id(account);
    request.set_role(v1::INSTANCE_ROLE_SHADOW);
    request.set_paused(paused);
    request.mutable_reserved()->set_cpu_cores(cores);
    grpc::ClientContext context;
    return stub_->CreateInstance(&context, request, instance);
  }
  grpc::Status Resume(const std::string& id, v1::Instance* instance) {
    v1::ResumeInstanceRequest request;
    request.set_id(id);
    grpc::ClientContext context;
    return stub_->ResumeInstance(&context, request, instance);
  }
  grpc::Status PauseInstance(const std::string& id, v1::Instance* instance) {
    v1::PauseInstanceRequest request;
    request.set_id(id);
    grpc::ClientContext context;
    return stub_->PauseInstance(&context, request, instance);
  }
  grpc::Status Destroy(const std::string& id, int64_t grace_ms = 1'000) {
    v1::DestroyInstanceRequest request;
    request.set_id(id);
    request.set_grace_ms(grace_ms);
    v1::DestroyInstanceResponse response;
    grpc::ClientContext context;
    return stub_->DestroyInstance(&context, request, &response);
  }
  std::vector<v1::Instance> List() {
    v1::ListInstancesResponse response;
    grpc::ClientContext context;
    EXPECT_TRUE(stub_->ListInstances(&context, {}, &response).ok());
    return {response.instances().begin(), response.instances().end()};
  }

  int Kill(int signal) {
    process_->Signal(signal);
    return process_->Wait();
  }
  bool Ran(const std::string& id) const { return fs::exists(folder_ + "/ran-" + id); }
  // Waits for the line: the shell makes the file a moment before it writes there.
  bool WaitUntilRan(const std::string& id) const {
    const auto written = [&] { return ReadFile(folder_ + "/ran-" + id).ends_with('\n'); };
    for (int i = 0; i < 1'000 && !written(); ++i) Pause(5);
    return written();
  }

 private:
  std::string folder_;
  std::unique_ptr<Process> process_;
  std::unique_ptr<v1::CellController::Stub> stub_;
};

// Processes that carry the agent's mark of that state folder: what really runs.
std::vector<pid_t> Marked(const std::string& folder) {
  const std::string mark = "FORESHADOW_INSTANCE=" + fs::canonical(folder + "/state").string() + ":";
  std::vector<pid_t> pids;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "environ", std::ios::binary);
    std::ostringstream text;
    text << file.rdbuf();
    if (text.str().find(mark) != std::string::npos) pids.push_back(std::stoi(name));
  }
  return pids;
}

// A process has no environment for a moment while it becomes another program: looks until they
// agree.
size_t MarkedCount(const std::string& folder, size_t expected) {
  size_t count = Marked(folder).size();
  for (int i = 0; i < 200 && count != expected; ++i) {
    Agent::Pause(5);
    count = Marked(folder).size();
  }
  return count;
}

char StateOf(pid_t pid) {
  const std::string stat = ReadFile(fmt::format("/proc/{}/stat", pid));
  const size_t name_end = stat.rfind(')');
  return name_end == std::string::npos ? '-' : stat[name_end + 2];
}

class CellAgent : public ::testing::Test {
 protected:
  CellAgent() {
    std::string name = "/tmp/foreshadow-cell-test-XXXXXX";
    folder = mkdtemp(name.data());
  }
  ~CellAgent() override {
    if (fs::exists(folder + "/state")) {
      for (const pid_t pid : Marked(folder)) kill(pid, SIGKILL);
    }
    fs::remove_all(folder);
  }
  std::string folder;
};

TEST_F(CellAgent, CreatesPausedResumesPausesDestroys) {
  Agent agent(folder);
  v1::Instance instance;
  ASSERT_TRUE(agent.Create("s-1", true, &instance).ok());
  EXPECT_EQ(instance.state(), v1::INSTANCE_STATE_PAUSED);
  EXPECT_EQ(StateOf(instance.pid()), 'T');
  Agent::Pause(100);
  EXPECT_FALSE(agent.Ran("s-1"));  // not one instruction of the command yet

  ASSERT_TRUE(agent.Resume("s-1", &instance).ok());
  EXPECT_EQ(instance.state(), v1::INSTANCE_STATE_RUNNING);
  EXPECT_TRUE(agent.WaitUntilRan("s-1"));
  EXPECT_EQ(ReadFile(folder + "/ran-s-1"), "acme\n");

  ASSERT_TRUE(agent.PauseInstance("s-1", &instance).ok());
  EXPECT_EQ(StateOf(instance.pid()), 'T');
  const std::vector<v1::Instance> list = agent.List();
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0].state(), v1::INSTANCE_STATE_PAUSED);
  EXPECT_GT(list[0].memory_bytes(), 0u);
  EXPECT_EQ(list[0].role(), v1::INSTANCE_ROLE_SHADOW);

  EXPECT_TRUE(agent.Destroy("s-1").ok());
  EXPECT_TRUE(agent.List().empty());
  EXPECT_EQ(StateOf(instance.pid()), '-');
  EXPECT_TRUE(agent.Destroy("s-1").ok());  // again: nothing to do
}

TEST_F(CellAgent, RepeatedCallsChangeNothing) {
  Agent agent(folder);
  v1::Instance first;
  v1::Instance second;
  ASSERT_TRUE(agent.Create("s-1", false, &first).ok());
  ASSERT_TRUE(agent.Create("s-1", true, &second).ok());
  EXPECT_EQ(first.pid(), second.pid());
  EXPECT_EQ(agent.Create("s-1", true, &second, 2).error_code(), grpc::StatusCode::ALREADY_EXISTS);
  ASSERT_TRUE(agent.Resume("s-1", &second).ok());
  ASSERT_TRUE(agent.Resume("s-1", &second).ok());
  EXPECT_EQ(MarkedCount(folder, 1), 1u);
}

TEST_F(CellAgent, RefusesBadInputByName) {
  Agent agent(folder, {"--cpu-cores", "2"});
  v1::Instance instance;
  grpc::Status status = agent.Create("../x", true, &instance);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("id = \"../x\""), std::string::npos);
  status = agent.Create("s-1", true, &instance, -1);
  EXPECT_NE(status.error_message().find("reserved.cpu_cores = -1"), std::string::npos);
  ASSERT_TRUE(agent.Create("s-1", true, &instance, 1.5).ok());
  status = agent.Create("s-2", true, &instance, 1);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_NE(status.error_message().find("0.5 free"), std::string::npos);
  EXPECT_EQ(agent.Resume("s-9", &instance).error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(agent.List().size(), 1u);
}

TEST_F(CellAgent, AnInstanceThatEndsIsListedWithItsCode) {
  Agent agent(folder);
  v1::Instance instance;
  ASSERT_TRUE(agent.Create("s-1", false, &instance).ok());
  ASSERT_TRUE(agent.WaitUntilRan("s-1"));
  kill(instance.pid(), SIGKILL);
  for (int i = 0; i < 400 && agent.List()[0].state() != v1::INSTANCE_STATE_EXITED; ++i) {
    Agent::Pause(5);
  }
  EXPECT_EQ(agent.List()[0].state(), v1::INSTANCE_STATE_EXITED);
  EXPECT_EQ(agent.List()[0].exit_code(), 128 + SIGKILL);
  EXPECT_EQ(agent.Resume("s-1", &instance).error_code(), grpc::StatusCode::FAILED_PRECONDITION);
  EXPECT_TRUE(agent.Destroy("s-1").ok());
}

TEST_F(CellAgent, InstancesOutliveTheirAgent) {
  pid_t running = 0;
  pid_t paused = 0;
  {
    Agent agent(folder);
    v1::Instance instance;
    ASSERT_TRUE(agent.Create("s-run", false, &instance).ok());
    running = instance.pid();
    ASSERT_TRUE(agent.WaitUntilRan("s-run"));
    ASSERT_TRUE(agent.Create("s-paused", true, &instance).ok());
    paused = instance.pid();
    agent.Kill(SIGKILL);
  }
  EXPECT_EQ(StateOf(running), 'S');
  EXPECT_EQ(StateOf(paused), 'T');
  Agent agent(folder);
  const std::vector<v1::Instance> list = agent.List();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].pid(), paused);
  EXPECT_EQ(list[0].state(), v1::INSTANCE_STATE_PAUSED);
  EXPECT_EQ(list[1].pid(), running);
  EXPECT_EQ(list[1].state(), v1::INSTANCE_STATE_RUNNING);
  v1::Instance instance;
  EXPECT_TRUE(agent.Resume("s-paused", &instance).ok());
  EXPECT_TRUE(agent.WaitUntilRan("s-paused"));
  EXPECT_TRUE(agent.Destroy("s-run").ok());
  EXPECT_TRUE(agent.Destroy("s-paused").ok());
  EXPECT_EQ(MarkedCount(folder, 0), 0u);
}

// Killed at any moment of creating, the agent comes back with each instance that it told of, once;
// asking again for the one that was under way gives exactly one process.
TEST_F(CellAgent, KilledWhileCreatingItNeitherLosesNorDoubles) {
  std::mt19937 random(1);
  std::vector<std::string> told;
  int next = 0;
  for (int round = 0; round < 25; ++round) {
    Agent agent(folder);
    ASSERT_EQ(agent.List().size(), told.size());  // connected before the clock starts
    v1::Instance first;
    told.push_back(fmt::format("s-{}", next++));  // however busy the machine, one is there
    ASSERT_TRUE(agent.Create(told.back(), true, &first).ok());
    std::thread killer([&agent, after_us = random() % 80'000] {
      std::this_thread::sleep_for(std::chrono::microseconds(after_us));
      agent.Kill(SIGKILL);
    });
    std::string under_way;
    while (true) {
      under_way = fmt::format("s-{}", next++);
      v1::Instance instance;
      if (!agent.Create(under_way, true, &instance).ok()) break;
      told.push_back(under_way);
    }
    killer.join();
    Agent again(folder);
    v1::Instance instance;
    ASSERT_TRUE(again.Create(under_way, true, &instance).ok());
    told.push_back(under_way);
    ASSERT_EQ(again.List().size(), told.size());
    ASSERT_EQ(MarkedCount(folder, told.size()), told.size());
    again.Kill(SIGKILL);
  }
}

// Killed at any moment of resuming and pausing, the agent comes back with what it was last asked
// for: what was told stays true, and asking again works.
TEST_F(CellAgent, KilledWhileSwitchingItKeepsWhatItTold) {
  std::mt19937 random(2);
  v1::Instance instance;
  {
    Agent agent(folder);
    ASSERT_TRUE(agent.Create("s-1", true, &instance).ok());
  }
  const pid_t pid = instance.pid();
  for (int round = 0; round < 15; ++round) {
    Agent agent(folder);
    ASSERT_EQ(agent.List().size(), 1u);
    std::thread killer([&agent, after_us = random() % 30'000] {
      std::this_thread::sleep_for(std::chrono::microseconds(after_us));
      agent.Kill(SIGKILL);
    });
    bool run = false;
    while ((run ? agent.Resume("s-1", &instance) : agent.PauseInstance("s-1", &instance)).ok()) {
      EXPECT_EQ(instance.state(), run ? v1::INSTANCE_STATE_RUNNING : v1::INSTANCE_STATE_PAUSED);
      run = !run;
    }
    killer.join();
    Agent again(folder);
    ASSERT_TRUE(
        (run ? again.Resume("s-1", &instance) : again.PauseInstance("s-1", &instance)).ok());
    EXPECT_EQ(instance.state(), run ? v1::INSTANCE_STATE_RUNNING : v1::INSTANCE_STATE_PAUSED);
    EXPECT_EQ(instance.pid(), pid);
    again.Kill(SIGKILL);
  }
}

TEST_F(CellAgent, KilledWhileDestroyingItLeavesNothingBehind) {
  std::mt19937 random(3);
  for (int round = 0; round < 15; ++round) {
    Agent agent(folder);
    v1::Instance instance;
    ASSERT_TRUE(agent.Create("s-1", round % 2 == 0, &instance).ok());
    std::thread killer([&agent, after_us = random() % 10'000] {
      std::this_thread::sleep_for(std::chrono::microseconds(after_us));
      agent.Kill(SIGKILL);
    });
    agent.Destroy("s-1");
    killer.join();
    Agent again(folder);
    EXPECT_TRUE(again.Destroy("s-1").ok());
    EXPECT_TRUE(again.List().empty());
    EXPECT_EQ(MarkedCount(folder, 0), 0u);
  }
}

// The agent ended between writing the pid and starting the command: what was asked for is a
// running instance, so a running instance it becomes.
TEST_F(CellAgent, ARestartBringsAnInstanceToTheStateAskedFor) {
  v1::Instance instance;
  {
    Agent agent(folder);
    ASSERT_TRUE(agent.Create("s-1", false, &instance).ok());
    ASSERT_TRUE(agent.WaitUntilRan("s-1"));
    agent.Kill(SIGKILL);
  }
  kill(instance.pid(), SIGSTOP);
  Agent agent(folder);
  ASSERT_TRUE(agent.Create("s-1", false, &instance).ok());
  for (int i = 0; i < 400 && StateOf(instance.pid()) == 'T'; ++i) Agent::Pause(5);
  EXPECT_EQ(agent.List()[0].state(), v1::INSTANCE_STATE_RUNNING);
}

TEST_F(CellAgent, StoppedByRequestItLeavesItsInstances) {
  v1::Instance instance;
  {
    Agent agent(folder);
    ASSERT_TRUE(agent.Create("s-1", false, &instance).ok());
    EXPECT_EQ(agent.Kill(SIGTERM), 0);
  }
  EXPECT_NE(StateOf(instance.pid()), '-');
  Agent agent(folder);
  ASSERT_EQ(agent.List().size(), 1u);
  EXPECT_EQ(agent.List()[0].pid(), instance.pid());
}

// A command that hears no SIGTERM, and a child of it that has left its group: both end.
TEST_F(CellAgent, DestroyEndsAllThatTheInstanceHasStarted) {
  Agent agent(folder, {}, "trap '' TERM; setsid sleep 1000 & echo {account} >> ran-{id}; wait");
  v1::Instance instance;
  ASSERT_TRUE(agent.Create("s-1", false, &instance).ok());
  ASSERT_TRUE(agent.WaitUntilRan("s-1"));
  ASSERT_EQ(MarkedCount(folder, 2), 2u);
  EXPECT_TRUE(agent.Destroy("s-1", 100).ok());
  EXPECT_EQ(MarkedCount(folder, 0), 0u);
}

TEST_F(CellAgent, AnExitCodeOutlivesTheAgent) {
  v1::Instance instance;
  {
    Agent agent(folder, {}, "echo >> ran-{id}; exit 7");
    ASSERT_TRUE(agent.Create("s-1", false, &instance).ok());
    v1::Instance told;
    for (int i = 0; i < 50'000 && told.state() != v1::INSTANCE_STATE_EXITED; ++i) {
      told = agent.List()[0];
    }
    EXPECT_EQ(told.exit_code(), 7) << "the first time that its end is told";
    agent.Kill(SIGKILL);
  }
  Agent agent(folder);
  ASSERT_EQ(agent.List().size(), 1u);
  EXPECT_EQ(agent.List()[0].state(), v1::INSTANCE_STATE_EXITED);
  EXPECT_EQ(agent.List()[0].exit_code(), 7);
}

TEST_F(CellAgent, PlaceholdersAreReplacedOnceWithoutAShell) {
  Agent agent(folder, {}, "echo {cell} {account} {cpu_cores} > ran-{id}; exec sleep 1000");
  v1::Instance instance;
  ASSERT_TRUE(agent.Create("s-1", false, &instance, 1.5, "'{id}'").ok());
  ASSERT_TRUE(agent.WaitUntilRan("s-1"));
  EXPECT_EQ(ReadFile(folder + "/ran-s-1"), "cell-1 {id} 1.5\n");
}

TEST_F(CellAgent, AWrongFlagIsNamed) {
  struct Case {
    std::vector<std::string> flags;
    std::string command;
    int code;
    std::string told;
  };
  const Case cases[] = {
      {{"--cpu-cores", "nan"}, "/bin/true", 2, "--cpu-cores: nan: must be 0 .. 1e+18"},
      {{"--memory-bytes", "-1"}, "/bin/true", 2, "--memory-bytes: -1: must be 0 .. 1e+18"},
      {{"--grace-ms", "600001"}, "/bin/true", 2, "--grace-ms"},
      {{"--cell", ""}, "/bin/true", 2, "--cell"},
      {{"--listen", "nonsense"}, "/bin/true", 1, "--listen nonsense cannot be bound"},
      {{"--state-dir", "/proc/none"}, "/bin/true", 1, "--state-dir /proc/none"},
      {{"--port-file", "/none/port"}, "/bin/true", 1, "--port-file /none/port"},
      {{}, "no-such-program", 1, "command no-such-program"},
  };
  for (const Case& c : cases) {
    std::vector<std::string> command = {std::string(FORESHADOW_BIN_DIR) + "/foreshadow-cell"};
    const std::pair<std::string, std::string> defaults[] = {
        {"--cell", "c"}, {"--state-dir", folder + "/state"}, {"--listen", "127.0.0.1:0"}};
    for (const auto& [flag, value] : defaults) {
      if (c.flags.empty() || c.flags[0] != flag) command.insert(command.end(), {flag, value});
    }
    command.insert(command.end(), c.flags.begin(), c.flags.end());
    command.insert(command.end(), {"--", c.command});
    fs::remove(folder + "/log");
    Process agent(command, folder + "/log");
    EXPECT_EQ(agent.Wait(), c.code) << c.told;
    EXPECT_NE(agent.Output().find(c.told), std::string::npos) << c.told << "\n" << agent.Output();
  }
}

TEST_F(CellAgent, ASecondAgentOnTheFolderIsRefused) {
  Agent agent(folder);
  Process second({std::string(FORESHADOW_BIN_DIR) + "/foreshadow-cell", "--cell", "cell-1",
                  "--state-dir", folder + "/state", "--listen", "127.0.0.1:0", "--", "/bin/true"},
                 folder + "/log2");
  EXPECT_EQ(second.Wait(), 1);
  EXPECT_NE(second.Output().find("another agent uses it"), std::string::npos);
}

}  // namespace
}  // namespace foreshadow::testing
