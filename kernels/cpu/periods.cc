// Periods in two looks, as Vlachos, Yu and Castelli (2005) combine them: peaks of the periodogram
// over what red noise of the same lag-one correlation would give, each then confirmed and refined
// on the autocorrelation.
#include <kissfft/kiss_fftr.h>

#include <array>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/check.h"
#include "kernels/cpu/column.h"
#include "kernels/cpu/patterns.h"

namespace foreshadow::kernels::cpu {
namespace {

constexpr int64_t kSamplesMin = 16;   // fewer say nothing about a spectrum
constexpr int kCandidates = 16;       // peaks looked at per series
constexpr float kStrengthMin = 0.1f;  // weaker autocorrelation is of no use to a forecast

struct Sizes {
  int64_t steps;
  int64_t padded;  // at least two lengths: a circular correlation must not wrap
  size_t forward_bytes;
  size_t inverse_bytes;
};

Sizes SizesOf(int64_t steps) {
  Sizes sizes{steps, kiss_fftr_next_fast_size_real(static_cast<int>(2 * steps)), 0, 0};
  kiss_fftr_alloc(static_cast<int>(sizes.padded), 0, nullptr, &sizes.forward_bytes);
  kiss_fftr_alloc(static_cast<int>(sizes.padded), 1, nullptr, &sizes.inverse_bytes);
  return sizes;
}

size_t Aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

struct Workspace {
  kiss_fftr_cfg forward;
  kiss_fftr_cfg inverse;
  std::span<float> values;           // [steps]
  std::span<float> padded;           // [padded]
  std::span<kiss_fft_cpx> spectrum;  // [padded / 2 + 1]
  std::span<float> power;            // [padded / 2 + 1]
  std::span<float> phase_means;      // [steps / 2]
};

Workspace Carve(const Sizes& sizes, std::byte* memory) {
  const auto take = [&](size_t bytes) {
    std::byte* taken = memory;
    memory += Aligned(bytes);
    return taken;
  };
  Workspace w{};
  size_t forward = sizes.forward_bytes;
  size_t inverse = sizes.inverse_bytes;
  const auto padded = static_cast<size_t>(sizes.padded);
  w.forward = kiss_fftr_alloc(static_cast<int>(padded), 0, take(forward), &forward);
  w.inverse = kiss_fftr_alloc(static_cast<int>(padded), 1, take(inverse), &inverse);
  FORESHADOW_CHECK(w.forward != nullptr && w.inverse != nullptr);
  const auto steps = static_cast<size_t>(sizes.steps);
  w.values = {reinterpret_cast<float*>(take(steps * sizeof(float))), steps};
  w.padded = {reinterpret_cast<float*>(take(padded * sizeof(float))), padded};
  w.spectrum = {reinterpret_cast<kiss_fft_cpx*>(take((padded / 2 + 1) * sizeof(kiss_fft_cpx))),
                padded / 2 + 1};
  w.power = {reinterpret_cast<float*>(take((padded / 2 + 1) * sizeof(float))), padded / 2 + 1};
  w.phase_means = {reinterpret_cast<float*>(take(steps / 2 * sizeof(float))), steps / 2};
  return w;
}

// Takes the line of least squares away and sets missing samples to zero, the detrended mean.
void Detrend(std::span<float> values) {
  double n = 0;
  double st = 0;
  double stt = 0;
  double sy = 0;
  double sty = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (std::isnan(values[i])) continue;
    const auto t = static_cast<double>(i);
    n += 1;
    st += t;
    stt += t * t;
    sy += values[i];
    sty += t * values[i];
  }
  const double determinant = n * stt - st * st;
  const double slope = determinant > 0 ? (n * sty - st * sy) / determinant : 0;
  const double level = (sy - slope * st) / n;
  for (size_t i = 0; i < values.size(); ++i) {
    const double line = level + slope * static_cast<double>(i);
    values[i] = std::isnan(values[i]) ? 0 : static_cast<float>(values[i] - line);
  }
}

// Power spectrum into w.power and, from it, the autocorrelation into w.padded[0 .. steps - 1].
void Transform(Workspace& w) {
  std::fill(w.padded.begin(), w.padded.end(), 0.0f);
  std::copy(w.values.begin(), w.values.end(), w.padded.begin());
  kiss_fftr(w.forward, w.padded.data(), w.spectrum.data());
  for (size_t i = 0; i < w.spectrum.size(); ++i) {
    w.power[i] = w.spectrum[i].r * w.spectrum[i].r + w.spectrum[i].i * w.spectrum[i].i;
    w.spectrum[i] = {w.power[i], 0};
  }
  kiss_fftri(w.inverse, w.spectrum.data(), w.padded.data());
  const float variance = w.padded[0];
  for (float& value : w.padded) value /= variance;
}

struct Peak {
  double period;
  float excess;  // power over red noise
};

// Where the parabola through a maximum and its neighbours has its vertex: finer than the grid.
double Vertex(std::span<const float> power, size_t i) {
  const double before = power[i - 1];
  const double after = power[i + 1];
  const double curvature = before - 2.0 * power[i] + after;
  const double shift = curvature < 0 ? 0.5 * (before - after) / curvature : 0;
  return static_cast<double>(i) + std::clamp(shift, -0.5, 0.5);
}

// Highest local maxima of the power over red noise that noise alone would reach with at most the
// chosen chance anywhere in the spectrum (Fisher's test for each, Bonferroni over all).
int FindPeaks(const PeriodArgs& args, const Workspace& w, double variance, int64_t max_period,
              std::array<Peak, kCandidates>& peaks) {
  const auto steps = static_cast<double>(w.values.size());
  const double red = std::clamp<double>(w.padded[1], 0, 0.95);
  const double threshold =
      -std::log(-std::expm1(std::log1p(-double{args.significance}) / (steps / 2)));
  const auto padded = static_cast<double>(w.padded.size());
  const auto first = static_cast<size_t>(std::ceil(padded / static_cast<double>(max_period)));
  const auto last = std::min(w.power.size() - 2,
                             static_cast<size_t>(padded / static_cast<double>(args.min_period)));
  int count = 0;
  for (size_t i = std::max<size_t>(1, first); i <= last; ++i) {
    if (w.power[i] <= w.power[i - 1] || w.power[i] < w.power[i + 1]) continue;
    const double angle = 2 * std::numbers::pi * static_cast<double>(i) / padded;
    const double shape = (1 - red * red) / (1 - 2 * red * std::cos(angle) + red * red);
    const auto excess = static_cast<float>(w.power[i] / (steps * variance * shape));
    if (excess < threshold) continue;
    const Peak peak{padded / Vertex(w.power, i), excess};
    int at = std::min(count, kCandidates - 1);
    if (count == kCandidates && peaks[at].excess >= excess) continue;
    for (; at > 0 && peaks[at - 1].excess < excess; --at) peaks[at] = peaks[at - 1];
    peaks[at] = peak;
    count = std::min(count + 1, kCandidates);
  }
  return count;
}

// Means of the phases of a period; returns the share of the variance that they explain, adjusted
// for their number.
double Fold(Workspace& w, int64_t period) {
  double explained = 0;
  double total = 0;
  const auto steps = std::ssize(w.values);
  for (int64_t phase = 0; phase < period; ++phase) {
    double sum = 0;
    double count = 0;
    for (int64_t i = phase; i < steps; i += period, count += 1) {
      sum += w.values[i];
      total += double{w.values[i]} * w.values[i];
    }
    w.phase_means[phase] = static_cast<float>(sum / count);
    explained += sum * sum / count;
  }
  if (total <= 0) return 0;
  return 1 - (total - explained) / total * static_cast<double>(steps - 1) /
                 static_cast<double>(steps - period);
}

void TakeOut(Workspace& w, int64_t period) {
  Fold(w, period);
  for (int64_t i = 0; i < std::ssize(w.values); ++i) w.values[i] -= w.phase_means[i % period];
}

// The whole period near a peak that explains most; 0 when the autocorrelation has no hill there.
int32_t Confirm(Workspace& w, double period, int64_t min_period, int64_t max_period) {
  // The peak is good to about a hundredth.
  const auto slack = std::max<int64_t>(1, std::llround(period / 100));
  const int64_t middle = std::llround(period);
  const int64_t low = std::max(min_period, middle - slack);
  const int64_t high = std::min(max_period, middle + slack);
  int64_t best = 0;
  double most = 0;
  for (int64_t candidate = low; candidate <= high; ++candidate) {
    const double explained = Fold(w, candidate);
    if (explained > most) {
      most = explained;
      best = candidate;
    }
  }
  if (best == 0) return 0;
  // A hill: clearly above the valleys half a period away on both sides.
  const int64_t half = std::max<int64_t>(1, best / 2);
  const float valley = std::max(w.padded[best - half],
                                w.padded[std::min<int64_t>(best + half, std::ssize(w.values) - 1)]);
  return w.padded[best] > valley ? static_cast<int32_t>(best) : 0;
}

// A multiple or a divisor of a period that is kept already is the same cycle seen again.
bool IsHarmonic(int32_t period, std::span<const int32_t> kept) {
  for (const int32_t other : kept) {
    if (other == 0) break;
    const double ratio = period > other ? double(period) / other : double(other) / period;
    if (std::abs(ratio - std::round(ratio)) < 0.05 * ratio) return true;
  }
  return false;
}

struct Cycle {
  int32_t period = 0;  // 0 = none
  float strength = 0;
};

// The most significant cycle that the autocorrelation confirms.
Cycle Strongest(const PeriodArgs& args, int64_t max_period, std::span<const int32_t> kept,
                Workspace& w) {
  double square = 0;
  for (const float value : w.values) square += double{value} * value;
  if (square <= 0) return {};
  Transform(w);
  const auto steps = static_cast<float>(w.values.size());
  std::array<Peak, kCandidates> peaks;
  const int count = FindPeaks(args, w, square / double{steps}, max_period, peaks);
  for (int i = 0; i < count; ++i) {
    const int32_t period = Confirm(w, peaks[i].period, args.min_period, max_period);
    if (period == 0 || IsHarmonic(period, kept)) continue;
    // The estimate shrinks with the lag, since fewer pairs are left; this undoes it.
    const float strength = w.padded[period] * steps / (steps - static_cast<float>(period));
    const float noise = 2.5758f / std::sqrt(steps);  // 99 % band of white noise
    if (strength >= std::max(kStrengthMin, noise)) return {period, std::min(1.0f, strength)};
  }
  return {};
}

void PeriodsOf(const PeriodArgs& args, int64_t series, Workspace& w) {
  const auto kept =
      args.periods.subspan(static_cast<size_t>(series * args.max_periods), args.max_periods);
  const auto strengths =
      args.strengths.subspan(static_cast<size_t>(series * args.max_periods), args.max_periods);
  std::fill(kept.begin(), kept.end(), 0);
  std::fill(strengths.begin(), strengths.end(), 0.0f);
  const Column column = ReadColumn(args.observed, series, w.values);
  args.status[series] = column.status;
  if (column.status == SeriesStatus::kOk && column.present < kSamplesMin) {
    args.status[series] = SeriesStatus::kTooShort;
  }
  if (args.status[series] != SeriesStatus::kOk) return;
  Detrend(w.values);
  const int64_t half = args.observed.steps / 2;
  const int64_t max_period = args.max_period > 0 ? std::min<int64_t>(args.max_period, half) : half;
  for (int found = 0; found < args.max_periods; ++found) {
    const Cycle cycle = Strongest(args, max_period, kept, w);
    if (cycle.period == 0) break;
    kept[found] = cycle.period;
    strengths[found] = cycle.strength;
    TakeOut(w, cycle.period);
  }
}

}  // namespace

size_t PeriodsWorkspaceBytes(const PeriodArgs& args) {
  // Too short for any answer, and KissFFT looks for a fast size from 0 on for ever.
  if (args.observed.steps < kSamplesMin) return 0;
  const Sizes sizes = SizesOf(args.observed.steps);
  const auto padded = static_cast<size_t>(sizes.padded);
  return Aligned(sizes.forward_bytes) + Aligned(sizes.inverse_bytes) +
         Aligned(static_cast<size_t>(sizes.steps) * sizeof(float)) +
         Aligned(padded * sizeof(float)) + Aligned((padded / 2 + 1) * sizeof(kiss_fft_cpx)) +
         Aligned((padded / 2 + 1) * sizeof(float)) +
         Aligned(static_cast<size_t>(sizes.steps) / 2 * sizeof(float));
}

void Periods(const PeriodArgs& args) {
  const auto series = static_cast<size_t>(args.observed.series);
  FORESHADOW_CHECK(args.min_period >= 2 && args.max_periods >= 1);
  FORESHADOW_CHECK(args.periods.size() == series * static_cast<size_t>(args.max_periods));
  FORESHADOW_CHECK(args.strengths.size() == args.periods.size());
  FORESHADOW_CHECK(args.status.size() == series);
  if (args.observed.steps < kSamplesMin) {
    std::fill(args.periods.begin(), args.periods.end(), 0);
    std::fill(args.strengths.begin(), args.strengths.end(), 0.0f);
    std::fill(args.status.begin(), args.status.end(), SeriesStatus::kTooShort);
    return;
  }
  FORESHADOW_CHECK(args.workspace.size() >= PeriodsWorkspaceBytes(args));
  Workspace workspace = Carve(SizesOf(args.observed.steps), args.workspace.data());
  for (int64_t s = 0; s < args.observed.series; ++s) PeriodsOf(args, s, workspace);
}

}  // namespace foreshadow::kernels::cpu
