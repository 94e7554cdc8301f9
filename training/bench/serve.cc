#include "training/bench/serve.h"

#include <fmt/core.h>

#include <nlohmann/json.hpp>

#include "training/bench/print.h"

namespace foreshadow::training {
namespace {

constexpr double kPercents[] = {50, 90, 99, 99.9, 100};

}  // namespace

std::string ServeTable(const ServeResults& results) {
  std::string text = fmt::format(
      "{:<8} {:>9} {:>9} {:>7} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>10}\n", "", "offered/s",
      "answered", "failed", "p50 ms", "p90", "p99", "p99.9", "max", "late ms", "MB a call");
  for (const LoadResult& r : results.scenarios) {
    text += fmt::format("{:<8} {:>9.1f} {:>9.1f} {:>7}", r.name, r.offered_per_s, r.achieved_per_s,
                        r.failed);
    for (const double percent : kPercents) text += fmt::format(" {:>9.2f}", r.Percentile(percent));
    text += fmt::format(" {:>9.2f} {:>10.3f}\n", r.late_ms, r.bytes_per_call / 1e6);
  }
  for (const LoadResult& r : results.scenarios) {
    text += fmt::format("{:<8} {}, {} calls", r.name, r.what, r.calls);
    if (r.samples_per_s > 0)
      text += fmt::format(", {:.0f} samples/s acknowledged", r.samples_per_s);
    if (r.failed > 0) text += fmt::format("; first error: {}", r.first_error);
    text += "\n";
  }
  return text;
}

std::string ServeJson(const ServeResults& results) {
  const Machine machine = DescribeMachine(kernels::CpuOps());
  nlohmann::ordered_json json = {
      {"machine", {{"cpu", machine.cpu}, {"cores", machine.cores}, {"load", machine.load}}},
      {"server", results.server},
      {"accounts", results.accounts},
      {"step_ms", results.step_ms},
      {"scenarios", nlohmann::ordered_json::array()}};
  for (const LoadResult& r : results.scenarios) {
    nlohmann::ordered_json latency;
    for (const double percent : kPercents) {
      latency[percent == 100 ? "max" : fmt::format("p{:g}", percent)] = r.Percentile(percent);
    }
    json["scenarios"].push_back({{"name", r.name},
                                 {"what", r.what},
                                 {"calls", r.calls},
                                 {"failed", r.failed},
                                 {"offered_per_s", r.offered_per_s},
                                 {"achieved_per_s", r.achieved_per_s},
                                 {"latency_ms", latency},
                                 {"late_ms", r.late_ms},
                                 {"bytes_per_call", r.bytes_per_call},
                                 {"samples_per_s", r.samples_per_s}});
  }
  return json.dump(2) + "\n";
}

absl::Status BenchServe(const ServeOptions& options, bool json) {
  const auto results = RunServe(options);
  if (!results.ok()) return results.status();
  if (!json) {
    const Machine machine = DescribeMachine(kernels::CpuOps());
    fmt::print("{} x {}, load {:.1f} before; {} accounts, step {} s, server {}\n\n", machine.cores,
               machine.cpu, machine.load, results->accounts, results->step_ms / 1'000,
               results->server);
  }
  fmt::print("{}", json ? ServeJson(*results) : ServeTable(*results));
  for (const LoadResult& r : results->scenarios) {
    if (r.failed == 0) continue;
    return absl::InternalError(
        fmt::format("{} of {} calls of {} failed: {}", r.failed, r.calls, r.name, r.first_error));
  }
  return absl::OkStatus();
}

}  // namespace foreshadow::training
