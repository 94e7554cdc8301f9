#include "training/demo/demo.h"

#include <fmt/core.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "models/file/safetensors.h"
#include "service/config/toml_text.h"
#include "training/client/client.h"
#include "training/client/replay.h"
#include "training/command.h"
#include "training/demo/narrator.h"
#include "training/demo/running.h"
#include "training/demo/traffic.h"
#include "training/io/trace.h"

namespace foreshadow::training {
namespace {

namespace fs = std::filesystem;
using Seconds = std::chrono::duration<double>;

constexpr double kRiskThreshold = 0.1;  // written to the server's configuration too
// Its cells run out by a core or so: little is saved at a time.
constexpr double kGainMin = 0.1;
constexpr int64_t kInstanceMemoryBytes = 4 << 20;
constexpr int64_t kCellsBytesMax = 1 << 20;

std::atomic<bool> interrupted = false;

struct Options {
  std::string data;
  std::string summary;
  std::string act = "both";
  double hours = 0;
  bool serve = false;
};

// data/bitbrains of the project: beside or above the program.
std::string DefaultData() {
  for (fs::path folder = ProgramFolder(); folder.has_relative_path();
       folder = folder.parent_path()) {
    if (fs::exists(folder / "data/bitbrains/replay.csv.gz")) {
      return (folder / "data/bitbrains").string();
    }
  }
  return "data/bitbrains";
}

struct CellSpec {
  std::string id;
  std::string table;  // its TOML, to be repeated in the server's configuration
  double cpu_cores = 0;
  double memory_bytes = 0;
};

// A number, whole or not; 0 = not limited when it is not there.
double Amount(const toml::value& cell, const char* key) {
  if (!cell.contains(key)) return 0;
  const toml::value& value = toml::find(cell, key);
  return value.is_integer() ? static_cast<double>(value.as_integer()) : value.as_floating();
}

absl::StatusOr<std::vector<CellSpec>> ReadCells(const std::string& path) {
  const auto text = models::ReadWholeFile(path, kCellsBytesMax);
  if (!text.ok()) return text.status();
  try {
    const toml::value file = ParseToml(*text, path);
    std::vector<CellSpec> cells;
    for (const toml::value& cell : toml::find(file, "cell").as_array()) {
      CellSpec spec{toml::find<std::string>(cell, "id"), "", Amount(cell, "cpu_cores"),
                    Amount(cell, "memory_bytes")};
      for (const auto& [key, value] : cell.as_table()) {
        spec.table += fmt::format("{} = {}\n", key, toml::format(value));
      }
      cells.push_back(std::move(spec));
    }
    return cells;
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(fmt::format("{}: {}", path, error.what()));
  }
}

absl::Status StartAgents(const std::vector<CellSpec>& cells, const std::string& folder,
                         Running& running) {
  std::vector<AgentSpec> agents;
  for (const CellSpec& cell : cells) {
    agents.push_back({cell.id,
                      cell.cpu_cores,
                      cell.memory_bytes,
                      {"--memory-bytes", fmt::format("{}", kInstanceMemoryBytes)}});
  }
  return StartAgents(agents, folder, running);
}

absl::Status StartServer(const std::vector<CellSpec>& cells, int64_t step_ms,
                         const std::string& folder, Running& running) {
  std::string config = fmt::format(
      "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"{}/data\"\nlog_level = \"warning\"\n"
      "[tick]\nclock = \"data\"\nstep_ms = {}\n[shadow]\nmode = \"act\"\npromote_after_ms = "
      "0\n[plan]\n"
      "risk_threshold = {}\ngain_min = {}\n",
      folder, step_ms, kRiskThreshold, kGainMin);
  for (size_t i = 0; i < cells.size(); ++i) {
    config +=
        fmt::format("[[cell]]\n{}agent = \"{}\"\n", cells[i].table, running.agent_addresses[i]);
  }
  return StartServer(config, folder, running);
}

absl::Status Interrupted() { return absl::CancelledError("interrupted; all is stopped"); }

absl::Status ReplayAndTell(const Client& client, const Trace& replay, int64_t steps,
                           Narrator& narrator) {
  Replay stream(client, replay);
  for (int64_t step = 0; step < steps; ++step) {
    if (interrupted) return Interrupted();
    const auto counts = stream.Send(step, step + 1, true);
    if (!counts.ok()) return counts.status();
    const auto plan = client.Call(*client.plans, &v1::Plans::Stub::GetPlan, v1::GetPlanRequest());
    if (!plan.ok()) return plan.status();
    narrator.Tell(*plan);
  }
  return stream.Finish();
}

struct Summary {
  v1::Scores scores;
  v1::GetStatusResponse status;
  size_t cells = 0;
  std::string digest;
  double replay_seconds = 0;
};

void PrintSummary(const Summary& s) {
  fmt::print(
      "\n{} accounts in {} cells, {} ticks in {:.1f} s ({:.0f} ms a tick)\n",
      s.status.accounts_count(), s.cells, s.scores.ticks(), s.replay_seconds,
      1'000 * s.replay_seconds / static_cast<double>(std::max<uint64_t>(1, s.scores.ticks())));
  fmt::print("overloads foreseen        {} of {}, {:.0f} min ahead in the median\n",
             s.scores.overloads_foreseen(), s.scores.overloads(), s.scores.lead_minutes_median());
  fmt::print("warnings                  {}, {} of them false\n", s.scores.alarms(),
             s.scores.alarms_false());
  fmt::print("overload without shadows  {:.0f} cell-minutes\n",
             s.scores.overload_minutes_without());
  fmt::print("overload with shadows     {:.0f} cell-minutes\n", s.scores.overload_minutes_with());
  fmt::print("shadows created           {}, {:.1f} shadow-hours\n", s.scores.shadows_created(),
             s.scores.shadow_hours());
  fmt::print(
      "forecast MASE             {:.3f} over the first 3 steps, 1 = the mean one-step change\n",
      s.scores.forecast_mase());
  fmt::print("plan digest               {}\n", s.digest);
}

nlohmann::ordered_json ToJson(const Summary& s) {
  return {{"accounts", s.status.accounts_count()},
          {"cells", s.cells},
          {"ticks", s.scores.ticks()},
          {"overloads", s.scores.overloads()},
          {"overloads_foreseen", s.scores.overloads_foreseen()},
          {"lead_minutes_median", s.scores.lead_minutes_median()},
          {"warnings", s.scores.alarms()},
          {"warnings_false", s.scores.alarms_false()},
          {"overload_minutes_without", s.scores.overload_minutes_without()},
          {"overload_minutes_with", s.scores.overload_minutes_with()},
          {"shadows_created", s.scores.shadows_created()},
          {"shadow_hours", s.scores.shadow_hours()},
          {"forecast_mase", s.scores.forecast_mase()},
          {"forecast_pinball_loss", s.scores.forecast_pinball_loss()},
          {"plan_digest", s.digest},
          {"replay_seconds", s.replay_seconds}};
}

absl::Status WriteSummary(const nlohmann::ordered_json& summary, const std::string& path) {
  std::ofstream file(path);
  file << summary.dump(2) << '\n';
  file.close();
  return file ? absl::OkStatus()
              : absl::UnavailableError(fmt::format("--summary {}: cannot be written", path));
}

void Serve(const std::string& address) {
  fmt::print("\nstill up: foreshadow status --server {}   (Ctrl-C ends it)\n", address);
  std::fflush(stdout);
  while (!interrupted) std::this_thread::sleep_for(std::chrono::milliseconds(100));
}

// The first act: a night of a real trace.
absl::Status ReplayNight(const Options& options, const std::string& folder, Running& running,
                         nlohmann::ordered_json& told) {
  const auto history = ReadTrace(options.data + "/history.csv.gz");
  if (!history.ok()) return history.status();
  const auto replay = ReadTrace(options.data + "/replay.csv.gz");
  if (!replay.ok()) return replay.status();
  const auto cells = ReadCells(options.data + "/cells.toml");
  if (!cells.ok()) return cells.status();

  if (absl::Status s = StartAgents(*cells, folder, running); !s.ok()) return s;
  if (absl::Status s = StartServer(*cells, replay->step_ms, folder, running); !s.ok()) return s;
  fmt::print("foreshadowd on {}, {} cells with an agent each, {} accounts\n", running.address,
             cells->size(), history->accounts.size());

  const Client client = Client::To(running.address);
  const auto sent = SendHistory(client, *history, [] { return interrupted.load(); });
  if (!sent.ok()) return interrupted ? Interrupted() : sent.status();
  fmt::print("{} samples of history accepted and durable\n", sent->accepted);
  if (absl::Status s = RegisterAccounts(client, *replay); !s.ok()) return s;

  const int64_t steps =
      options.hours > 0
          ? std::min<int64_t>(replay->steps, std::llround(options.hours * 3'600'000 /
                                                          static_cast<double>(replay->step_ms)))
          : replay->steps;
  fmt::print("replaying {} steps of {} s from {} UTC\n\n", steps, replay->step_ms / 1'000,
             ClockTime(replay->start_ms));
  Narrator narrator(kRiskThreshold, replay->step_ms);
  const auto start = std::chrono::steady_clock::now();
  if (absl::Status s = ReplayAndTell(client, *replay, steps, narrator); !s.ok()) return s;

  Summary summary;
  summary.replay_seconds = Seconds(std::chrono::steady_clock::now() - start).count();
  const auto status =
      client.Call(*client.plans, &v1::Plans::Stub::GetStatus, v1::GetStatusRequest());
  if (!status.ok()) return status.status();
  summary.status = *status;
  summary.scores = status->scores();
  summary.cells = cells->size();
  summary.digest = narrator.digest();
  PrintSummary(summary);
  told = ToJson(summary);
  return absl::OkStatus();
}

absl::Status Run(const Options& options) {
  struct sigaction action = {};
  action.sa_handler = [](int) { interrupted = true; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);

  const TemporaryFolder folder;
  if (folder.path.empty()) return absl::UnavailableError("no temporary folder can be made");
  Running running;
  nlohmann::ordered_json summary;
  if (options.act != "traffic") {
    absl::Status s = ReplayNight(options, folder.path, running, summary);
    if (!s.ok()) return s;
  }
  absl::Status moved;
  if (options.act != "night") moved = RunTraffic([] { return interrupted.load(); }, summary);
  if (!options.summary.empty()) {
    if (absl::Status s = WriteSummary(summary, options.summary); !s.ok()) return s;
  }
  if (!moved.ok()) return moved;
  if (options.serve && !running.address.empty()) Serve(running.address);
  return absl::OkStatus();
}

}  // namespace

void AddDemo(CLI::App& app) {
  CLI::App* demo = app.add_subcommand(
      "demo", "Replay a real trace through a real server and real cells, then send real requests");
  auto options = std::make_shared<Options>();
  demo->add_option("--data", options->data,
                   "Folder with history.csv.gz, replay.csv.gz and cells.toml");
  demo->add_option("--summary", options->summary, "Write the summary as JSON to this file");
  demo->add_option("--act", options->act, "night: the trace; traffic: real requests, some 70 s")
      ->check(CLI::IsMember({"both", "night", "traffic"}))
      ->capture_default_str();
  demo->add_option("--hours", options->hours, "Replay only so many hours")
      ->check(CLI::PositiveNumber);
  demo->add_flag("--serve", options->serve, "Keep everything up at the end, until Ctrl-C");
  SetRun(*demo, [options] {
    if (options->data.empty()) options->data = DefaultData();
    return Run(*options);
  });
}

}  // namespace foreshadow::training
