// Spikes: samples beyond a threshold that noise passes only with the chosen chance. The threshold
// comes from the tail itself - excesses over a high quantile follow a generalised Pareto
// distribution, as Siffer et al. (2017) use it - and never lies below what a normal distribution of
// the same robust scale would ask for.
#include <cmath>
#include <limits>

#include "kernels/check.h"
#include "kernels/cpu/column.h"
#include "kernels/cpu/patterns.h"

namespace foreshadow::kernels::cpu {
namespace {

constexpr int64_t kSamplesMin = 8;
constexpr double kTailShare = 0.05;  // of the samples that describe the tail
// What tails are like before a look at this one: exponential, give or take; and how far the
// estimate from one excess would be off.
constexpr double kShapePrior = 0.15;
constexpr double kShapeError = 1.8;
constexpr std::ptrdiff_t kTailMin = 20;     // fewer describe nothing: the normal threshold alone
constexpr int64_t kGapMax = 1;              // quiet steps inside a spike
constexpr float kMadToDeviation = 1.4826f;  // of a normal distribution

// Height that |noise| passes with the chance; by Newton's method on the normal tail.
double NormalThreshold(double chance) {
  double z = 4;
  for (int i = 0; i < 20; ++i) {
    const double tail = std::erfc(z / std::sqrt(2.0));
    const double density = std::sqrt(2 / 3.14159265358979) * std::exp(-z * z / 2);
    z += (tail - chance) / density;
  }
  return z;
}

// Threshold from the excesses over a base, which are reordered. Two of their quantiles give shape
// and scale (Pickands 1975), so that the spikes themselves, a few of them, do not raise it.
double TailThreshold(std::span<float> excesses, double samples, double chance) {
  const auto count = static_cast<std::ptrdiff_t>(excesses.size());
  if (count < kTailMin) return 0;
  const auto quantile = [&](std::ptrdiff_t at) {
    std::nth_element(excesses.begin(), excesses.begin() + at, excesses.end());
    return double{excesses[static_cast<size_t>(at)]};
  };
  const double half = quantile(count / 2);
  const double three_quarters = quantile(3 * count / 4);
  if (half <= 0 || three_quarters <= half) return 0;
  const double known = kShapePrior * kShapePrior;
  const double trust = known / (known + kShapeError * kShapeError / static_cast<double>(count));
  const double shape = trust * std::log2(three_quarters / half - 1);
  const bool is_exponential = std::abs(shape) < 1e-6;
  const double scale =
      is_exponential ? half / std::log(2.0) : shape * half / (std::exp2(shape) - 1);
  const double share = chance * samples / static_cast<double>(count);
  if (share >= 1) return 0;
  return is_exponential ? -scale * std::log(share) : scale / shape * (std::pow(share, -shape) - 1);
}

struct Scene {
  std::span<float> values;   // [steps], the median taken away; NaN = missing
  std::span<float> heights;  // [steps] scratch
};

// Fills scale and threshold; false when the series has no noise to measure by.
bool Measure(const SpikeArgs& args, int64_t series, int64_t present, Scene& scene) {
  const auto heights = scene.heights.first(static_cast<size_t>(present));
  size_t n = 0;
  for (const float value : scene.values) {
    if (!std::isnan(value)) heights[n++] = value;
  }
  const float median = MedianOf(heights);
  n = 0;
  for (float& value : scene.values) {
    value -= median;
    if (!std::isnan(value)) heights[n++] = std::abs(value);
  }
  const float scale = kMadToDeviation * MedianOf(heights);
  args.scale[series] = scale;
  if (scale <= 0) return false;
  const auto tail = heights.begin() +
                    static_cast<std::ptrdiff_t>(static_cast<double>(present) * (1 - kTailShare));
  std::nth_element(heights.begin(), tail, heights.end());
  const float base = *tail;
  const std::span<float> excesses(tail, heights.end());
  for (float& height : excesses) height -= base;
  const double wanted =
      std::max(NormalThreshold(args.false_alarms) * scale,
               base + TailThreshold(excesses, static_cast<double>(present), args.false_alarms));
  args.threshold[series] = static_cast<float>(wanted);
  return true;
}

void Keep(const SpikeArgs& args, const Spike& spike) {
  const auto at = static_cast<size_t>((*args.spikes_count)++);
  if (at < args.spikes.size()) args.spikes[at] = spike;
}

void Collect(const SpikeArgs& args, int64_t series, const Scene& scene) {
  const float threshold = args.threshold[series];
  Spike spike{static_cast<int32_t>(series), -1, 0, 0, 0};
  int64_t last = -1;
  for (int64_t i = 0; i < std::ssize(scene.values); ++i) {
    const float value = scene.values[i];
    if (!(std::abs(value) > threshold)) continue;
    if (spike.onset >= 0 && i - last > kGapMax + 1) {
      Keep(args, spike);
      spike.onset = -1;
    }
    if (spike.onset < 0) {
      spike.onset = static_cast<int32_t>(i);
      spike.peak = value;
    }
    if (std::abs(value) > std::abs(spike.peak)) spike.peak = value;
    spike.duration = static_cast<int32_t>(i) - spike.onset + 1;
    spike.score = std::abs(spike.peak) / args.scale[series];
    last = i;
  }
  if (spike.onset >= 0) Keep(args, spike);
}

}  // namespace

size_t SpikesWorkspaceBytes(const SpikeArgs& args) {
  return 2 * static_cast<size_t>(args.remainder.steps) * sizeof(float);
}

void Spikes(const SpikeArgs& args) {
  const auto series = static_cast<size_t>(args.remainder.series);
  FORESHADOW_CHECK(args.scale.size() == series && args.threshold.size() == series);
  FORESHADOW_CHECK(args.status.size() == series && args.spikes_count != nullptr);
  FORESHADOW_CHECK(args.workspace.size() >= SpikesWorkspaceBytes(args));
  FORESHADOW_CHECK(args.false_alarms > 0 && args.false_alarms < 1);
  const auto steps = static_cast<size_t>(args.remainder.steps);
  auto* memory = reinterpret_cast<float*>(args.workspace.data());
  Scene scene{{memory, steps}, {memory + steps, steps}};
  *args.spikes_count = 0;
  for (int64_t s = 0; s < args.remainder.series; ++s) {
    args.scale[s] = args.threshold[s] = std::numeric_limits<float>::quiet_NaN();
    const Column column = ReadColumn(args.remainder, s, scene.values);
    args.status[s] = column.status == SeriesStatus::kOk && column.present < kSamplesMin
                         ? SeriesStatus::kTooShort
                         : column.status;
    if (args.status[s] != SeriesStatus::kOk) continue;
    if (Measure(args, s, column.present, scene)) {
      Collect(args, s, scene);
    } else {
      args.status[s] = SeriesStatus::kConstant;  // more than half of the samples are one value
    }
  }
}

}  // namespace foreshadow::kernels::cpu
