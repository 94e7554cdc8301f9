#include "training/demo/running.h"

#include <fmt/core.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <fstream>

#include "foreshadow/v1/cell.grpc.pb.h"

namespace foreshadow::training {
namespace fs = std::filesystem;

fs::path ProgramFolder() { return fs::read_symlink("/proc/self/exe").parent_path(); }

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "foreshadow-demo-XXXXXX").string();
  if (mkdtemp(name.data()) != nullptr) path = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  if (!path.empty()) fs::remove_all(path, ignored);
}

Running::~Running() {
  server.reset();
  for (const std::string& agent : agent_addresses) {
    const auto stub =
        v1::CellController::NewStub(grpc::CreateChannel(agent, grpc::InsecureChannelCredentials()));
    v1::ListInstancesResponse list;
    grpc::ClientContext context;
    stub->ListInstances(&context, {}, &list);
    for (const v1::Instance& instance : list.instances()) {
      v1::DestroyInstanceRequest request;
      request.set_id(instance.id());
      request.set_grace_ms(500);
      v1::DestroyInstanceResponse response;
      grpc::ClientContext destroy;
      stub->DestroyInstance(&destroy, request, &response);
    }
  }
}

absl::Status StartAgents(const std::vector<AgentSpec>& agents, const std::string& folder,
                         Running& running) {
  const fs::path bin = ProgramFolder();
  for (const AgentSpec& spec : agents) {
    const std::string base = folder + "/" + spec.cell;
    std::vector<std::string> command = {(bin / "foreshadow-cell").string(),
                                        "--cell",
                                        spec.cell,
                                        "--state-dir",
                                        base,
                                        "--listen",
                                        "127.0.0.1:0",
                                        "--port-file",
                                        base + ".port",
                                        "--cpu-cores",
                                        fmt::format("{}", spec.cpu_cores),
                                        "--memory-bytes",
                                        fmt::format("{}", spec.memory_bytes),
                                        "--",
                                        (bin / "foreshadow-instance").string()};
    command.insert(command.end(), spec.instance_flags.begin(), spec.instance_flags.end());
    auto agent = ChildProcess::Start(command, base + ".log");
    if (!agent.ok()) return agent.status();
    running.agents.push_back(*std::move(agent));
  }
  for (size_t i = 0; i < agents.size(); ++i) {
    const auto port = running.agents[i].WaitForPort(folder + "/" + agents[i].cell + ".port");
    if (!port.ok()) return port.status();
    running.agent_addresses.push_back(fmt::format("127.0.0.1:{}", *port));
  }
  return absl::OkStatus();
}

absl::Status StartServer(const std::string& config, const std::string& folder, Running& running) {
  const std::string file = folder + "/foreshadowd.toml";
  std::ofstream(file) << config;
  auto server = ChildProcess::Start(
      {(ProgramFolder() / "foreshadowd").string(), "--config", file, "--port-file",
       folder + "/server.port", "--xds-port-file", folder + "/xds.port"},
      folder + "/server.log");
  if (!server.ok()) return server.status();
  running.server.emplace(*std::move(server));
  const auto port = running.server->WaitForPort(folder + "/server.port");
  if (!port.ok()) return port.status();
  running.address = fmt::format("127.0.0.1:{}", *port);
  // Written before the other, or never.
  if (int xds_port = 0; std::ifstream(folder + "/xds.port") >> xds_port) {
    running.xds_address = fmt::format("127.0.0.1:{}", xds_port);
  }
  return absl::OkStatus();
}

}  // namespace foreshadow::training
