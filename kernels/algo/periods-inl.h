// Periods in two looks, as Vlachos, Yu and Castelli (2005) combine them: peaks of the tapered
// periodogram over the noise around them, each then confirmed and refined on the autocorrelation.
// The noise is what an AR(1) process would give, fitted to quartiles of the log spectrum, so that
// the peaks themselves do not raise it (after Mann and Lees 1996), and raised further where the
// spectrum lies above that over a whole octave.
//
// The text is written over a team that works on one series: vectors on the CPU, a thread block on
// the GPU. An item of a team is an index (item.at) or several from there on; a value of type F is a
// float for each. A team offers
//   For(n, f)   f(item) over 0..n-1; done, and seen by all threads, when it returns
//   Each(n, f)  likewise with plain indices
//   Sum, Max, Count, First(n, ..., f)  over what f(item) gives: values, or conditions for the last
//               two (First = the smallest index, or n); every thread gets the same result, so that
//               all take the same branches
//   Load, Store, Set, Iota, ...  of values. Load may read into the slack past the end of an array,
//               Store writes no index that the loop does not have.
// What has to happen between two Fourier transforms is a function each; the caller transforms.

// Compiled once per instruction set, in the manner of Highway; elsewhere once.
#if defined(FORESHADOW_KERNELS_ALGO_PERIODS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FORESHADOW_KERNELS_ALGO_PERIODS_INL_H_
#undef FORESHADOW_KERNELS_ALGO_PERIODS_INL_H_
#else
#define FORESHADOW_KERNELS_ALGO_PERIODS_INL_H_
#endif

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/algo/periods.h"

#undef FORESHADOW_TEAM_NAMESPACE
#undef FORESHADOW_TEAM
#undef FORESHADOW_ITEMS
#if defined(HWY_NAMESPACE)
#define FORESHADOW_TEAM_NAMESPACE HWY_NAMESPACE
#define FORESHADOW_TEAM HWY_ATTR   // a function of a team
#define FORESHADOW_ITEMS HWY_ATTR  // a lambda over its items
HWY_BEFORE_NAMESPACE();
#else
#define FORESHADOW_TEAM_NAMESPACE on_team
#define FORESHADOW_TEAM FORESHADOW_DEVICE
#define FORESHADOW_ITEMS
#endif

namespace foreshadow::kernels {
namespace FORESHADOW_TEAM_NAMESPACE {

inline constexpr int kCandidates = 32;       // peaks looked at
inline constexpr float kNoiseFloor = 1e-4f;  // of the mean power: 40 dB below it
inline constexpr float kHillMin =
    0.1f;  // of the series' autocorrelation; lower is no use to a forecast
inline constexpr float kBand99 = 2.5758f;  // deviations of a normal distribution
inline constexpr float kBandOfMany = 4;    // likewise, where hundreds of lags are looked at
inline constexpr float kWhiteMisfit = 12;  // that white noise must save: about two deviations,
inline constexpr float kGapMisfit = 4;     // and one where gaps are known to add some
inline constexpr float kOwnMin = 0.7f;     // of a multiple's correlation
inline constexpr float kQuartileMean = 0.2877f;  // first quartile of an exponential of mean 1
inline constexpr float kPairsMin = 8;            // fewer give no autocorrelation
inline constexpr int kCombTeeth = 12;            // multiples of a lag that help to place it
inline constexpr float kMainLobe = 2;            // half its width, in frequencies of the taper
inline constexpr float kPi = 3.14159265f;
inline constexpr double kTiny = 1e-30;

template <typename T>
FORESHADOW_TEAM T Larger(T a, T b) {
  return a > b ? a : b;
}
template <typename T>
FORESHADOW_TEAM T Smaller(T a, T b) {
  return a < b ? a : b;
}

FORESHADOW_TEAM inline float FloatOf(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// --- Before the first look ----------------------------------------------------------------------

// Takes the line of least squares away from row.values, sets missing samples to zero, the detrended
// mean, and judges the series. Values are scaled by their reach first, so that no level and no unit
// costs precision, and time is counted from the middle.
template <typename Team>
FORESHADOW_TEAM void Begin(Team team, const PeriodShape& shape, const PeriodRow& row) {
  using F = typename Team::F;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const int64_t steps = shape.steps;
  PeriodState state{};
  state.present = team.Count(steps, [&](auto i) FORESHADOW_ITEMS {
    const F value = team.Load(row.values, i);
    return value == value;
  });
  state.gaps = state.present < steps;
  const int64_t infinities = team.Count(steps, [&](auto i) FORESHADOW_ITEMS {
    const F value = team.Load(row.values, i);
    return team.Larger(value, team.Set(0) - value) == team.Set(kInfinity);
  });
  const auto largest = [&](float sign) FORESHADOW_ITEMS {
    return team.Max(steps, -kInfinity, [&](auto i) FORESHADOW_ITEMS {
      const F value = team.Load(row.values, i);
      return team.Select(value == value, value * team.Set(sign), team.Set(-kInfinity));
    });
  };
  const float high = largest(1);
  const float low = -largest(-1);
  if (infinities > 0) {
    state.status = SeriesStatus::kNotFinite;
  } else if (state.present == 0) {
    state.status = SeriesStatus::kNoData;
  } else if (low == high) {
    state.status = SeriesStatus::kConstant;
  } else if (state.present < kPeriodSamplesMin) {
    state.status = SeriesStatus::kTooShort;
  }
  state.done = state.status != SeriesStatus::kOk;
  if (!state.done) {
    const float middle = low / 2 + high / 2;
    const float reach = Larger(high - middle, middle - low);
    const float center = static_cast<float>(steps - 1) / 2;
    team.For(steps, [&](auto i) FORESHADOW_ITEMS {
      const F value = team.Load(row.values, i);
      const auto there = value == value;
      team.Store(team.Select(there, (value - team.Set(middle)) / team.Set(reach), team.Set(0)),
                 row.values, i);
      team.Store(team.Select(there, team.Set(1), team.Set(0)), row.present, i);
    });
    team.For(shape.padded - steps,
             [&](auto i) FORESHADOW_ITEMS { team.Store(team.Set(0), row.values + steps, i); });
    team.For(kRowSlack,
             [&](auto i) FORESHADOW_ITEMS { team.Store(team.Set(0), row.present + steps, i); });
    const auto time = [&](auto i) FORESHADOW_ITEMS { return team.Iota(i) - team.Set(center); };
    const auto n = static_cast<double>(state.present);
    const double st = team.Sum(
        steps, [&](auto i) FORESHADOW_ITEMS { return team.Load(row.present, i) * time(i); });
    const double stt = team.Sum(steps, [&](auto i) FORESHADOW_ITEMS {
      return team.Load(row.present, i) * time(i) * time(i);
    });
    const double sy =
        team.Sum(steps, [&](auto i) FORESHADOW_ITEMS { return team.Load(row.values, i); });
    const double sty = team.Sum(
        steps, [&](auto i) FORESHADOW_ITEMS { return team.Load(row.values, i) * time(i); });
    const double determinant = n * stt - st * st;
    const double slope = determinant > 0 ? (n * sty - st * sy) / determinant : 0;
    const double level = (sy - slope * st) / n;
    team.For(steps, [&](auto i) FORESHADOW_ITEMS {
      const F line =
          team.Set(static_cast<float>(level)) + team.Set(static_cast<float>(slope)) * time(i);
      team.Store(team.Load(row.values, i) - line * team.Load(row.present, i), row.values, i);
    });
    // What rounding leaves of a line is no series: a unit in the last place of the samples, and of
    // the arithmetic above.
    const float off = team.Max(steps, 0, [&](auto i) FORESHADOW_ITEMS {
      const F value = team.Load(row.values, i);
      return team.Larger(value, team.Set(0) - value);
    });
    const double magnitude = Larger(double{high}, -double{low}) / reach;
    state.done = off <= 0x1p-20 + 0x1p-23 * magnitude;
  }
  team.Each(1, [&](int64_t) FORESHADOW_ITEMS { *row.state = state; });
}

// --- Between the transforms ---------------------------------------------------------------------

// Puts the mask of samples where its transform starts from.
template <typename Team>
FORESHADOW_TEAM void MaskToTransform(Team team, const PeriodShape& shape, const PeriodRow& row) {
  team.For(shape.steps,
           [&](auto i) FORESHADOW_ITEMS { team.Store(team.Load(row.present, i), row.pairs, i); });
  team.For(shape.padded - shape.steps,
           [&](auto i) FORESHADOW_ITEMS { team.Store(team.Set(0), row.pairs + shape.steps, i); });
}

// The spectrum becomes that of sums of products of the values with themselves so many steps later
// (Wiener and Khinchin).
template <typename Team>
FORESHADOW_TEAM void SquareSpectrum(Team team, const PeriodShape& shape, const PeriodRow& row) {
  using F = typename Team::F;
  team.For(shape.ordinates, [&](auto k) FORESHADOW_ITEMS {
    F re;
    F im;
    team.LoadComplex(row.spectrum, k, re, im);
    team.StoreComplex(re * re + im * im, team.Set(0), row.spectrum, k);
  });
}

// Of the mask's squared spectrum transformed back. A round trip multiplies by the length.
template <typename Team>
FORESHADOW_TEAM void CountPairs(Team team, const PeriodShape& shape, const PeriodRow& row) {
  const auto length = static_cast<float>(shape.padded);
  team.For(shape.steps, [&](auto lag) FORESHADOW_ITEMS {
    team.Store(team.Round(team.Load(row.pairs, lag) / team.Set(length)), row.pairs, lag);
  });
}

// Power of the values under a Hann taper, which a strong peak needs lest it leak over weak ones. On
// a taper that is half as long as the transform it is a filter of three ordinates two apart.
template <typename Team>
FORESHADOW_TEAM void TaperedPower(Team team, const PeriodShape& shape, const PeriodRow& row) {
  using F = typename Team::F;
  const int64_t end = 2 * (shape.ordinates - 1);
  team.Each(kMirrored, [&](int64_t k) FORESHADOW_ITEMS {
    const int64_t away = 2 * (k + 1);
    row.spectrum[-away] = row.spectrum[away];
    row.spectrum[-away + 1] = -row.spectrum[away + 1];
    row.spectrum[end + away] = row.spectrum[end - away];
    row.spectrum[end + away + 1] = -row.spectrum[end - away + 1];
  });
  const F cosine = team.Set(0.25f * shape.taper_cosine);
  const F sine = team.Set(0.25f * shape.taper_sine);
  team.For(shape.ordinates, [&](auto k) FORESHADOW_ITEMS {
    F re;
    F im;
    F re_below;
    F im_below;
    F re_above;
    F im_above;
    team.LoadComplex(row.spectrum, k, re, im);
    team.LoadComplex(row.spectrum - 2 * kMirrored, k, re_below, im_below);
    team.LoadComplex(row.spectrum + 2 * kMirrored, k, re_above, im_above);
    re = team.Set(0.5f) * re + cosine * (re_below + re_above) + sine * (im_below - im_above);
    im = team.Set(0.5f) * im + cosine * (im_below + im_above) + sine * (re_above - re_below);
    team.Store(re * re + im * im, row.power, k);
  });
}

// Level of noise in a band of ordinates, whose lower quartile a few peaks do not move. The quartile
// is found a bit at a time, for floats of one sign are ordered as their bits are, and to 2^-8.
template <typename Team>
FORESHADOW_TEAM float QuartileLevel(Team team, const float* ordinates, int64_t count) {
  constexpr int kHighest = 30;
  constexpr int kLowest = 15;
  uint32_t bits = 0;
  for (int bit = kHighest; bit >= kLowest; --bit) {
    const uint32_t trial = bits | uint32_t{1} << bit;
    const float bound = FloatOf(trial);
    const int64_t below = team.Count(
        count, [&](auto k) FORESHADOW_ITEMS { return team.Load(ordinates, k) < team.Set(bound); });
    if (below <= count / 4) bits = trial;
  }
  return Larger(FloatOf(bits) / kQuartileMean, std::numeric_limits<float>::min());
}

struct Noise {
  int64_t index;  // in the tables
  float red;
  float white;
  float variance;  // its mean power, of all ordinates'
};

// The noise whose spectrum comes nearest to the logs of the levels of bands, in row.scratch.
template <typename Team>
FORESHADOW_TEAM Noise NearestNoise(Team team, const PeriodShape& shape, const PeriodTables& tables,
                                   const PeriodRow& row) {
  using F = typename Team::F;
  const float* levels = row.scratch;
  float* misfits = row.scratch + kBandsMax;
  float* means = misfits + kNoisesPadded;
  team.For(kNoises, [&](auto noise) FORESHADOW_ITEMS {
    F weights = team.Set(0);
    F sum = team.Set(0);
    F square = team.Set(0);
    for (int b = 0; b < shape.bands_count; ++b) {
      const F weight = team.Set(std::sqrt(static_cast<float>(shape.bands[b].size)));
      const F off = team.Set(levels[b]) - team.Load(tables.noise_logs + b * kNoisesPadded, noise);
      weights = weights + weight;
      sum = sum + weight * off;
      square = square + weight * off * off;
    }
    team.Store(sum / weights, means, noise);
    team.Store(square - sum * sum / weights, misfits, noise);
  });
  const auto least_of = [&](int64_t count) FORESHADOW_ITEMS {
    return -team.Max(count, -std::numeric_limits<float>::infinity(),
                     [&](auto noise)
                         FORESHADOW_ITEMS { return team.Set(0) - team.Load(misfits, noise); });
  };
  const float least_without_white = least_of(kReds);
  float least = least_of(kNoises);
  const float saved = least_without_white - least;
  if (saved < (row.state->gaps ? kGapMisfit : kWhiteMisfit)) least = least_without_white;
  const int64_t best = team.First(kNoises, [&](auto noise) FORESHADOW_ITEMS {
    return team.Load(misfits, noise) == team.Set(least);
  });
  return {best, shape.reds[best % kReds], shape.whites[best / kReds], std::exp(means[best])};
}

// Fills row.excess by the power over what the noise would have, of at least `floor`.
template <typename Team>
FORESHADOW_TEAM void HoldAgainst(Team team, const PeriodShape& shape, const PeriodTables& tables,
                                 const PeriodRow& row, const Noise& noise, float mean,
                                 float floor) {
  using F = typename Team::F;
  const float red = noise.red;
  const float level = noise.variance * mean;
  const float of_red = (1 - noise.white) * (1 - red * red);
  team.For(shape.ordinates, [&](auto k) FORESHADOW_ITEMS {
    const F shift = team.Set(1 + red * red) - team.Set(2 * red) * team.Load(tables.cosines, k);
    const F whole = team.Set(level) * (team.Set(of_red) + team.Set(noise.white) * shift);
    const F per_noise = team.Smaller(team.Set(1 / floor), shift / whole);
    team.Store(team.Load(row.power, k) * per_noise, row.excess, k);
  });
}

// Fills row.excess by the power over what noise alone would have.
template <typename Team>
FORESHADOW_TEAM Noise FitNoise(Team team, const PeriodShape& shape, const PeriodTables& tables,
                               const PeriodRow& row) {
  // A cycle without any noise leaves nothing but the taper's side lobes between its peaks: they are
  // no spectrum to hold peaks against.
  const double power =
      team.Sum(shape.ordinates, [&](auto k) FORESHADOW_ITEMS { return team.Load(row.power, k); });
  const auto mean = static_cast<float>(Larger(kTiny, power / static_cast<double>(shape.ordinates)));
  const float floor = kNoiseFloor * mean;
  float* levels = row.scratch;
  for (int b = 0; b < shape.bands_count; ++b) {
    const Band band = shape.bands[b];
    const float level = QuartileLevel(team, row.power + band.first, band.size) / mean;
    team.Each(1,
              [&](int64_t) FORESHADOW_ITEMS { levels[b] = std::log(Larger(kNoiseFloor, level)); });
  }
  Noise noise = NearestNoise(team, shape, tables, row);
  HoldAgainst(team, shape, tables, row, noise, mean, floor);
  // A steep spectrum falls within a band, whose quartile is then that of its upper end. Held
  // against the first fit it is flat, and the levels are right.
  for (int b = 0; b < shape.bands_count; ++b) {
    const Band band = shape.bands[b];
    const float above = QuartileLevel(team, row.excess + band.first, band.size);
    const float first =
        noise.variance * std::exp(tables.noise_logs[b * kNoisesPadded + noise.index]);
    team.Each(1, [&](int64_t) FORESHADOW_ITEMS {
      levels[b] = std::log(above * Larger(kNoiseFloor, first));
    });
  }
  noise = NearestNoise(team, shape, tables, row);
  HoldAgainst(team, shape, tables, row, noise, mean, floor);
  for (int b = 0; b < shape.octaves_count; ++b) {
    float* excess = row.excess + shape.octaves[b].first;
    const int64_t size = shape.octaves[b].size;
    const float above = QuartileLevel(team, excess, size);
    if (above <= 1) continue;
    team.For(size, [&](auto k) FORESHADOW_ITEMS {
      team.Store(team.Load(excess, k) * team.Set(1 / above), excess, k);
    });
  }
  return noise;
}

// From the spectrum to the candidates: local maxima of the power that neither noise would reach nor
// the side lobes of the highest, which fall off as 1 / (d (d^2 - 1)) at d frequencies of the
// taper's length away, and as 1 / d where the taper is cut off (Harris 1978). They are what is left
// in row.excess. Without any the series is done.
template <typename Team>
FORESHADOW_TEAM void Look(Team team, const PeriodShape& shape, const PeriodTables& tables,
                          const PeriodRow& row) {
  using F = typename Team::F;
  TaperedPower(team, shape, row);
  const Noise noise = FitNoise(team, shape, tables, row);
  const int64_t count = shape.last - shape.first + 1;
  const float* power = row.power + shape.first;
  float* excess = row.excess + shape.first;
  const auto power_at = [&](auto k) FORESHADOW_ITEMS { return team.Load(power, k); };
  const float most = team.Max(count, 0, power_at);
  const int64_t main =
      team.First(count, [&](auto k) FORESHADOW_ITEMS { return power_at(k) == team.Set(most); });
  team.For(count, [&](auto k) FORESHADOW_ITEMS {
    const F here = team.Load(power, k);
    const F over = team.Load(excess, k);
    const F none = team.Set(0);
    const F away = (team.Iota(k) - team.Set(static_cast<float>(main))) * team.Set(0.5f);
    const F lobe = team.Set(kMainLobe * kMainLobe);
    const F square = team.Larger(away * away, lobe);
    const F leak = team.Set(1) / (square - team.Set(1)) + team.Set(2 * shape.taper_end);
    // Twice the amplitude: the lobes of the negative frequency may add to it.
    const F bound = team.Set(4 * most / (kPi * kPi)) * leak * leak / square;
    F peak = team.Select(over >= team.Set(shape.threshold), over, none);
    peak = team.Select(team.Iota(k) == team.Set(static_cast<float>(main)), peak,
                       team.Select(here > bound, peak, none));
    peak = team.Select(here > team.Load(power - 1, k), peak, none);
    peak = team.Select(here >= team.Load(power + 1, k), peak, none);
    team.Store(peak, excess, k);
  });
  const float highest =
      team.Max(count, 0, [&](auto k) FORESHADOW_ITEMS { return team.Load(excess, k); });
  team.Each(1, [&](int64_t) FORESHADOW_ITEMS {
    row.state->red = noise.red;
    row.state->white = noise.white;
    row.state->done = highest <= 0;
  });
}

// Mean correlation at each lag and its multiples: they place a long cycle far better than one lag.
// Into row.power, whose candidates are found by now.
template <typename Team>
FORESHADOW_TEAM void Comb(Team team, const PeriodShape& shape, const PeriodRow& row) {
  using F = typename Team::F;
  const auto steps = static_cast<float>(shape.steps);
  const int64_t first = shape.min_period;
  team.For(shape.max_period - first + 1, [&](auto i) FORESHADOW_ITEMS {
    const F lag = team.Iota(i) + team.Set(static_cast<float>(first));
    F at = lag;
    F sum = team.Set(0);
    F weights = team.Set(0);
    for (int tooth = 1; tooth <= kCombTeeth && tooth * (first + i.at) < shape.steps; ++tooth) {
      const F inside = team.Smaller(at, team.Set(steps));  // where weight and correlation are 0
      const F weight = team.Set(steps) - inside;
      sum = sum + weight * team.Gather(row.correlation, inside);
      weights = weights + weight;
      at = at + lag;
    }
    team.Store(sum / weights, row.power + first, i);
  });
}

// Of the values' squared spectrum transformed back: row.correlation and its combs.
template <typename Team>
FORESHADOW_TEAM void Correlate(Team team, const PeriodShape& shape, const PeriodRow& row) {
  using F = typename Team::F;
  const auto steps = static_cast<float>(shape.steps);
  const bool gaps = row.state->gaps;
  const float total =
      team.Max(1, 0, [&](auto lag) FORESHADOW_ITEMS { return team.Load(row.correlation, lag); });
  const float whole = row.state->count == 0 ? total : row.state->whole;
  const float variance = total / static_cast<float>(row.state->present);
  team.For(shape.steps, [&](auto lag) FORESHADOW_ITEMS {
    const F pairs = gaps ? team.Load(row.pairs, lag) : team.Set(steps) - team.Iota(lag);
    const F mean = team.Load(row.correlation, lag) / (pairs * team.Set(variance));
    team.Store(team.Select(pairs >= team.Set(kPairsMin), mean, team.Set(0)), row.correlation, lag);
  });
  team.Each(1, [&](int64_t) FORESHADOW_ITEMS {
    row.correlation[shape.steps] = 0;
    row.state->whole = whole;
    row.state->share = total / whole;
  });
  Comb(team, shape, row);
}

// --- From candidates to cycles ------------------------------------------------------------------

struct Cycle {
  int64_t period = 0;  // 0 = none
  float strength = 0;
};

// Sum over all lags of the noise's autocorrelation times itself `apart` lags on: over the samples,
// the covariance of what noise does to the correlation at two lags (Bartlett 1946).
FORESHADOW_TEAM inline double CommonNoise(const PeriodState& state, int64_t apart) {
  const double red = state.red;
  const double share = 1 - double{state.white};
  const double decay = std::pow(red, static_cast<double>(apart));
  const double of_red =
      decay * ((1 + red * red) / (1 - red * red) + static_cast<double>(apart)) * share * share;
  return of_red + (apart == 0 ? 1 - share * share : 2 * (1 - share) * share * decay);
}

// Deviation of the noise's autocorrelation.
FORESHADOW_TEAM inline float NoiseOf(const PeriodState& state) {
  return static_cast<float>(std::sqrt(CommonNoise(state, 0) / static_cast<double>(state.present)));
}

// Likewise, less what it has in common with that half a lag away: red noise lifts a hill and its
// valleys together.
FORESHADOW_TEAM inline float NoiseOfHill(const PeriodState& state, int64_t lag) {
  const double own = CommonNoise(state, 0) - CommonNoise(state, Larger<int64_t>(1, lag / 2));
  return static_cast<float>(std::sqrt(own / static_cast<double>(state.present)));
}

struct Peak {
  int64_t at;  // ordinate; 0 = none
  float excess;
};

// The highest candidate, which changes its sign: with `sign` 1 of those that were not asked for
// yet, with -1 of those that were once.
template <typename Team>
FORESHADOW_TEAM Peak NextPeak(Team team, const PeriodShape& shape, const PeriodRow& row,
                              float sign) {
  const int64_t count = shape.last - shape.first + 1;
  float* excess = row.excess + shape.first;
  const auto of_sign = [&](auto k)
                           FORESHADOW_ITEMS { return team.Set(sign) * team.Load(excess, k); };
  const float highest = team.Max(count, 0, of_sign);
  if (highest <= 0) return {};
  const int64_t at =
      team.First(count, [&](auto k) FORESHADOW_ITEMS { return of_sign(k) == team.Set(highest); });
  team.Each(1, [&](int64_t) FORESHADOW_ITEMS { excess[at] = -sign * highest; });
  return {shape.first + at, highest};
}

template <typename Team>
FORESHADOW_TEAM double SumOfSquares(Team team, const PeriodShape& shape, const PeriodRow& row) {
  return team.Sum(shape.steps, [&](auto i) FORESHADOW_ITEMS {
    return team.Load(row.values, i) * team.Load(row.values, i);
  });
}

// Variance that the means of a period's phases leave of `total`, adjusted for their number.
template <typename Team>
FORESHADOW_TEAM double Unexplained(Team team, const PeriodShape& shape, const PeriodRow& row,
                                   double total, int64_t period) {
  using F = typename Team::F;
  const double explained = team.Sum(period, [&](auto phase) FORESHADOW_ITEMS {
    F sum = team.Set(0);
    F count = team.Set(0);
    for (int64_t i = 0; i + phase.at < shape.steps; i += period) {
      sum = sum + team.Load(row.values + i, phase);
      count = count + team.Load(row.present + i, phase);
    }
    return sum * sum / team.Larger(count, team.Set(1));
  });
  return (total - explained) / Larger(1.0, static_cast<double>(row.state->present - period));
}

// The period within a hundredth that leaves least: a lag of the correlation scatters more.
template <typename Team>
FORESHADOW_TEAM int64_t Refine(Team team, const PeriodShape& shape, const PeriodRow& row,
                               int64_t period) {
  const int64_t slack = Larger<int64_t>(1, period / 100);
  const double total = SumOfSquares(team, shape, row);
  int64_t best = period;
  double least = Unexplained(team, shape, row, total, period);
  const int64_t last = Smaller(shape.max_period, period + slack);
  for (int64_t near = Larger(shape.min_period, period - slack); near <= last; ++near) {
    if (near == period) continue;
    const double left = Unexplained(team, shape, row, total, near);
    if (left >= least) continue;
    least = left;
    best = near;
  }
  return best;
}

// The lag of the range with the highest mean correlation; the first, when several have it.
template <typename Team>
FORESHADOW_TEAM int64_t HighestComb(Team team, const PeriodRow& row, int64_t first, int64_t last) {
  const int64_t count = last - first + 1;
  const auto comb = [&](auto i) FORESHADOW_ITEMS { return team.Load(row.power + first, i); };
  const float most = team.Max(count, -std::numeric_limits<float>::infinity(), comb);
  return first +
         team.First(count, [&](auto i) FORESHADOW_ITEMS { return comb(i) == team.Set(most); });
}

// The lag between two that the comb prefers; none when it prefers one outside, or when the
// correlation has no hill there: clearly above the valleys on both sides.
template <typename Team>
FORESHADOW_TEAM Cycle Hill(Team team, const PeriodShape& shape, const PeriodRow& row, double from,
                           double to) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  const auto low = static_cast<int64_t>(std::floor(from));
  const auto high = static_cast<int64_t>(std::ceil(to));
  const int64_t margin = Larger<int64_t>(1, high / 16);
  const int64_t first = Larger(shape.min_period, low - margin);
  const int64_t last = Smaller(shape.max_period, high + margin);
  if (first > last) return {};
  int64_t best = HighestComb(team, row, first, last);
  if (best < Larger(shape.min_period, low) || best > high) return {};
  const float slope = kBand99 * NoiseOf(*row.state);
  // Highest, or with a sign of -1 lowest, of the lags from one on.
  const auto extreme = [&](int64_t begin, int64_t count, float sign) FORESHADOW_ITEMS {
    return sign * team.Max(count, kLowest, [&](auto i) FORESHADOW_ITEMS {
      return team.Set(sign) * team.Load(row.correlation + begin, i);
    });
  };
  const float here = row.correlation[best];
  const int64_t begin = Larger<int64_t>(1, best - margin);
  const int64_t end = Smaller(shape.steps - 1, best + margin);
  if (here < extreme(begin, end - begin + 1, 1) - slope) return {};  // on another's slope
  const int64_t reach = Larger<int64_t>(1, best / 2);
  const int64_t right_count = Smaller(shape.steps - 1, best + reach) - best + 1;
  const float valleys = Larger(extreme(best - reach, reach, -1), extreme(best, right_count, -1));
  const float band = kBand99 * NoiseOfHill(*row.state, best);
  if (here - valleys < Larger(kHillMin / row.state->share, band)) return {};
  best = Refine(team, shape, row, best);
  // A sine's hill is twice as high as its correlation.
  if (row.correlation[best] * row.state->share < kHillMin / 2) return {};
  return {best, row.correlation[best]};
}

// The cycle of a peak's own period: none when the correlation has no hill there.
template <typename Team>
FORESHADOW_TEAM Cycle Confirm(Team team, const PeriodShape& shape, const PeriodRow& row,
                              int64_t peak) {
  const auto padded = static_cast<double>(shape.padded);
  return Hill(team, shape, row, padded / static_cast<double>(peak + 1),
              padded / static_cast<double>(peak - 1));
}

// The cycle that has the peak for a harmonic: the first multiple of its period with a hill. Among
// many multiples noise has a hill somewhere, the more so where few pairs are left. When the peak's
// own period has nearly as much correlation, it is the cycle, too weak for a hill of its own.
template <typename Team>
FORESHADOW_TEAM Cycle ConfirmHarmonic(Team team, const PeriodShape& shape, const PeriodRow& row,
                                      int64_t peak) {
  const auto padded = static_cast<double>(shape.padded);
  const auto shortest = padded / static_cast<double>(peak + 1);
  const auto longest = padded / static_cast<double>(peak - 1);
  for (int64_t k = 2; static_cast<double>(k) * shortest <= static_cast<double>(shape.max_period);
       ++k) {
    const auto times = static_cast<double>(k);
    const Cycle cycle = Hill(team, shape, row, times * shortest, times * longest);
    if (cycle.period == 0) continue;
    const auto pairs = static_cast<float>(shape.steps - cycle.period);
    const float noise = NoiseOf(*row.state) * std::sqrt(static_cast<float>(shape.steps) / pairs);
    if (cycle.strength < kBandOfMany * noise) continue;
    const auto first = Larger(shape.min_period, static_cast<int64_t>(std::floor(shortest)));
    const auto last = Smaller(shape.max_period, static_cast<int64_t>(std::ceil(longest)));
    const int64_t own = HighestComb(team, row, first, last);
    if (row.power[own] < kOwnMin * row.power[cycle.period]) return cycle;
    const int64_t period = Refine(team, shape, row, own);
    return {period, row.correlation[period]};
  }
  return {};
}

// The whole number that `of` is of `unit`, within a few hundredths; 0 = none above 1.
FORESHADOW_TEAM inline int64_t Multiple(int64_t of, int64_t unit) {
  const double ratio = static_cast<double>(of) / static_cast<double>(unit);
  const double whole = std::round(ratio);
  return whole >= 2 && std::abs(ratio - whole) < 0.03 * ratio ? static_cast<int64_t>(whole) : 0;
}

// Whether a cycle says more than one that is kept already: a divisor must carry at least half of
// the correlation alone, and a multiple stand out from the other multiples beside it.
FORESHADOW_TEAM inline bool IsNews(const PeriodShape& shape, const PeriodRow& row,
                                   const Cycle& cycle, const KeptCycle& kept) {
  const int64_t longer = Larger<int64_t>(cycle.period, kept.period);
  const int64_t apart = longer - Smaller<int64_t>(cycle.period, kept.period);
  if (apart <= Larger<int64_t>(1, longer / 20)) return false;
  if (Multiple(kept.period, cycle.period) > 0) {
    return 2 * row.state->share * cycle.strength >= kept.strength;
  }
  const int64_t multiple = Multiple(cycle.period, kept.period);
  if (multiple == 0) return true;
  const float below = row.correlation[(multiple - 1) * kept.period];
  const float above =
      row.correlation[Smaller(shape.steps - 1, (multiple + 1) * int64_t{kept.period})];
  return cycle.strength - Larger(below, above) >= Larger(0.02f, 2 * NoiseOf(*row.state));
}

// Keeps a cycle, those of the highest peaks first, if it is news; instead of the divisors of it
// that now turn out to be its harmonics. The work of one thread.
FORESHADOW_TEAM inline void Keep(const PeriodShape& shape, const PeriodRow& row, const Cycle& cycle,
                                 float excess) {
  PeriodState& state = *row.state;
  KeptCycle added{static_cast<int32_t>(cycle.period), Smaller(1.0f, state.share * cycle.strength),
                  excess};
  const auto is_harmonic = [&](const KeptCycle& kept) FORESHADOW_ITEMS {
    return Multiple(added.period, kept.period) > 0 && 2 * kept.strength < added.strength;
  };
  for (int k = 0; k < state.count; ++k) {
    if (!is_harmonic(state.kept[k]) && !IsNews(shape, row, cycle, state.kept[k])) return;
  }
  int count = 0;
  for (int k = 0; k < state.count; ++k) {
    if (is_harmonic(state.kept[k])) {
      added.excess = Larger(added.excess, state.kept[k].excess);
    } else {
      state.kept[count++] = state.kept[k];
    }
  }
  if (count == kKeptMax) return;
  int at = count;
  for (; at > 0 && state.kept[at - 1].excess < added.excess; --at) {
    state.kept[at] = state.kept[at - 1];
  }
  state.kept[at] = added;
  state.count = count + 1;
  state.news = true;
}

// Some whole days of a sine have a slope of their own, and taking that away shifts the period: this
// takes the line away on which the phases of the cycle agree instead.
template <typename Team>
FORESHADOW_TEAM void DetrendWithin(Team team, const PeriodShape& shape, const PeriodRow& row,
                                   int64_t period) {
  using F = typename Team::F;
  const float center = static_cast<float>(shape.steps - 1) / 2;
  // Sums over the phases of what time has in common with the values, or with itself.
  const auto common = [&](bool with_values) FORESHADOW_ITEMS {
    return team.Sum(period, [&](auto phase) FORESHADOW_ITEMS {
      F n = team.Set(0);
      F st = team.Set(0);
      F sx = team.Set(0);
      F stx = team.Set(0);
      for (int64_t i = 0; i + phase.at < shape.steps; i += period) {
        const F there = team.Load(row.present + i, phase);
        const F t = team.Iota(phase) + team.Set(static_cast<float>(i) - center);
        const F x = with_values ? team.Load(row.values + i, phase) : there * t;
        n = n + there;
        st = st + there * t;
        sx = sx + x;
        stx = stx + x * t;
      }
      return stx - st * sx / team.Larger(n, team.Set(1));
    });
  };
  const double square = common(false);
  if (square <= 0) return;
  const auto slope = static_cast<float>(common(true) / square);
  team.For(shape.steps, [&](auto i) FORESHADOW_ITEMS {
    const F line = team.Set(slope) * (team.Iota(i) - team.Set(center));
    team.Store(team.Load(row.values, i) - line * team.Load(row.present, i), row.values, i);
  });
  const double sum =
      team.Sum(shape.steps, [&](auto i) FORESHADOW_ITEMS { return team.Load(row.values, i); });
  const auto level = static_cast<float>(sum / static_cast<double>(row.state->present));
  team.For(shape.steps, [&](auto i) FORESHADOW_ITEMS {
    team.Store(team.Load(row.values, i) - team.Set(level) * team.Load(row.present, i), row.values,
               i);
  });
  team.Each(1, [&](int64_t) FORESHADOW_ITEMS {
    row.state->slope = slope;
    row.state->level = level;
  });
}

// Takes the mean of each phase away.
template <typename Team>
FORESHADOW_TEAM void TakeOut(Team team, const PeriodShape& shape, const PeriodRow& row,
                             int64_t period) {
  using F = typename Team::F;
  team.For(period, [&](auto phase) FORESHADOW_ITEMS {
    F sum = team.Set(0);
    F count = team.Set(0);
    for (int64_t i = 0; i + phase.at < shape.steps; i += period) {
      sum = sum + team.Load(row.values + i, phase);
      count = count + team.Load(row.present + i, phase);
    }
    const F mean = sum / team.Larger(count, team.Set(1));
    for (int64_t i = 0; i + phase.at < shape.steps; i += period) {
      team.Store(team.Load(row.values + i, phase) - mean * team.Load(row.present + i, phase),
                 row.values + i, phase);
    }
  });
}

// Calls use(cycle, excess) for each cycle that the candidates stand for, until it says so. A peak
// stands for a cycle of its own period or, where no peak does, as with the harmonics of a sharp
// cycle, for the first multiple of it that is one.
template <typename Team, typename Use>
FORESHADOW_TEAM void ForCycles(Team team, const PeriodShape& shape, const PeriodRow& row, Use use) {
  bool any = false;
  for (int i = 0; i < kCandidates; ++i) {
    const Peak peak = NextPeak(team, shape, row, 1);
    if (peak.at == 0) break;
    const Cycle cycle = Confirm(team, shape, row, peak.at);
    if (cycle.period == 0) continue;
    any = true;
    if (use(cycle, peak.excess)) return;
  }
  for (int i = 0; i < kCandidates && !any; ++i) {
    const Peak peak = NextPeak(team, shape, row, -1);
    if (peak.at == 0) break;
    const Cycle cycle = ConfirmHarmonic(team, shape, row, peak.at);
    if (cycle.period == 0) continue;
    any = true;
    use(cycle, peak.excess);
  }
}

// Fits the trend anew within the first cycle that is confirmed; without one the series is done. All
// candidates are candidates again.
template <typename Team>
FORESHADOW_TEAM void FitTrend(Team team, const PeriodShape& shape, const PeriodRow& row) {
  int64_t period = 0;
  ForCycles(team, shape, row, [&](const Cycle& cycle, float) FORESHADOW_ITEMS {
    period = cycle.period;
    return true;
  });
  if (period > 0) {
    DetrendWithin(team, shape, row, period);
    float* excess = row.excess + shape.first;
    team.For(shape.last - shape.first + 1, [&](auto k) FORESHADOW_ITEMS {
      const auto of_any = team.Load(excess, k);
      team.Store(team.Larger(of_any, team.Set(0) - of_any), excess, k);
    });
  }
  team.Each(1, [&](int64_t) FORESHADOW_ITEMS { row.state->done = period == 0; });
}

// Adds the cycles there are to those found before, and takes them out of the values, for two cycles
// of unlike periods hide each other's hills. The series is done when that brought nothing, or left
// too little to hold another cycle.
template <typename Team>
FORESHADOW_TEAM void FindCycles(Team team, const PeriodShape& shape, const PeriodRow& row) {
  team.Each(1, [&](int64_t) FORESHADOW_ITEMS { row.state->news = false; });
  const double whole = SumOfSquares(team, shape, row) / row.state->share;
  ForCycles(team, shape, row, [&](const Cycle& cycle, float excess) FORESHADOW_ITEMS {
    team.Each(1, [&](int64_t) FORESHADOW_ITEMS { Keep(shape, row, cycle, excess); });
    return false;
  });
  const PeriodState state = *row.state;
  for (int k = 0; k < state.count && state.news; ++k) {
    TakeOut(team, shape, row, state.kept[k].period);
  }
  const bool empty = SumOfSquares(team, shape, row) < whole * (kHillMin / 2);
  team.Each(1, [&](int64_t) FORESHADOW_ITEMS { row.state->done = !state.news || empty; });
}

// What was found, into zeros. The work of one thread.
FORESHADOW_TEAM inline void Report(const PeriodShape& shape, const PeriodState& state,
                                   int32_t* periods, float* strengths) {
  int count = 0;
  for (int k = 0; k < state.count && count < shape.reported; ++k) {
    const KeptCycle& kept = state.kept[k];
    if (kept.period < shape.reported_min || kept.period > shape.reported_max) continue;
    periods[count] = kept.period;
    strengths[count++] = kept.strength;
  }
}

}  // namespace FORESHADOW_TEAM_NAMESPACE
}  // namespace foreshadow::kernels

#if defined(HWY_NAMESPACE)
HWY_AFTER_NAMESPACE();
#endif

#endif  // FORESHADOW_KERNELS_ALGO_PERIODS_INL_H_
