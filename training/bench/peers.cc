#include "training/bench/peers.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/wait.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>

#include "absl/strings/numbers.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "kernels/algo/stl_plan.h"
#include "kernels/check.h"
#include "training/bench/measure.h"

namespace foreshadow::training {
namespace {

namespace fs = std::filesystem;

constexpr int kNoSuchProgram = 127;  // as a shell says it

std::string Quoted(const std::string& word) {
  return fmt::format("'{}'", absl::StrReplaceAll(word, {{"'", "'\\''"}}));
}

struct Outcome {
  int code = -1;
  std::string output;  // both streams
};

Outcome Shell(const std::string& command) {
  Outcome outcome;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return outcome;
  char buffer[4096];
  size_t count = 0;
  while ((count = std::fread(buffer, 1, sizeof(buffer), pipe)) > 0) {
    outcome.output.append(buffer, count);
  }
  const int status = pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return outcome;
}

// What a program said last is why it failed.
std::string LastLine(const std::string& text) {
  const std::vector<std::string> lines = absl::StrSplit(text, '\n', absl::SkipWhitespace());
  return lines.empty() ? "it said nothing" : lines.back();
}

void WriteSeries(const SeriesSet& set, const std::string& path) {
  std::ofstream file(path, std::ios::binary);
  std::vector<float> column(static_cast<size_t>(set.steps));
  for (int64_t s = 0; s < set.series; ++s) {
    for (int64_t i = 0; i < set.steps; ++i) {
      column[static_cast<size_t>(i)] = set.view(set.observed).at(i, s);
    }
    file.write(reinterpret_cast<const char*>(column.data()),
               static_cast<std::streamsize>(column.size() * sizeof(float)));
  }
}

std::vector<float> ReadFloats(const std::string& path) {
  std::error_code error;
  const auto bytes = fs::file_size(path, error);
  if (error) return {};
  std::vector<float> values(bytes / sizeof(float));
  std::ifstream(path, std::ios::binary)
      .read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(bytes));
  return values;
}

// The parts of a decomposition, in the host's memory.
struct Parts {
  std::vector<std::vector<float>> values;
  std::vector<kernels::StepMajor<const float>> views;
};

Parts Decompose(const kernels::Ops& ops, const Case& which, const Shape& shape,
                const SeriesSet& set, int64_t series) {
  Memory memory(ops);
  const Job job = which.prepare(ops, which, shape, Columns(CopyIn(set, memory), 0, series));
  job.run();
  Parts parts;
  for (const auto& part : job.parts) {
    auto& values = parts.values.emplace_back(static_cast<size_t>(part.steps * part.stride));
    ops.copy_out(values.data(), part.data, values.size() * sizeof(float), nullptr);
    parts.views.push_back({values.data(), part.steps, part.series, part.stride});
  }
  FORESHADOW_CHECK(ops.wait(nullptr).empty());
  return parts;
}

PeerReport Missing(std::string why) {
  PeerReport report;
  report.state = PeerReport::State::kMissing;
  report.why = std::move(why);
  return report;
}

}  // namespace

std::vector<std::string> PeerNames() {
  return {"r", "r-fortran", "statsmodels", "statsforecast", "stl-cpp"};
}

absl::StatusOr<PeerReport> ParsePeerOutput(const std::string& text) {
  PeerReport report;
  std::vector<double> series_per_s;
  const std::vector<std::string> lines = absl::StrSplit(text, '\n');
  for (const std::string& line : lines) {
    const std::pair<std::string, std::string> parts = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    const auto& [word, rest] = parts;
    if (word == "missing" || word == "unfit") {
      report.state = word == "missing" ? PeerReport::State::kMissing : PeerReport::State::kUnfit;
      report.why = rest;
      return report;
    }
    if (word == "version") report.version = rest;
    if (word != "pass") continue;  // what a program says beside
    const std::vector<std::string> fields = absl::StrSplit(rest, ' ', absl::SkipWhitespace());
    int64_t series = 0;
    double seconds = 0;
    if (fields.size() != 2 || !absl::SimpleAtoi(fields[0], &series) ||
        !absl::SimpleAtod(fields[1], &seconds) || series < 1 || !(seconds > 0)) {
      return absl::InternalError(
          fmt::format("'{}' is no 'pass SERIES SECONDS' with both above 0", line));
    }
    if (series_per_s.empty()) report.series = series;
    series_per_s.push_back(static_cast<double>(series) / seconds);
  }
  if (series_per_s.empty()) {
    return absl::InternalError(fmt::format("it printed no pass: {}", LastLine(text)));
  }
  report.series_per_s = Median(series_per_s);
  return report;
}

std::string PeerParameters(const Case& which, const Shape& shape) {
  std::vector<kernels::StlPlan> plans;
  for (const kernels::StlParams& season : which.seasons(shape)) {
    plans.push_back(kernels::PlanStl(season, shape.steps));
  }
  const auto list = [&](std::string_view key, auto field) {
    std::vector<int64_t> values;
    values.reserve(plans.size());
    for (const kernels::StlPlan& plan : plans) values.push_back(plan.*field);
    return fmt::format(" {}={}", key, fmt::join(values, ","));
  };
  using Plan = kernels::StlPlan;
  return fmt::format("steps={} iterations={}", shape.steps,
                     plans.size() > 1 ? kernels::MstlArgs().iterations : 1) +
         list("period", &Plan::period) + list("periodic", &Plan::periodic) +
         list("seasonal_window", &Plan::seasonal_window) +
         list("seasonal_degree", &Plan::seasonal_degree) +
         list("seasonal_jump", &Plan::seasonal_jump) + list("trend_window", &Plan::trend_window) +
         list("trend_degree", &Plan::trend_degree) + list("trend_jump", &Plan::trend_jump) +
         list("low_pass_window", &Plan::low_pass_window) +
         list("low_pass_degree", &Plan::low_pass_degree) +
         list("low_pass_jump", &Plan::low_pass_jump) + list("inner", &Plan::inner) +
         list("outer", &Plan::outer);
}

absl::StatusOr<double> Difference(std::span<const kernels::StepMajor<const float>> ours,
                                  kernels::StepMajor<const float> observed,
                                  const std::vector<float>& theirs, int64_t series) {
  const int64_t steps = observed.steps;
  const auto parts = std::ssize(ours);
  if (static_cast<int64_t>(theirs.size()) != series * parts * steps) {
    return absl::InternalError(fmt::format("it wrote {} values, {} are {} series' parts",
                                           theirs.size(), series * parts * steps, series));
  }
  double largest = 0;
  for (int64_t s = 0; s < series; ++s) {
    float low = observed.at(0, s);
    float high = low;
    for (int64_t i = 0; i < steps; ++i) {
      low = std::min(low, observed.at(i, s));
      high = std::max(high, observed.at(i, s));
    }
    const double range = double{high} - double{low};
    for (int64_t p = 0; p < parts; ++p) {
      for (int64_t i = 0; i < steps; ++i) {
        const double off =
            std::abs(double{ours[static_cast<size_t>(p)].at(i, s)} -
                     double{theirs[static_cast<size_t>((s * parts + p) * steps + i)]});
        // Not a number must not pass for a small one.
        if (std::isnan(off)) return std::numeric_limits<double>::infinity();
        largest = std::max(largest, off / range);
      }
    }
  }
  return largest;
}

Peers::Peers(const PeerOptions& options) : options_(options) {
  std::string name = (fs::temp_directory_path() / "foreshadow-bench-XXXXXX").string();
  if (mkdtemp(name.data()) != nullptr) folder_ = name;
}

Peers::~Peers() {
  std::error_code ignored;
  if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

absl::StatusOr<std::string> Peers::BuildStlCpp() {
  if (!stl_cpp_.empty()) return stl_cpp_;
  const std::string program = folder_ + "/stl_cpp";
  const Outcome built = Shell(fmt::format("c++ -std=c++20 -Ofast -march=native -I {} -o {} {}",
                                          Quoted(options_.stl_cpp + "/include"), Quoted(program),
                                          Quoted(options_.scripts + "/stl_cpp.cc")));
  if (built.code != 0) return absl::InternalError("it does not compile:\n" + built.output);
  return stl_cpp_ = program;
}

absl::StatusOr<PeerReport> Peers::Run(const std::string& name, const kernels::Ops& ops,
                                      const Case& which, const Shape& shape, const SeriesSet& set) {
  if (folder_.empty()) return absl::InternalError("no folder could be made for temporary files");
  std::string program;
  if (name == "r" || name == "r-fortran") {
    program = "Rscript " + Quoted(options_.scripts + "/stl.R");
  } else if (name == "stl-cpp") {
    if (options_.stl_cpp.empty()) return Missing("no checkout given by --stl-cpp");
    if (!fs::exists(options_.stl_cpp + "/include/stl.hpp")) {
      return Missing(fmt::format("there is no {}/include/stl.hpp", options_.stl_cpp));
    }
    const auto built = BuildStlCpp();
    if (!built.ok()) return built.status();
    program = Quoted(*built);
  } else {
    program = Quoted(options_.python) + " " + Quoted(options_.scripts + "/stl.py");
  }
  const std::string input = folder_ + "/input";
  const std::string output = folder_ + "/output";
  WriteSeries(set, input);
  fs::remove(output);
  // One thread, as ours per core.
  const Outcome ran = Shell(
      fmt::format("OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 {} {} {} peer={} series={} passes={} "
                  "seconds={} {}",
                  program, Quoted(input), Quoted(output), name, set.series, options_.passes,
                  options_.seconds, PeerParameters(which, shape)));
  if (ran.code == kNoSuchProgram) return Missing(LastLine(ran.output));
  if (ran.code != 0) {
    return absl::InternalError(fmt::format("exit code {}: {}", ran.code, LastLine(ran.output)));
  }
  auto report = ParsePeerOutput(ran.output);
  if (!report.ok() || report->state != PeerReport::State::kRan) return report;
  const auto difference = Difference(Decompose(ops, which, shape, set, report->series).views,
                                     set.view(set.observed), ReadFloats(output), report->series);
  if (!difference.ok()) return difference.status();
  report->difference = *difference;
  return report;
}

}  // namespace foreshadow::training
