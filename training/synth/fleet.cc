#include "training/synth/fleet.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>

namespace foreshadow::training {
namespace {

constexpr double kDayMs = 86'400'000;
constexpr double kHourMs = 3'600'000;
constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
constexpr double kMemoryPerCore = 2e9;        // bytes
constexpr double kNetworkPerCore = 4e6;       // bytes/s
constexpr double kStoragePerOperation = 2e3;  // bytes kept of each
constexpr double kMutationsPerCore = 40;      // operations/s
constexpr double kNoiseMemory = 0.9;          // of the noise from step to step
constexpr int64_t kCrowdRiseMs = 1'800'000;   // a flash crowd comes in half an hour
constexpr double kCapacityQuantile = 0.97;    // of a cell's demand, as in the demo's data

// Draws that are the same with every standard library: only the engine is the library's.
class Draw {
 public:
  explicit Draw(uint64_t seed) : engine_(seed) {}
  double Uniform(double low, double high) {
    return low + (high - low) * static_cast<double>(engine_() >> 11) * 0x1.0p-53;
  }
  double Normal() {
    const double radius = std::sqrt(-2 * std::log(1 - Uniform(0, 1)));
    return radius * std::cos(2 * std::numbers::pi * Uniform(0, 1));
  }
  bool Chance(double probability) { return Uniform(0, 1) < probability; }

 private:
  std::mt19937_64 engine_;
};

struct Clock {
  const SynthOptions& options;
  int64_t TimeMs(int64_t step) const { return options.start_ms + step * options.step_ms; }
  double Hour(int64_t step) const { return std::fmod(double(TimeMs(step)), kDayMs) / kHourMs; }
  // 1970-01-01 was a Thursday.
  bool IsWeekend(int64_t step) const {
    const int64_t day = (static_cast<int64_t>(double(TimeMs(step)) / kDayMs) + 3) % 7;
    return day >= 5;
  }
};

// What one cell's accounts share: a peak hour and its flash crowds.
struct CellShape {
  double peak_hour = 0;
  std::vector<double> crowd;  // [step] factor on all its accounts
};

CellShape ShapeCell(const SynthOptions& o, const std::string& id, int64_t steps, Draw& draw,
                    std::vector<SynthEvent>& events) {
  const Clock clock{o};
  CellShape shape{draw.Uniform(0, 24), std::vector<double>(static_cast<size_t>(steps), 1)};
  const double chance = o.flash_crowds_per_week * double(o.step_ms) / (7 * kDayMs);
  for (int64_t start = 0; start < steps; ++start) {
    if (!draw.Chance(chance)) continue;
    const double size = draw.Uniform(0.3, 1.0);
    const double fade_ms = draw.Uniform(1, 4) * kHourMs;
    for (int64_t i = start; i < steps; ++i) {
      const double age_ms = double((i - start) * o.step_ms);
      const double height = age_ms < kCrowdRiseMs
                                ? age_ms / kCrowdRiseMs
                                : std::exp(-(age_ms - double{kCrowdRiseMs}) / fade_ms);
      shape.crowd[i] += size * height;
    }
    events.push_back({"flash-crowd", id, clock.TimeMs(start),
                      clock.TimeMs(start) + kCrowdRiseMs + int64_t(3 * fade_ms), size});
  }
  return shape;
}

SynthAccount DrawAccount(const std::string& id, const CellShape& cell, Draw& draw) {
  SynthAccount a;
  a.id = id;
  a.cpu_cores = std::exp(draw.Normal() * 0.8) * 0.5;
  a.daily_amplitude = draw.Uniform(0.2, 0.7);
  a.peak_hour = std::fmod(cell.peak_hour + 1.5 * draw.Normal() + 48, 24);
  a.weekend_factor = draw.Uniform(0.6, 1);
  a.trend_per_day = 0.01 * draw.Normal();
  a.mutation_gain = draw.Uniform(0.2, 0.6) / kMutationsPerCore;
  return a;
}

// The usual load of an account, 1 = its level: day, week, trend, crowd, shift.
std::vector<double> UsualLoad(const SynthOptions& o, const SynthAccount& a, const CellShape& cell,
                              int64_t steps, Draw& draw, std::vector<SynthEvent>& events) {
  const Clock clock{o};
  std::vector<double> load(static_cast<size_t>(steps));
  int64_t shift_at = steps;
  double shift = 1;
  if (draw.Chance(o.level_shifts)) {
    shift_at = static_cast<int64_t>(draw.Uniform(0.2, 0.9) * double(steps));
    shift = draw.Chance(0.5) ? draw.Uniform(1.4, 2.2) : draw.Uniform(0.4, 0.7);
    events.push_back({"level-shift", a.id, clock.TimeMs(shift_at), 0, shift});
  }
  for (int64_t i = 0; i < steps; ++i) {
    const double phase = 2 * std::numbers::pi * (clock.Hour(i) - a.peak_hour) / 24;
    const double day = 1 + a.daily_amplitude * std::cos(phase);
    const double week = clock.IsWeekend(i) ? a.weekend_factor : 1;
    const double trend = 1 + a.trend_per_day * double(i * o.step_ms) / kDayMs;
    load[i] = std::max(0.05, trend) * day * week * cell.crowd[i] * (i >= shift_at ? shift : 1);
  }
  return load;
}

void AddSpikes(const SynthOptions& o, const SynthAccount& a, Draw& draw, std::vector<double>& load,
               std::vector<SynthEvent>& events) {
  const Clock clock{o};
  const double chance = o.spikes_per_day * double(o.step_ms) / kDayMs;
  for (int64_t start = 0; start < std::ssize(load); ++start) {
    if (!draw.Chance(chance)) continue;
    const auto length = static_cast<int64_t>(draw.Uniform(1, 4));
    const double size = draw.Uniform(1, 3);
    const int64_t end = std::min<int64_t>(start + length, std::ssize(load));
    for (int64_t i = start; i < end; ++i) load[i] += size;
    events.push_back({"spike", a.id, clock.TimeMs(start), clock.TimeMs(end), size});
  }
}

// Writes an account's five signals. The mutation rate wanders by itself; the CPU follows it `lead`
// steps later, on top of its own load.
void WriteSignals(const SynthOptions& o, const SynthAccount& a, const std::vector<double>& load,
                  const std::vector<double>& spiked, int64_t account, Draw& draw, Trace& trace) {
  const int64_t steps = std::ssize(load);
  const int64_t lead = o.lead_ms / o.step_ms;
  const double fresh = std::sqrt(1 - kNoiseMemory * kNoiseMemory);
  std::vector<double> wander(static_cast<size_t>(steps + lead));
  double x = draw.Normal();
  for (double& value : wander) {
    value = x;
    x = kNoiseMemory * x + fresh * draw.Normal();
  }
  double noise = draw.Normal();
  double stored = a.cpu_cores * 5e10;
  for (int64_t i = 0; i < steps; ++i) {
    // wander[i + lead] moves the mutation rate now and the CPU `lead` steps on, where it is
    // wander[i].
    const double rate = kMutationsPerCore * a.cpu_cores * load[i];
    const double mutation = std::max(0.0, rate * (1 + 0.3 * wander[i + lead]));
    const double follows = a.mutation_gain * rate * 0.3 * wander[i];
    const double cpu = std::max(0.0, a.cpu_cores * (spiked[i] + o.noise * noise) + follows);
    stored += mutation * kStoragePerOperation * double(o.step_ms) / 1'000;
    float* values = &trace.values[static_cast<size_t>((i * std::ssize(trace.accounts) + account) *
                                                      kTraceSignals)];
    values[0] = static_cast<float>(cpu);
    values[1] = static_cast<float>(kMemoryPerCore * a.cpu_cores * (0.7 + 0.3 * load[i]));
    values[2] = static_cast<float>(kNetworkPerCore * cpu * std::exp(0.1 * draw.Normal()));
    values[3] = static_cast<float>(stored);
    values[4] = static_cast<float>(mutation);
    noise = kNoiseMemory * noise + fresh * draw.Normal();
  }
}

void CutGaps(const SynthOptions& o, const std::string& id, int64_t account, Draw& draw,
             Trace& trace, std::vector<SynthEvent>& events) {
  const Clock clock{o};
  constexpr double kRun = 6;  // steps a gap lasts in the mean
  for (int64_t i = 0; i < trace.steps; ++i) {
    if (!draw.Chance(o.gaps / kRun)) continue;
    const int64_t end =
        std::min(trace.steps, i + 1 + static_cast<int64_t>(draw.Uniform(0, 2 * kRun - 1)));
    events.push_back({"gap", id, clock.TimeMs(i), clock.TimeMs(end), 0});
    for (; i < end; ++i) {
      std::fill_n(&trace.values[static_cast<size_t>((i * std::ssize(trace.accounts) + account) *
                                                    kTraceSignals)],
                  kTraceSignals, kMissing);
    }
  }
}

std::vector<double> Capacities(const SynthOptions& o, const Trace& trace) {
  std::vector<double> capacities;
  for (int c = 0; c < o.cells; ++c) {
    std::vector<double> demand(static_cast<size_t>(trace.steps), 0);
    for (int64_t a = c; a < std::ssize(trace.accounts); a += o.cells) {
      for (int64_t i = 0; i < trace.steps; ++i) {
        const float cpu = trace.view().at(i, a * kTraceSignals);
        if (!std::isnan(cpu)) demand[i] += cpu;
      }
    }
    const auto at =
        demand.begin() + static_cast<std::ptrdiff_t>(kCapacityQuantile * double(demand.size() - 1));
    std::nth_element(demand.begin(), at, demand.end());
    capacities.push_back(std::ceil(*at * 10) / 10);
  }
  return capacities;
}

}  // namespace

SynthFleet MakeFleet(const SynthOptions& o) {
  SynthFleet fleet;
  Draw draw(o.seed);
  Trace& trace = fleet.trace;
  trace.start_ms = o.start_ms;
  trace.step_ms = o.step_ms;
  trace.steps = std::llround(o.days * kDayMs / double(o.step_ms));
  std::vector<CellShape> cells;
  for (int c = 0; c < o.cells; ++c) {
    cells.push_back(
        ShapeCell(o, fmt::format("synthetic-cell-{}", c + 1), trace.steps, draw, fleet.events));
  }
  for (int a = 0; a < o.accounts; ++a) {
    const std::string id = fmt::format("synthetic-{}", a + 1);
    trace.accounts.push_back({id, fmt::format("synthetic-cell-{}", a % o.cells + 1), "synthetic"});
    fleet.accounts.push_back(DrawAccount(id, cells[a % o.cells], draw));
  }
  trace.values.assign(static_cast<size_t>(trace.steps * trace.series()), kMissing);
  for (int a = 0; a < o.accounts; ++a) {
    const SynthAccount& account = fleet.accounts[a];
    const std::vector<double> load =
        UsualLoad(o, account, cells[a % o.cells], trace.steps, draw, fleet.events);
    std::vector<double> spiked = load;
    AddSpikes(o, account, draw, spiked, fleet.events);
    WriteSignals(o, account, load, spiked, a, draw, trace);
    CutGaps(o, account.id, a, draw, trace, fleet.events);
  }
  std::stable_sort(
      fleet.events.begin(), fleet.events.end(),
      [](const SynthEvent& x, const SynthEvent& y) { return x.start_ms < y.start_ms; });
  fleet.cell_cpu_cores = Capacities(o, trace);
  return fleet;
}

}  // namespace foreshadow::training
