// Spikes: samples beyond a threshold that noise passes only with the chosen chance. The threshold
// comes from the tail itself - peaks over a high quantile follow a generalised Pareto distribution
// (Pickands 1975), fitted by its moments (Hosking and Wallis 1987) as in Siffer et al. (2017) - and
// never lies below what a normal distribution of the same robust scale would ask for.
#include <cmath>
#include <limits>

#include "kernels/check.h"
#include "kernels/cpu/column.h"
#include "kernels/cpu/patterns.h"

namespace foreshadow::kernels::cpu {
namespace {

constexpr int64_t kSamplesMin = 8;
constexpr double kTailShare = 0.02;         // of the samples that describe the tail
constexpr int64_t kTailMin = 10;            // fewer describe nothing: the normal threshold alone
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

// Threshold from the exceedances over `base`, in the same unit.
double TailThreshold(std::span<const float> heights, float base, double chance) {
  double mean = 0;
  double square = 0;
  int64_t count = 0;
  for (const float height : heights) {
    if (height <= base) continue;
    const double excess = double{height} - base;
    mean += excess;
    square += excess * excess;
    ++count;
  }
  if (count < kTailMin) return 0;
  mean /= static_cast<double>(count);
  const double variance = square / static_cast<double>(count) - mean * mean;
  if (variance <= 0) return 0;
  const double ratio = mean * mean / variance;
  const double shape = std::clamp(0.5 * (1 - ratio), -0.5, 0.5);
  const double scale = 0.5 * mean * (1 + ratio);
  const double share = chance * static_cast<double>(heights.size()) / static_cast<double>(count);
  const double reach = std::abs(shape) < 1e-6 ? -scale * std::log(share)
                                              : scale / shape * (std::pow(share, -shape) - 1);
  return base + std::max(0.0, reach);
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
  const double base = *tail;
  const double wanted =
      std::max(NormalThreshold(args.false_alarms) * scale,
               TailThreshold(heights, static_cast<float>(base), args.false_alarms));
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
