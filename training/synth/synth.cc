#include "training/synth/synth.h"

#include <fmt/core.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>

#include "training/command.h"
#include "training/synth/fleet.h"

namespace foreshadow::training {
namespace {

using nlohmann::ordered_json;

struct Options {
  SynthOptions fleet;
  std::string output;
  std::string truth;
  std::string cells;
  std::string start = "2030-01-07T00:00:00Z";  // a Monday that no real trace has
  int64_t step_s = 300;
  double lead_min = 15;
};

absl::Status WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  return file ? absl::OkStatus()
              : absl::UnavailableError(fmt::format("{}: cannot be written", path));
}

std::string TruthOf(const Options& options, const SynthFleet& fleet) {
  ordered_json accounts = ordered_json::array();
  for (const SynthAccount& a : fleet.accounts) {
    accounts.push_back({{"id", a.id},
                        {"cpu_cores", a.cpu_cores},
                        {"daily_amplitude", a.daily_amplitude},
                        {"peak_hour_utc", a.peak_hour},
                        {"weekend_factor", a.weekend_factor},
                        {"trend_per_day", a.trend_per_day},
                        {"mutation_gain", a.mutation_gain}});
  }
  ordered_json events = ordered_json::array();
  for (const SynthEvent& e : fleet.events) {
    events.push_back({{"kind", e.kind},
                      {"where", e.where},
                      {"start_ms", e.start_ms},
                      {"end_ms", e.end_ms},
                      {"size", e.size}});
  }
  return ordered_json{{"synthetic", true},
                      {"seed", options.fleet.seed},
                      {"mutation_lead_ms", options.fleet.lead_ms},
                      {"step_ms", options.fleet.step_ms},
                      {"accounts", accounts},
                      {"events", events}}
             .dump(1) +
         "\n";
}

std::string CellsOf(const SynthFleet& fleet) {
  std::string text =
      "# Cells of a synthetic fleet; their capacity is the 97th percentile of their demand.\n";
  for (size_t c = 0; c < fleet.cell_cpu_cores.size(); ++c) {
    text += fmt::format(
        "\n[[cell]]\nid = \"synthetic-cell-{}\"\nzone = \"zone-{}\"\ncpu_cores = {:.1f}\n", c + 1,
        c % 3 + 1, fleet.cell_cpu_cores[c]);
  }
  return text;
}

absl::Status Run(Options& options) {
  const auto start_ms = ParseTime(options.start, {"option", 1, "--start"});
  if (!start_ms.ok()) return UsageError(std::string(start_ms.status().message()));
  SynthOptions& o = options.fleet;
  o.start_ms = *start_ms;
  o.step_ms = options.step_s * 1'000;
  o.lead_ms = static_cast<int64_t>(options.lead_min * 60'000);
  if (o.lead_ms % o.step_ms != 0) {
    return UsageError(fmt::format("--lead {}: must be a whole number of steps of {} s",
                                  options.lead_min, options.step_s));
  }
  if (o.cells > o.accounts) {
    return UsageError(fmt::format("--cells {}: more than the {} accounts", o.cells, o.accounts));
  }
  const SynthFleet fleet = MakeFleet(o);
  if (absl::Status s = WriteTrace(fleet.trace, options.output); !s.ok()) return s;
  if (!options.truth.empty()) {
    if (absl::Status s = WriteText(options.truth, TruthOf(options, fleet)); !s.ok()) return s;
  }
  if (!options.cells.empty()) {
    if (absl::Status s = WriteText(options.cells, CellsOf(fleet)); !s.ok()) return s;
  }
  fmt::print("{}: synthetic, {} accounts in {} cells, {} steps of {} s, {} events, seed {}\n",
             options.output, o.accounts, o.cells, fleet.trace.steps, options.step_s,
             fleet.events.size(), o.seed);
  return absl::OkStatus();
}

}  // namespace

void AddSynth(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "synth",
      "Make up a fleet with known truth: seasons, spikes, shifts, a leading mutation rate");
  auto o = std::make_shared<Options>();
  command->add_option("-o,--output", o->output, "Trace to write; gzipped if it ends in .gz")
      ->required();
  command->add_option("--truth", o->truth, "Write what is true of it to this JSON file");
  command->add_option("--cells-file", o->cells, "Write its cells to this TOML file");
  command->add_option("--accounts", o->fleet.accounts, "How many accounts")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  command->add_option("--cells", o->fleet.cells, "How many cells")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command->add_option("--days", o->fleet.days, "How long")
      ->check(CLI::Range(0.01, 3'660.0))
      ->capture_default_str();
  command->add_option("--step-seconds", o->step_s, "Sampling interval")
      ->check(CLI::Range(1, 3'600))
      ->capture_default_str();
  command->add_option("--start", o->start, "Time of the first step")->capture_default_str();
  command->add_option("--lead", o->lead_min, "Minutes by which mutations lead the CPU")
      ->check(CLI::Range(0.0, 1'440.0))
      ->capture_default_str();
  command->add_option("--noise", o->fleet.noise, "Of the CPU, as a share of its level")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  command->add_option("--spikes-per-day", o->fleet.spikes_per_day, "Of an account")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  command->add_option("--flash-crowds-per-week", o->fleet.flash_crowds_per_week, "Of a cell")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  command->add_option("--level-shifts", o->fleet.level_shifts, "Share of accounts with one")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--gaps", o->fleet.gaps, "Share of samples missing")
      ->check(CLI::Range(0.0, 0.9))
      ->capture_default_str();
  command->add_option("--seed", o->fleet.seed, "Equal seeds make equal fleets")
      ->capture_default_str();
  SetRun(*command, [o] { return Run(*o); });
}

}  // namespace foreshadow::training
