// What the tick's forecast stage costs: all models of a server and their mixture on 10,000 accounts
// of five signals and a week of samples, carried from tick to tick. Wall time on all cores, and the
// processor's on all of them together, which other work on the machine does not lengthen.
//
//   forecast_stage [ACCOUNTS] [STEP_MS] [FOLDER]
//
// STEP_MS is the sampling interval, 300000 if left out; FOLDER holds the trained models, default:
// the installed ones.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <ctime>
#include <numbers>
#include <random>

#include "models/registry.h"
#include "service/forecast/forecast.h"

namespace foreshadow {
namespace {

constexpr int64_t kWindowSteps = 2'016;
constexpr int kTicks = 12;  // after the one that warms the states

double Median(std::vector<double> values) {
  std::ranges::sort(values);
  return (values[(values.size() - 1) / 2] + values[values.size() / 2]) / 2;
}

void Run(int64_t accounts, int64_t step_ms, const std::string& folder) {
  const int64_t series = accounts * kSignals;
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> noise(1 << 16);
  std::ranges::generate(noise, [&] { return normal(random); });
  std::vector<float> values(static_cast<size_t>((kWindowSteps + kTicks) * series));
  for (int64_t t = 0; t < kWindowSteps + kTicks; ++t) {
    const auto wave = static_cast<float>(std::sin(2 * std::numbers::pi * t / 288));
    for (int64_t s = 0; s < series; ++s) {
      values[t * series + s] = 10 + 3 * wave + noise[(t * 7919 + s * 104'729) % (1 << 16)];
    }
  }
  const ModelList models = models::LoadModels(folder).models;
  Fleet fleet;
  fleet.accounts.resize(static_cast<size_t>(accounts));
  PatternMemory patterns;
  patterns.series->resize(static_cast<size_t>(series));
  patterns.period_steps.assign(static_cast<size_t>(series), 288);
  ForecastMemory memory;
  std::vector<std::string> alerts;
  std::vector<double> ms;
  std::vector<double> processor_ms;
  for (int tick = 0; tick <= kTicks; ++tick) {
    const WindowView window{{values.data() + tick * series, kWindowSteps, series, series},
                            (tick + 1) * step_ms,
                            step_ms};
    const auto start = std::chrono::steady_clock::now();
    const std::clock_t processor_start = std::clock();  // of the process, all threads
    ForecastTable table = Forecast(window, fleet, patterns, models, memory, alerts);
    const std::chrono::duration<double, std::milli> taken =
        std::chrono::steady_clock::now() - start;
    const double processor =
        1e3 * static_cast<double>(std::clock() - processor_start) / CLOCKS_PER_SEC;
    memory.room = std::move(table.block.values);  // as the tick does
    if (tick == 0) {
      fmt::print(
          "{} series, {} models; the first tick warms them in {:.0f} ms, {:.0f} ms of processor "
          "time\n",
          series, models.size(), taken.count(), processor);
    } else {
      ms.push_back(taken.count());
      processor_ms.push_back(processor);
    }
  }
  fmt::print("a tick: median {:.0f} ms, {:.2f} us a series; processor time {:.0f} ms, {:.2f} us\n",
             Median(ms), 1e3 * Median(ms) / static_cast<double>(series), Median(processor_ms),
             1e3 * Median(processor_ms) / static_cast<double>(series));
}

}  // namespace
}  // namespace foreshadow

int main(int argc, char** argv) {
  const int64_t accounts = argc > 1 ? std::atoll(argv[1]) : 10'000;
  const int64_t step_ms = argc > 2 ? std::atoll(argv[2]) : 300'000;
  foreshadow::Run(std::max<int64_t>(1, accounts), std::max<int64_t>(1'000, step_ms),
                  argc > 3 ? argv[3] : foreshadow::models::InstalledModels());
}
