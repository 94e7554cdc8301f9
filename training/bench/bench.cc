#include "training/bench/bench.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "training/bench/print.h"
#include "training/bench/serve.h"
#include "training/client/client.h"
#include "training/command.h"
#include "training/io/gnuplot.h"

namespace foreshadow::training {
namespace {

constexpr int kCoresMax = 1024;

struct Options {
  std::string suite;
  std::vector<std::string> cases;  // empty = all
  std::string backend = "cpu";
  Shape shape;
  MeasureOptions measure;
  double least_ms = 200;
  uint64_t seed = 1;
  std::vector<std::string> peers;
  PeerOptions peer;
  std::string growth;
  ServeOptions serve;
  bool json = false;
};

std::vector<std::string> CaseNames() {
  std::vector<std::string> names;
  for (const Case& each : Cases()) names.emplace_back(each.name);
  return names;
}

SeriesSet SeriesFor(const Case& which, const Shape& shape, uint64_t seed) {
  Shape day = shape;
  day.period = DayOf(which, shape);
  return MakeSeries(day, seed);
}

CaseResult RunCase(const kernels::Ops& ops, const Case& which, const Options& o, Peers& peers) {
  CaseResult result;
  result.which = &which;
  result.skipped = which.check(ops, which, o.shape);
  if (!result.skipped.empty()) return result;
  const SeriesSet set = SeriesFor(which, o.shape, o.seed);
  {
    Memory memory(ops);
    result.timing = Measure(ops, which, o.shape, CopyIn(set, memory), o.measure);
  }
  if (which.seasons(o.shape).empty()) return result;
  for (const std::string& name : o.peers) {
    auto report = peers.Run(name, ops, which, o.shape, set);
    if (!report.ok()) {
      PeerReport failed;
      failed.state = PeerReport::State::kFailed;
      failed.why = std::string(report.status().message());
      report = failed;
    }
    result.peers.emplace_back(name, *std::move(report));
  }
  return result;
}

// A peer that broke is a failed run; one that is not installed is not.
absl::Status Verdict(const BenchResults& results) {
  for (const CaseResult& result : results.cases) {
    for (const auto& [name, peer] : result.peers) {
      if (peer.state != PeerReport::State::kFailed) continue;
      return absl::InternalError(
          fmt::format("peer {} failed at {}: {}", name, result.which->name, peer.why));
    }
  }
  return absl::OkStatus();
}

absl::Status Run(const Options& options) {
  if (options.suite == "serve") return BenchServe(options.serve, options.json);
  Options o = options;
  o.measure.least_s = o.least_ms / 1e3;
  if (!o.growth.empty() && !IsPictureName(o.growth)) {
    return UsageError(fmt::format("--growth {}: must end in .svg or .png", o.growth));
  }
  if (o.backend == "gpu" && (o.measure.cores > 1 || kernels::GpuOps() == nullptr)) {
    return o.measure.cores > 1 ? UsageError("--cores: a GPU is driven by one")
                               : absl::FailedPreconditionError(
                                     fmt::format("--backend gpu: {}", kernels::GpuMissing()));
  }
  const kernels::Ops& ops = o.backend == "gpu" ? *kernels::GpuOps() : kernels::CpuOps();
  BenchResults results;
  results.machine = DescribeMachine(ops);
  results.shape = o.shape;
  results.options = o.measure;
  results.on_host = ops.host_memory;
  Peers peers(o.peer);
  for (const std::string& name : o.cases.empty() ? CaseNames() : o.cases) {
    results.cases.push_back(RunCase(ops, *FindCase(name), o, peers));
  }
  if (!o.growth.empty()) {
    // A quarter of the series, for the longest and the largest take a multiple of the usual time.
    Shape base = o.shape;
    base.series = std::max<int64_t>(1, base.series / 4);
    MeasureOptions measure = o.measure;
    measure.cores = 1;
    for (const CaseResult& result : results.cases) {
      if (!result.skipped.empty()) continue;
      const auto growth = MeasureGrowth(ops, *result.which, base, measure, o.seed);
      results.growth.insert(results.growth.end(), growth.begin(), growth.end());
    }
  }
  fmt::print("{}", o.json ? BenchJson(results) : BenchTable(results));
  if (!o.growth.empty()) {
    if (absl::Status drawn = PlotGrowth(results.growth, o.growth); !drawn.ok()) return drawn;
  }
  return Verdict(results);
}

void AddServeOptions(CLI::App& command, ServeOptions& o) {
  command
      .add_option(
          "--scenarios", o.scenarios,
          fmt::format("serve: only these, with commas between: {}", fmt::join(kScenarios, ", ")))
      ->delimiter(',')
      ->check(
          CLI::IsMember(std::vector<std::string>(std::begin(kScenarios), std::end(kScenarios))));
  command.add_option("--server", o.server,
                     "serve: a running server to ask; none: one is started and filled");
  AddTlsOptions(command, o.tls);
  command.add_option("--accounts", o.accounts, "serve: accounts of a large call")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command.add_option("--step-ms", o.step_ms, "serve: sampling interval of the server it starts")
      ->check(CLI::Range(1'000, 3'600'000))
      ->capture_default_str();
  command.add_option("--seconds", o.seconds, "serve: of each scenario")
      ->check(CLI::Range(0.1, 86'400.0))
      ->capture_default_str();
  command.add_option("--large-per-s", o.large_per_s, "serve: large calls a second")
      ->check(CLI::Range(0.01, 1e5))
      ->capture_default_str();
  command.add_option("--small-per-s", o.small_per_s, "serve: small calls a second")
      ->check(CLI::Range(0.01, 1e6))
      ->capture_default_str();
  command.add_option("--small-accounts", o.small_accounts, "serve: accounts of a small call")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command.add_option("--ingest-per-s", o.ingest_samples_per_s, "serve: samples sent a second")
      ->check(CLI::Range(1.0, 1e9))
      ->capture_default_str();
}

}  // namespace

void AddBench(CLI::App& app) {
  CLI::App* command = app.add_subcommand("bench",
                                         "Measure the kernels on this machine, peers beside them, "
                                         "or the server under load: a table, or "
                                         "JSON with --json");
  auto o = std::make_shared<Options>();
  o->peer.scripts = FORESHADOW_PEER_SCRIPTS;
  command
      ->add_option("--suite", o->suite,
                   "What is measured: kernels, or serve: the server under load")
      ->required()
      ->check(CLI::IsMember({"kernels", "serve"}));
  command->add_option("--cases", o->cases, "Only these operations, with commas between")
      ->delimiter(',')
      ->check(CLI::IsMember(CaseNames()));
  command->add_option("--backend", o->backend, "Where the kernels run: cpu or gpu")
      ->check(CLI::IsMember({"cpu", "gpu"}))
      ->capture_default_str();
  command->add_option("--series", o->shape.series, "Series of the batch")
      ->check(CLI::Range(1, 100'000'000))
      ->capture_default_str();
  command->add_option("--steps", o->shape.steps, "Samples a series")
      ->check(CLI::Range(8, 10'000'000))
      ->capture_default_str();
  command->add_option("--period", o->shape.period, "Samples a season")
      ->check(CLI::Range(2, 5'000'000))
      ->capture_default_str();
  command->add_option("--cores", o->measure.cores, "Threads, each with its own part of the series")
      ->check(CLI::Range(1, kCoresMax))
      ->capture_default_str();
  command->add_option("--repetitions", o->measure.repetitions, "Repetitions; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command
      ->add_option("--least-ms", o->least_ms,
                   "A repetition runs the operation as often as that takes")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  command->add_option("--seed", o->seed, "Of the series, which are made up")->capture_default_str();
  command
      ->add_option("--peers", o->peers,
                   fmt::format("Also these, with commas between: {}", fmt::join(PeerNames(), ", ")))
      ->delimiter(',')
      ->check(CLI::IsMember(PeerNames()));
  command
      ->add_option("--peer-scripts", o->peer.scripts, "Folder of the scripts that drive the peers")
      ->capture_default_str();
  command
      ->add_option("--peer-seconds", o->peer.seconds,
                   "A pass of a peer ends with the series at which this is over")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  command->add_option("--peer-passes", o->peer.passes, "Passes of a peer; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command
      ->add_option("--python", o->peer.python,
                   "Python with statsmodels and statsforecast; "
                   "script/bench-peers makes one")
      ->capture_default_str();
  command->add_option("--stl-cpp", o->peer.stl_cpp, "Checkout of stl-cpp, compiled here by c++");
  command->add_option("--growth", o->growth,
                      "Also measure how cost grows, and draw it: FILE.svg or FILE.png");
  AddServeOptions(*command, o->serve);
  command->add_flag("--json", o->json, "Print JSON");
  SetRun(*command, [o] { return Run(*o); });
}

}  // namespace foreshadow::training
