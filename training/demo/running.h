// The agents and the server of one run of the demo: started, told apart by folder, ended for sure.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "training/demo/processes.h"

namespace foreshadow::training {

// Of this program; the others are beside it.
std::filesystem::path ProgramFolder();

// A folder of the run's own that goes with it; "" = none could be made.
struct TemporaryFolder {
  std::string path;

  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
};

struct AgentSpec {
  std::string cell;
  double cpu_cores = 0;
  double memory_bytes = 0;
  std::vector<std::string> instance_flags;  // of foreshadow-instance; see foreshadow-cell --help
};

struct Running {
  std::vector<ChildProcess> agents;
  std::vector<std::string> agent_addresses;  // in the order of the agents
  std::optional<ChildProcess> server;
  std::string address;
  std::string xds_address;  // "" = it has none

  Running() = default;
  ~Running();  // instances outlive their agents, so they are told to go before these end
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;
};

// All in one folder. An error tells the end of the log of what did not start.
absl::Status StartAgents(const std::vector<AgentSpec>& agents, const std::string& folder,
                         Running& running);
absl::Status StartServer(const std::string& config, const std::string& folder, Running& running);

}  // namespace foreshadow::training
