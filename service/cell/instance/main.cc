// foreshadow-instance: a stand-in for a tenant's workload. Serves requests over gRPC and HTTP with
// a latency that follows its load and its share of the cores, holds some memory and uses some CPU
// until it is told to stop.
#include <fmt/core.h>
#include <signal.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <vector>

#include "service/cell/instance/serve.h"

namespace foreshadow::cell {
namespace {

constexpr size_t kMemoryBytesMax = size_t{1} << 40;  // more is a mistake, not a stand-in
constexpr double kCoresMax = 1'024;

volatile std::sig_atomic_t stopping = 0;

// Works for its share of each tenth of a second, sleeps for the rest.
void UseCpu(double cores) {
  constexpr auto kSlice = std::chrono::milliseconds(100);
  const auto start = std::chrono::steady_clock::now();
  while (std::chrono::steady_clock::now() - start < kSlice * cores) {
  }
  const timespec rest{0, static_cast<long>(100'000'000 * (1 - cores))};
  nanosleep(&rest, nullptr);
}

struct Flags {
  size_t memory_bytes = 0;
  double cpu = 0.001;
  ServeOptions serve;
  StationOptions station;
};

void AddOptions(CLI::App& app, Flags& flags) {
  app.add_option("--memory-bytes", flags.memory_bytes, "Memory to hold")
      ->check(CLI::Range(size_t{0}, kMemoryBytesMax))
      ->capture_default_str();
  app.add_option("--cpu", flags.cpu, "Share of one core to use besides")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--id", flags.serve.id, "Its name, told in each answer");
  app.add_option("--cell", flags.serve.cell, "Its cell, told in each answer");
  app.add_option("--host", flags.serve.host, "IP address to serve on")->capture_default_str();
  app.add_option("--grpc-port", flags.serve.grpc_port, "Serve gRPC there; 0 = not")
      ->check(CLI::Range(0, 65'535))
      ->capture_default_str();
  app.add_option("--http-port", flags.serve.http_port, "Serve HTTP there; 0 = not")
      ->check(CLI::Range(0, 65'535))
      ->capture_default_str();
  StationOptions& station = flags.station;
  app.add_option("--cores", station.cores, "Cores that requests share")
      ->check(CLI::Range(0.001, kCoresMax))
      ->capture_default_str();
  app.add_option("--work-ms", station.work_ms, "Mean work of a request on one core")
      ->check(CLI::Range(0.001, 10'000.0))
      ->capture_default_str();
  app.add_option("--waiting-max", station.waiting_max, "Requests that may wait; more are shed")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_option("--cold-factor", station.cold_factor, "How much longer the first request takes")
      ->check(CLI::Range(1.0, 1'000.0))
      ->capture_default_str();
  app.add_option("--warm-requests", station.warm_requests, "Requests until it is warm")
      ->check(CLI::Range(0, 1'000'000'000))
      ->capture_default_str();
  app.add_option("--seed", station.seed, "Of the work's randomness")->capture_default_str();
}

int Run(const Flags& flags) {
  std::signal(SIGTERM, [](int) { stopping = 1; });
  std::signal(SIGINT, [](int) { stopping = 1; });
  Station station(flags.station);
  std::unique_ptr<Doors> doors;
  if (flags.serve.grpc_port != 0 || flags.serve.http_port != 0) {
    auto opened = Doors::Open(flags.serve, station);
    if (!opened.ok()) {
      fmt::print(stderr, "foreshadow-instance: {}\n", std::string(opened.status().message()));
      return 1;
    }
    doors = *std::move(opened);
  }
  const std::vector<char> memory(flags.memory_bytes, 1);
  while (stopping == 0) UseCpu(flags.cpu);
  return 0;
}

}  // namespace
}  // namespace foreshadow::cell

int main(int argc, char** argv) {
  foreshadow::cell::Flags flags;
  CLI::App app("Serves requests, holds memory and uses CPU until it is told to stop.");
  foreshadow::cell::AddOptions(app, flags);
  CLI11_PARSE(app, argc, argv);
  return foreshadow::cell::Run(flags);
}
