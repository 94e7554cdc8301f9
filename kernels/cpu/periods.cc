// Periods in two looks, as Vlachos, Yu and Castelli (2005) combine them: peaks of the tapered
// periodogram over the noise around them, each then confirmed and refined on the autocorrelation.
// The noise is what an AR(1) process would give, fitted to quartiles of the log spectrum, so that
// the peaks themselves do not raise it (after Mann and Lees 1996), and raised further where the
// spectrum lies above that over a whole octave.
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
constexpr int kCandidates = 32;       // peaks looked at per series
constexpr double kNoiseFloor = 1e-4;  // of the mean power: 40 dB below it
constexpr float kHillMin = 0.1f;      // of autocorrelation; lower ones are of no use to a forecast
constexpr float kBand99 = 2.5758f;    // deviations of a normal distribution
constexpr double kQuartileMean = 0.2877;  // first quartile of an exponential distribution of mean 1
constexpr int64_t kPairsMin = 8;          // fewer give no autocorrelation
constexpr int kMultiples = 6;             // of a peak's period that may be the period it stands for
constexpr int kCombTeeth = 12;            // multiples of a lag that help to place it
constexpr int kBandsMax = 64;

struct Sizes {
  int64_t steps;
  int64_t padded;  // at least two lengths: a circular correlation must not wrap
  size_t forward_bytes;
  size_t inverse_bytes;
};

Sizes SizesOf(int64_t steps_count) {
  const int64_t steps = std::max(steps_count, kSamplesMin);
  Sizes sizes{steps, kiss_fftr_next_fast_size_real(static_cast<int>(2 * steps)), 0, 0};
  kiss_fftr_alloc(static_cast<int>(sizes.padded), 0, nullptr, &sizes.forward_bytes);
  kiss_fftr_alloc(static_cast<int>(sizes.padded), 1, nullptr, &sizes.inverse_bytes);
  return sizes;
}

size_t Aligned(size_t bytes) { return (bytes + 63) / 64 * 64; }

struct Workspace {
  kiss_fftr_cfg forward;
  kiss_fftr_cfg inverse;
  std::span<float> taper;            // [steps] Hann: a strong peak must not leak over weak ones
  std::span<float> values;           // [steps]
  std::span<float> present;          // [steps] 1, or 0 where missing
  std::span<float> correlation;      // [steps] at each lag, over the pairs that are there
  std::span<float> padded;           // [padded]
  std::span<kiss_fft_cpx> spectrum;  // [padded / 2 + 1]
  std::span<float> power;            // [padded / 2 + 1] of the tapered values
  std::span<float> noise;            // [padded / 2 + 1] power that noise alone would have
  std::span<float> sorted;           // [padded / 2 + 1] scratch
};

// The same walk sizes the memory and hands it out: `take` gets bytes and returns their place.
template <typename Take>
Workspace Carve(const Sizes& sizes, Take take) {
  const auto padded = static_cast<size_t>(sizes.padded);
  const auto steps = static_cast<size_t>(sizes.steps);
  const auto floats = [&](size_t count) {
    return std::span<float>(reinterpret_cast<float*>(take(count * sizeof(float))), count);
  };
  Workspace w{};
  w.forward = reinterpret_cast<kiss_fftr_cfg>(take(sizes.forward_bytes));
  w.inverse = reinterpret_cast<kiss_fftr_cfg>(take(sizes.inverse_bytes));
  for (auto* part : {&w.taper, &w.values, &w.present, &w.correlation}) *part = floats(steps);
  w.padded = floats(padded);
  const size_t half = padded / 2 + 1;
  w.spectrum = {reinterpret_cast<kiss_fft_cpx*>(take(half * sizeof(kiss_fft_cpx))), half};
  for (auto* part : {&w.power, &w.noise, &w.sorted}) *part = floats(half);
  return w;
}

Workspace Prepare(const Sizes& sizes, std::byte* memory) {
  Workspace w = Carve(sizes, [&](size_t bytes) {
    std::byte* taken = memory;
    memory += Aligned(bytes);
    return taken;
  });
  size_t forward = sizes.forward_bytes;
  size_t inverse = sizes.inverse_bytes;
  kiss_fftr_alloc(static_cast<int>(sizes.padded), 0, w.forward, &forward);
  kiss_fftr_alloc(static_cast<int>(sizes.padded), 1, w.inverse, &inverse);
  for (size_t i = 0; i < w.taper.size(); ++i) {
    const double angle =
        2 * std::numbers::pi * (static_cast<double>(i) + 0.5) / static_cast<double>(w.taper.size());
    w.taper[i] = static_cast<float>(0.5 - 0.5 * std::cos(angle));
  }
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

void Spectrum(Workspace& w) {
  std::fill(w.padded.begin() + std::ssize(w.values), w.padded.end(), 0.0f);
  kiss_fftr(w.forward, w.padded.data(), w.spectrum.data());
}

float Square(const kiss_fft_cpx& c) { return c.r * c.r + c.i * c.i; }

// Sums of products of the values in w.padded with themselves so many steps later (Wiener and
// Khinchin), in place.
void Autocovariance(Workspace& w) {
  Spectrum(w);
  for (kiss_fft_cpx& c : w.spectrum) c = {Square(c), 0};
  kiss_fftri(w.inverse, w.spectrum.data(), w.padded.data());
}

// Fills w.power and w.correlation.
void Transform(Workspace& w, int64_t present) {
  const size_t steps = w.values.size();
  for (size_t i = 0; i < steps; ++i) w.padded[i] = w.values[i] * w.taper[i];
  Spectrum(w);
  for (size_t i = 0; i < w.power.size(); ++i) w.power[i] = Square(w.spectrum[i]);

  std::copy(w.values.begin(), w.values.end(), w.padded.begin());
  Autocovariance(w);
  std::copy_n(w.padded.begin(), steps, w.correlation.begin());
  const bool has_gaps = present < static_cast<int64_t>(steps);
  const float pair_scale = static_cast<float>(w.padded.size());  // KissFFT's round trip multiplies
  if (has_gaps) {
    std::copy(w.present.begin(), w.present.end(), w.padded.begin());
    Autocovariance(w);
  }
  const float variance = w.correlation[0] / static_cast<float>(present);
  for (size_t lag = 0; lag < steps; ++lag) {
    const float pairs =
        has_gaps ? std::round(w.padded[lag] / pair_scale) : static_cast<float>(steps - lag);
    w.correlation[lag] = pairs < kPairsMin ? 0 : w.correlation[lag] / (pairs * variance);
  }
}

// Level of noise in a band of ordinates whose lower quartile a few peaks do not move.
double QuartileLevel(std::span<const float> ordinates, std::span<float> scratch) {
  const auto copy = scratch.first(ordinates.size());
  std::copy(ordinates.begin(), ordinates.end(), copy.begin());
  const auto quartile = copy.begin() + static_cast<std::ptrdiff_t>(copy.size() / 4);
  std::nth_element(copy.begin(), quartile, copy.end());
  return std::max(double{*quartile} / kQuartileMean, double{std::numeric_limits<float>::min()});
}

// Calls visit(first, count) for bands of ordinates that widen with the frequency.
template <typename Visit>
void ForBands(size_t ordinates, size_t narrowest, double widening, Visit visit) {
  for (size_t first = 2; first + narrowest <= ordinates;) {
    auto next =
        std::max(first + narrowest, static_cast<size_t>(static_cast<double>(first) * widening));
    if (next + narrowest > ordinates) next = ordinates;
    visit(first, next - first);
    first = next;
  }
}

// 1 + r^2 - 2 r cos w, the reciprocal shape of an AR(1) spectrum.
double RedShape(double red, double angle) { return 1 + red * red - 2 * red * std::cos(angle); }

// Fills w.noise; returns the lag-one correlation of the noise.
double FitNoise(Workspace& w) {
  constexpr std::array kReds = {0.0,  0.1, 0.2,  0.3,  0.4,  0.5,  0.6,  0.7,   0.8,
                                0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999};
  struct Band {
    double angle, level, weight;
  };
  // A cycle without any noise leaves nothing but the taper's side lobes between its peaks: they are
  // no spectrum to hold peaks against.
  double power = 0;
  for (const float ordinate : w.power) power += ordinate;
  const double floor = kNoiseFloor * power / static_cast<double>(w.power.size());
  std::array<Band, kBandsMax> bands;
  int count = 0;
  const auto angle_of = [&](double at) {
    return 2 * std::numbers::pi * at / static_cast<double>(w.padded.size());
  };
  ForBands(w.power.size(), 16, 1.3, [&](size_t first, size_t size) {
    if (count == kBandsMax) return;
    const double middle = std::sqrt(static_cast<double>(first) * static_cast<double>(first + size));
    bands[static_cast<size_t>(count++)] = {
        angle_of(middle),
        std::log(std::max(floor, QuartileLevel(w.power.subspan(first, size), w.sorted))),
        std::sqrt(static_cast<double>(size))};
  });
  double red = 0;
  double log_level = 0;
  double least = std::numeric_limits<double>::infinity();
  for (const double candidate : kReds) {
    double weights = 0;
    double sum = 0;
    double square = 0;
    for (int b = 0; b < count; ++b) {
      const Band& band = bands[static_cast<size_t>(b)];
      const double off = band.level + std::log(RedShape(candidate, band.angle));
      weights += band.weight;
      sum += band.weight * off;
      square += band.weight * off * off;
    }
    const double misfit = square - sum * sum / weights;
    if (misfit >= least) continue;
    least = misfit;
    red = candidate;
    log_level = sum / weights;
  }
  const double level = std::exp(log_level);
  for (size_t i = 0; i < w.noise.size(); ++i) {
    w.noise[i] = static_cast<float>(
        std::max(floor, level / RedShape(red, angle_of(static_cast<double>(i)))));
  }
  ForBands(w.power.size(), 32, 2, [&](size_t first, size_t size) {
    for (size_t k = first; k < first + size; ++k) w.padded[k] = w.power[k] / w.noise[k];
    const double excess = QuartileLevel(w.padded.subspan(first, size), w.sorted);
    if (excess <= 1) return;
    for (float& ordinate : w.noise.subspan(first, size)) ordinate *= static_cast<float>(excess);
  });
  return red;
}

struct Peak {
  size_t at;     // ordinate
  float excess;  // power over noise
};

// Highest local maxima of the power over noise that noise alone would reach with at most the
// chosen chance anywhere in the spectrum (Fisher's test for each, Sidak over all).
int FindPeaks(const PeriodArgs& args, const Workspace& w, int64_t max_period,
              std::array<Peak, kCandidates>& peaks) {
  const auto tests = static_cast<double>(w.values.size());  // padding doubles the ordinates
  const double threshold = -std::log(-std::expm1(std::log1p(-double{args.significance}) / tests));
  const auto padded = static_cast<double>(w.padded.size());
  const auto first = static_cast<size_t>(std::ceil(padded / static_cast<double>(max_period)));
  const auto last = std::min(w.power.size() - 2,
                             static_cast<size_t>(padded / static_cast<double>(args.min_period)));
  int count = 0;
  // A period as long as the longest allowed may peak one ordinate below.
  for (size_t i = std::max<size_t>(2, first - 1); i <= last; ++i) {
    if (w.power[i] <= w.power[i - 1] || w.power[i] < w.power[i + 1]) continue;
    const float excess = w.power[i] / w.noise[i];
    if (excess < threshold) continue;
    int at = std::min(count, kCandidates - 1);
    if (count == kCandidates && peaks[at].excess >= excess) continue;
    for (; at > 0 && peaks[at - 1].excess < excess; --at) peaks[at] = peaks[at - 1];
    peaks[at] = {i, excess};
    count = std::min(count + 1, kCandidates);
  }
  return count;
}

struct Cycle {
  int32_t period = 0;  // 0 = none
  float strength = 0;
};

struct Limits {
  int64_t min_period;
  int64_t max_period;
  float noise;  // deviation of the noise's autocorrelation (Bartlett 1946)
};

// Mean correlation at a lag and its multiples: they place a long cycle far better than one lag.
double Comb(const Workspace& w, int64_t lag) {
  const auto steps = std::ssize(w.correlation);
  double sum = 0;
  double weights = 0;
  for (int64_t at = lag, tooth = 0; at < steps && tooth < kCombTeeth; at += lag, ++tooth) {
    const auto weight = static_cast<double>(steps - at);
    sum += weight * w.correlation[at];
    weights += weight;
  }
  return sum / weights;
}

// Share of the variance that the means of a period's phases leave, adjusted for their number.
double Unexplained(const Workspace& w, int64_t period) {
  const auto steps = std::ssize(w.values);
  double present = 0;
  double total = 0;
  double explained = 0;
  for (int64_t phase = 0; phase < period; ++phase) {
    double sum = 0;
    double count = 0;
    for (int64_t i = phase; i < steps; i += period) {
      sum += w.values[i];
      count += w.present[i];
      total += double{w.values[i]} * w.values[i];
    }
    if (count > 0) explained += sum * sum / count;
    present += count;
  }
  return (total - explained) / std::max(1.0, present - static_cast<double>(period));
}

// The period within a hundredth that leaves least: a lag of the correlation scatters more.
int64_t Refine(const Workspace& w, const Limits& limits, int64_t period) {
  const int64_t slack = std::max<int64_t>(1, period / 100);
  int64_t best = period;
  double least = Unexplained(w, period);
  for (int64_t near = std::max(limits.min_period, period - slack);
       near <= std::min(limits.max_period, period + slack); ++near) {
    const double left = Unexplained(w, near);
    if (left >= least) continue;
    least = left;
    best = near;
  }
  return best;
}

// The lag between two that the comb prefers; none when it prefers one outside, or when the
// correlation has no hill there: clearly above the valleys on both sides.
Cycle Hill(const Workspace& w, const Limits& limits, double from, double to) {
  const auto low = static_cast<int64_t>(std::floor(from));
  const auto high = static_cast<int64_t>(std::ceil(to));
  const int64_t margin = std::max<int64_t>(1, high / 16);
  int64_t best = 0;
  double most = -1;
  for (int64_t lag = std::max(limits.min_period, low - margin);
       lag <= std::min(limits.max_period, high + margin); ++lag) {
    const double comb = Comb(w, lag);
    if (comb <= most) continue;
    most = comb;
    best = lag;
  }
  if (best < std::max(limits.min_period, low) || best > high) return {};
  const auto begin = w.correlation.begin();
  const int64_t last = std::min(std::ssize(w.correlation) - 1, best + margin);
  const float summit =
      *std::max_element(begin + std::max<int64_t>(1, best - margin), begin + last + 1);
  if (w.correlation[best] < summit - kBand99 * limits.noise) return {};  // on another's slope
  const int64_t reach = std::max<int64_t>(1, best / 2);
  const int64_t end = std::min(std::ssize(w.correlation) - 1, best + reach);
  const float left = *std::min_element(begin + (best - reach), begin + best);
  const float right = *std::min_element(begin + best, begin + end + 1);
  const float hill = w.correlation[best] - std::max(left, right);
  if (hill < std::max(kHillMin, kBand99 * limits.noise)) return {};
  best = Refine(w, limits, best);
  if (w.correlation[best] <= 0) return {};
  return {static_cast<int32_t>(best), w.correlation[best]};
}

// The cycle a peak stands for: its own period or, as a sharp cycle has strong harmonics, the first
// multiple of it that has a hill.
Cycle Confirm(const Workspace& w, const Limits& limits, const Peak& peak) {
  const auto padded = static_cast<double>(w.padded.size());
  for (int k = 1; k <= kMultiples; ++k) {
    const Cycle cycle = Hill(w, limits, k * padded / static_cast<double>(peak.at + 1),
                             k * padded / static_cast<double>(peak.at - 1));
    if (cycle.period > 0) return cycle;
  }
  return {};
}

// The whole number that `of` is of `unit`, within a few hundredths; 0 = none above 1.
int64_t Multiple(int32_t of, int32_t unit) {
  const double ratio = static_cast<double>(of) / unit;
  const double whole = std::round(ratio);
  return whole >= 2 && std::abs(ratio - whole) < 0.03 * ratio ? static_cast<int64_t>(whole) : 0;
}

// Whether a cycle says more than one that is kept already: a divisor must carry at least half of
// the correlation alone, and a multiple stand out from the other multiples beside it.
bool IsNews(const Workspace& w, const Limits& limits, const Cycle& cycle, const Cycle& kept) {
  const int32_t longer = std::max(cycle.period, kept.period);
  if (std::abs(cycle.period - kept.period) <= std::max<int32_t>(1, longer / 20)) return false;
  if (Multiple(kept.period, cycle.period) > 0) return 2 * cycle.strength >= kept.strength;
  const int64_t multiple = Multiple(cycle.period, kept.period);
  if (multiple == 0) return true;
  const auto at = [&](int64_t lag) {
    return w.correlation[std::min<int64_t>(lag, std::ssize(w.correlation) - 1)];
  };
  const float beside = std::max(at((multiple - 1) * kept.period), at((multiple + 1) * kept.period));
  return cycle.strength - beside >= std::max(0.02f, 2 * limits.noise);
}

// Some whole days of a sine have a slope of their own, and taking that away shifts the period: this
// gives back the line that was taken and takes the one on which the phases of the cycle agree.
void DetrendWithin(Workspace& w, int64_t period) {
  const auto steps = std::ssize(w.values);
  double product = 0;
  double square = 0;
  for (int64_t phase = 0; phase < period; ++phase) {
    double n = 0;
    double st = 0;
    double stt = 0;
    double sy = 0;
    double sty = 0;
    for (int64_t i = phase; i < steps; i += period) {
      const auto t = static_cast<double>(i);
      n += w.present[i];
      st += w.present[i] * t;
      stt += w.present[i] * t * t;
      sy += w.values[i];
      sty += w.values[i] * t;
    }
    if (n < 2) continue;
    product += sty - st * sy / n;
    square += stt - st * st / n;
  }
  if (square <= 0) return;
  const double slope = product / square;
  double n = 0;
  double sum = 0;
  for (int64_t i = 0; i < steps; ++i) {
    w.values[i] -= static_cast<float>(slope * static_cast<double>(i)) * w.present[i];
    n += w.present[i];
    sum += w.values[i];
  }
  const auto level = static_cast<float>(sum / n);
  for (int64_t i = 0; i < steps; ++i) w.values[i] -= level * w.present[i];
}

struct Spectra {
  Limits limits;
  std::array<Peak, kCandidates> peaks;
  int count;
};

Spectra Look(const PeriodArgs& args, Workspace& w, int64_t present) {
  const int64_t half = args.observed.steps / 2;
  const int64_t max_period = args.max_period > 0 ? std::min<int64_t>(args.max_period, half) : half;
  Transform(w, present);
  const double red = FitNoise(w);
  const double spread = (1 + red * red) / (1 - red * red) / static_cast<double>(present);
  Spectra spectra{{args.min_period, max_period, static_cast<float>(std::sqrt(spread))}, {}, 0};
  spectra.count = FindPeaks(args, w, max_period, spectra.peaks);
  return spectra;
}

void Search(const PeriodArgs& args, Workspace& w, int64_t present, std::span<int32_t> periods,
            std::span<float> strengths) {
  Spectra spectra = Look(args, w, present);
  for (int i = 0; i < spectra.count; ++i) {
    const Cycle cycle = Confirm(w, spectra.limits, spectra.peaks[i]);
    if (cycle.period == 0) continue;
    DetrendWithin(w, cycle.period);
    spectra = Look(args, w, present);
    break;
  }
  std::array<Cycle, kCandidates> kept;
  int kept_count = 0;
  for (int i = 0; i < spectra.count && kept_count < args.max_periods; ++i) {
    const Cycle cycle = Confirm(w, spectra.limits, spectra.peaks[i]);
    if (cycle.period == 0) continue;
    const auto is_news = [&](const Cycle& other) {
      return IsNews(w, spectra.limits, cycle, other);
    };
    if (!std::all_of(kept.begin(), kept.begin() + kept_count, is_news)) continue;
    periods[kept_count] = cycle.period;
    strengths[kept_count] = std::min(1.0f, cycle.strength);
    kept[kept_count++] = cycle;
  }
}

void PeriodsOf(const PeriodArgs& args, int64_t series, Workspace& w) {
  const auto kept = static_cast<size_t>(args.max_periods);
  const auto periods = args.periods.subspan(static_cast<size_t>(series) * kept, kept);
  const auto strengths = args.strengths.subspan(static_cast<size_t>(series) * kept, kept);
  std::fill(periods.begin(), periods.end(), 0);
  std::fill(strengths.begin(), strengths.end(), 0.0f);
  const Column column = ReadColumn(args.observed, series, w.values);
  args.status[series] = column.status;
  if (column.status == SeriesStatus::kOk && column.present < kSamplesMin) {
    args.status[series] = SeriesStatus::kTooShort;
  }
  if (args.status[series] != SeriesStatus::kOk) return;
  for (size_t i = 0; i < w.values.size(); ++i) w.present[i] = std::isnan(w.values[i]) ? 0 : 1;
  Detrend(w.values);
  const bool is_line =
      std::all_of(w.values.begin(), w.values.end(), [](float v) { return v == 0; });
  if (!is_line) Search(args, w, column.present, periods, strengths);
}

}  // namespace

size_t PeriodsWorkspaceBytes(const PeriodArgs& args) {
  size_t total = 0;
  Carve(SizesOf(args.observed.steps), [&](size_t bytes) {
    total += Aligned(bytes);
    return static_cast<std::byte*>(nullptr);
  });
  return total;
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
  Workspace workspace = Prepare(SizesOf(args.observed.steps), args.workspace.data());
  for (int64_t s = 0; s < args.observed.series; ++s) PeriodsOf(args, s, workspace);
}

}  // namespace foreshadow::kernels::cpu
