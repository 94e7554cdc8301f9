// What mixing and judging cost on one core, and the bytes a series takes: 50,000 series, 7 models,
// 12 steps, as a server with 10,000 accounts of five signals does each tick.
#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <random>
#include <vector>

#include "models/mixture/mixture.h"

namespace foreshadow::models {
namespace {

constexpr int64_t kSeries = 50'000;
constexpr int kModels = 7;
constexpr int kSteps = 12;
constexpr int kTicks = 20;  // of which the last ones, with all distances judged, are timed
constexpr int64_t kStepMs = 300'000;

double CpuMs() { return 1e3 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

void Run() {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<float> uniform(0, 1);
  std::vector<QuantileBlock> blocks(kModels);
  for (QuantileBlock& block : blocks) {
    block.Resize(kSeries, kSteps);
    for (int64_t s = 0; s < kSeries; ++s) {
      for (int step = 0; step < kSteps; ++step) {
        float value = uniform(random);
        for (float& quantile : block.at(s, step)) quantile = ++value;
      }
    }
  }
  History history;
  history.step_ms = kStepMs;
  std::vector<SignalKind> signals;
  std::vector<int32_t> applications;
  for (int64_t s = 0; s < kSeries; ++s) {
    signals.push_back(static_cast<SignalKind>(s % kSignalKinds));
    applications.push_back(static_cast<int32_t>(s / kSignalKinds % 20));
  }
  history.signals = signals;
  history.applications = applications;
  std::vector<float> samples(kSeries);
  Mixture mixture;
  QuantileBlock out;
  double observe_ms = 0;
  double mix_ms = 0;
  int timed = 0;
  for (int tick = 0; tick < kTicks; ++tick) {
    history.end_ms = tick * kStepMs;
    std::ranges::generate(samples, [&] { return 10 * uniform(random); });
    const double start = CpuMs();
    Observe(mixture, history.end_ms, samples);
    const double between = CpuMs();
    Mix(mixture, history, blocks, out);
    if (tick <= kSteps) continue;
    observe_ms += between - start;
    mix_ms += CpuMs() - between;
    ++timed;
  }
  double bytes = static_cast<double>(mixture.log_weights.size() * sizeof(float) +
                                     mixture.series.size() * sizeof(MixtureSeries));
  for (const auto& ring : mixture.waiting) {
    for (const MixtureMade& made : ring) {
      bytes += static_cast<double>(made.mixed.size() * sizeof(float) + made.difference.size());
    }
  }
  fmt::print(
      "{} series, {} models, {} steps: mix {:.1f} ms, observe {:.1f} ms a tick, "
      "{:.0f} bytes a series\n",
      kSeries, kModels, kSteps, mix_ms / timed, observe_ms / timed, bytes / kSeries);
}

}  // namespace
}  // namespace foreshadow::models

int main() { foreshadow::models::Run(); }
