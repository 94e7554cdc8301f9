// foreshadow-instance: a stand-in for a tenant's workload. Holds some memory and uses some CPU
// until it is told to stop.
#include <signal.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <vector>

namespace {

constexpr size_t kMemoryBytesMax = size_t{1} << 40;  // more is a mistake, not a stand-in

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

}  // namespace

int main(int argc, char** argv) {
  size_t memory_bytes = 0;
  double cpu = 0.001;
  CLI::App app("Holds memory and uses CPU until it is told to stop.");
  app.add_option("--memory-bytes", memory_bytes, "Memory to hold")
      ->check(CLI::Range(size_t{0}, kMemoryBytesMax))
      ->capture_default_str();
  app.add_option("--cpu", cpu, "Share of one core to use")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  std::signal(SIGTERM, [](int) { stopping = 1; });
  std::signal(SIGINT, [](int) { stopping = 1; });
  const std::vector<char> memory(memory_bytes, 1);
  while (stopping == 0) UseCpu(cpu);
  return 0;
}
