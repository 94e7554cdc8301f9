#include "training/cloudsim/cloudsim_command.h"

#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "training/cloudsim/centre.h"
#include "training/cloudsim/day.h"
#include "training/command.h"

namespace foreshadow::training::cloudsim {
namespace {

struct Options {
  std::vector<std::string> days;
  std::vector<std::string> policies = {"lr-plain", "thr"};
  int hosts = kHosts;
};

absl::Status Run(const Options& o) {
  fmt::print(
      "day,machines,hosts,policy,energy_kwh,migrations,otf,pdm,unserved,shutdowns,slav,esv\n");
  for (const std::string& path : o.days) {
    const auto day = ReadDay(path);
    if (!day.ok()) return day.status();
    for (const std::string& policy : o.policies) {
      const auto r = RunDay(*day, o.hosts, policy);
      if (!r.ok()) return r.status();
      fmt::print("{},{},{},{},{:.6f},{},{:.9f},{:.9f},{:.9f},{},{:.6e},{:.6e}\n",
                 std::filesystem::path(path).filename().string(), day->size(), o.hosts, policy,
                 r->energy_kwh, r->migrations, r->otf, r->pdm, r->unserved, r->shutdowns, r->slav(),
                 r->esv());
      std::fflush(stdout);
    }
  }
  return absl::OkStatus();
}

}  // namespace

void AddCloudsim(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App& command = *app.add_subcommand(
      "cloudsim",
      "The rules of `simulate` in the data centre of CloudSim 3.0.3's PlanetLab example: how far\n"
      "our figures are from those that others publish. docs/simulator.md compares them.");
  command
      .add_option(
          "days", o->days,
          "Days: a matrix (CSV, a row a machine: name and 288 percents), or a folder with a "
          "file of 288 percents a machine")
      ->required()
      ->check(CLI::ExistingPath);
  command
      .add_option("--policy", o->policies,
                  "thr, mad, iqr, lr, lr-plain (lr as CloudSim 3.0.3 has it), or another rule of "
                  "`simulate`; commas between")
      ->delimiter(',')
      ->capture_default_str();
  command.add_option("--hosts", o->hosts, "Hosts, HP ProLiant ML110 G4 and G5 in turn")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  SetRun(command, [o] { return Run(*o); });
}

}  // namespace foreshadow::training::cloudsim
