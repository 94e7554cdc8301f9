#include "training/bench/print.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace foreshadow::training {
namespace {

using Json = nlohmann::ordered_json;
using State = PeerReport::State;

#if defined(__clang__)
constexpr std::string_view kCompiler = "Clang " __VERSION__;
#else
constexpr std::string_view kCompiler = "GCC " __VERSION__;
#endif

std::string CpuModel() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const std::pair<std::string, std::string> field = absl::StrSplit(line, absl::MaxSplits(':', 1));
    if (absl::StripAsciiWhitespace(field.first) == "model name") {
      return std::string(absl::StripAsciiWhitespace(field.second));
    }
  }
  return "unknown CPU";
}

// What the figures of an operation follow from.
struct Rates {
  double series_per_s = 0;   // as the clock on the wall has it
  double per_core = 0;       // NaN on a GPU
  double ns_per_sample = 0;  // of one core, or of the GPU
};

Rates RatesOf(const BenchResults& results, const CaseResult& result) {
  const auto series = static_cast<double>(results.shape.series);
  const double busy_s = results.on_host ? result.timing.cpu_s : result.timing.wall_s;
  return {series / result.timing.wall_s,
          results.on_host ? series / result.timing.cpu_s : std::nan(""),
          1e9 * busy_s / (series * static_cast<double>(results.shape.steps))};
}

// How many times as fast as a peer's core one of ours is; on a GPU, all of it.
double Ratio(const BenchResults& results, const CaseResult& result, const PeerReport& peer) {
  const Rates rates = RatesOf(results, result);
  return (results.on_host ? rates.per_core : rates.series_per_s) / peer.series_per_s;
}

std::string_view Words(State state) {
  switch (state) {
    case State::kRan:
      return "ran";
    case State::kMissing:
      return "missing";
    case State::kUnfit:
      return "unfit";
    case State::kFailed:
      return "failed";
  }
  return "";
}

std::string Count(double value) {
  return std::isfinite(value) ? fmt::format("{:.{}f}", value, value < 100 ? 1 : 0) : "-";
}

void AddPeers(const BenchResults& results, std::string& text) {
  auto out = std::back_inserter(text);
  bool any = false;
  for (const CaseResult& result : results.cases) {
    for (const auto& [name, peer] : result.peers) {
      if (!any) {
        fmt::format_to(out, "\n{:<18} {:<14} {:>10} {:>10} {:>11}  {}\n", "operation", "peer",
                       "series/s", "ours, x", "difference", "peer's version");
      }
      any = true;
      fmt::format_to(out, "{:<18} {:<14} ", result.which->name, name);
      if (peer.state == State::kRan) {
        fmt::format_to(out, "{:>10} {:>10} {:>11.2g}  {}\n", Count(peer.series_per_s),
                       Count(Ratio(results, result, peer)), peer.difference, peer.version);
      } else {
        fmt::format_to(out, "{}: {}\n", Words(peer.state), peer.why);
      }
    }
  }
  if (any) {
    text +=
        "Peers run on one core; CPU time, theirs and ours. difference: the largest between their\n"
        "results and ours, over the range of its series.\n";
  }
}

void AddGrowth(const BenchResults& results, std::string& text) {
  if (results.growth.empty()) return;
  auto out = std::back_inserter(text);
  fmt::format_to(out, "\n{:<18} {:<14} {:>8} {:>8} {:>10} {:>10} {:>9}\n", "operation",
                 "grows with", "from", "to", "ms", "ms", "exponent");
  for (const Growth& growth : results.growth) {
    fmt::format_to(out, "{:<18} {:<14} {:>8} {:>8} {:>10.3f} {:>10.3f} {:>9.2f}\n",
                   growth.operation, growth.with, growth.sizes.front(), growth.sizes.back(),
                   1e3 * growth.seconds.front(), 1e3 * growth.seconds.back(), growth.fit.exponent);
  }
}

Json Number(double value) { return std::isfinite(value) ? Json(value) : Json(); }

Json CaseJson(const BenchResults& results, const CaseResult& result) {
  if (!result.skipped.empty()) {
    return {{"operation", result.which->name}, {"skipped", result.skipped}};
  }
  const Rates rates = RatesOf(results, result);
  Json json = {{"operation", result.which->name},
               {"series_per_s", Number(rates.series_per_s)},
               {"series_per_s_per_core", Number(rates.per_core)},
               {"ns_per_sample", Number(rates.ns_per_sample)},
               {"series_refused", result.timing.failed}};
  Json peers = Json::array();
  for (const auto& [name, peer] : result.peers) {
    Json entry = {{"peer", name}, {"state", Words(peer.state)}};
    if (peer.state == State::kRan) {
      entry["version"] = peer.version;
      entry["series_per_s"] = Number(peer.series_per_s);
      entry["ratio"] = Number(Ratio(results, result, peer));
      entry["difference_of_range"] = Number(peer.difference);
      entry["series_compared"] = peer.series;
    } else {
      entry["why"] = peer.why;
    }
    peers.push_back(std::move(entry));
  }
  if (!peers.empty()) json["peers"] = std::move(peers);
  return json;
}

}  // namespace

Machine DescribeMachine(const kernels::Ops& ops) {
  Machine machine;
  machine.cpu = CpuModel();
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof(allowed), &allowed) == 0) machine.cores = CPU_COUNT(&allowed);
  machine.kernels = ops.name;
  machine.compiler = kCompiler;
  if (getloadavg(&machine.load, 1) != 1) machine.load = std::nan("");
  return machine;
}

std::string BenchTable(const BenchResults& results) {
  const Machine& machine = results.machine;
  std::string text = fmt::format(
      "{}, {} cores, load {:.1f}; kernels {}; {}\n"
      "{} series x {} steps, period {}; {} threads; medians of {}\n\n"
      "{:<18} {:>10} {:>10} {:>10}  {}\n",
      machine.cpu, machine.cores, machine.load, machine.kernels, machine.compiler,
      results.shape.series, results.shape.steps, results.shape.period, results.options.cores,
      results.options.repetitions, "operation", "series/s", "per core", "ns/sample", "what");
  auto out = std::back_inserter(text);
  for (const CaseResult& result : results.cases) {
    if (!result.skipped.empty()) {
      fmt::format_to(out, "{:<18} skipped: {}\n", result.which->name, result.skipped);
      continue;
    }
    const Rates rates = RatesOf(results, result);
    fmt::format_to(out, "{:<18} {:>10} {:>10} {:>10.3f}  {}", result.which->name,
                   Count(rates.series_per_s), Count(rates.per_core), rates.ns_per_sample,
                   result.which->what);
    if (result.timing.failed > 0) fmt::format_to(out, "; {} REFUSED", result.timing.failed);
    text += '\n';
  }
  text += results.on_host ? "series/s by the clock; per core and ns/sample by CPU time.\n"
                          : "By the clock, on a GPU.\n";
  AddPeers(results, text);
  AddGrowth(results, text);
  return text;
}

std::string BenchJson(const BenchResults& results) {
  const Machine& machine = results.machine;
  Json json = {{"machine",
                {{"cpu", machine.cpu},
                 {"cores", machine.cores},
                 {"kernels", machine.kernels},
                 {"compiler", machine.compiler},
                 {"load", Number(machine.load)}}},
               {"series", results.shape.series},
               {"steps", results.shape.steps},
               {"period", results.shape.period},
               {"threads", results.options.cores},
               {"repetitions", results.options.repetitions}};
  Json operations = Json::array();
  for (const CaseResult& result : results.cases) operations.push_back(CaseJson(results, result));
  json["operations"] = std::move(operations);
  if (!results.growth.empty()) {
    Json all = Json::array();
    for (const Growth& growth : results.growth) {
      all.push_back({{"operation", growth.operation},
                     {"with", growth.with},
                     {"sizes", growth.sizes},
                     {"seconds", growth.seconds},
                     {"exponent", Number(growth.fit.exponent)}});
    }
    json["growth"] = std::move(all);
  }
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace foreshadow::training
