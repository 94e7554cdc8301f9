// What lagged correlation makes of the sums over the pairs of a lag, one series at a time.
//
// Pearson's correlation of the leader with the follower so many steps later, over the pairs that
// both have. Autocorrelated series correlate by chance, so the test counts effective pairs
// (Bartlett 1935, for series whose memory is that of their lag-one correlations), and the best of
// several lags is corrected for the search (Sidak 1967).
#pragma once

#include <cmath>
#include <limits>

#include "kernels/algo/portable.h"
#include "kernels/check.h"
#include "kernels/ops.h"

namespace foreshadow::kernels {

inline constexpr double kLagPairsMin = 8;
// Least variation of the pairs, as a share of the whole series' sum of squares: below, what is left
// of the sums is their rounding.
inline constexpr double kLagVariationMin = 1e-10;

// Over the pairs of one lag: x of the leader, y of the follower.
struct LagSums {
  double pairs = 0;
  double x = 0;
  double y = 0;
  double xx = 0;
  double yy = 0;
  double xy = 0;
};

// NaN with too few pairs or without variation. Squares are those of the whole series.
FORESHADOW_PORTABLE inline double CorrelationOf(const LagSums& sums, double x_square,
                                                double y_square) {
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  if (sums.pairs < kLagPairsMin) return kNone;
  const double vx = sums.xx - sums.x * sums.x / sums.pairs;
  const double vy = sums.yy - sums.y * sums.y / sums.pairs;
  if (!(vx > kLagVariationMin * x_square && vy > kLagVariationMin * y_square)) return kNone;
  const double r = (sums.xy - sums.x * sums.y / sums.pairs) / std::sqrt(vx * vy);
  return r < -1 ? -1 : r > 1 ? 1 : r;
}

// The share of its pairs that an autocorrelated series is worth, of the lag-one correlations of
// leader and follower (NaN = unknown, taken as none).
FORESHADOW_PORTABLE inline double EffectiveShare(double leader_memory, double follower_memory) {
  const double memory = leader_memory * follower_memory;
  if (!(memory > 0)) return 1;
  return (1 - memory) / (1 + memory);
}

// Two-sided chance of such a correlation among independent series: Fisher's z is close to normal.
FORESHADOW_PORTABLE inline double LagChance(double correlation, double effective_pairs) {
  if (effective_pairs <= 4) return 1;
  const double off = std::abs(correlation) < 1 - 1e-12 ? std::abs(correlation) : 1 - 1e-12;
  return std::erfc(std::atanh(off) * std::sqrt((effective_pairs - 3) / 2));
}

// Chance that the best of so many tries is as small.
FORESHADOW_PORTABLE inline double Sidak(double chance, int64_t tries) {
  return -std::expm1(static_cast<double>(tries) * std::log1p(-chance));
}

// The strongest lag so far.
struct LagChoice {
  int32_t lag = 0;
  int32_t tried = 0;  // lags that could be judged
  double correlation = 0;
  double effective_pairs = 0;
};

// One lag after the other, ascending; fills its row of the tables too, if wanted. `share` is
// EffectiveShare; squares are those of the whole series.
FORESHADOW_PORTABLE inline void OfferLag(const LagArgs& args, int64_t series, int32_t lag,
                                         SeriesStatus status, const LagSums& sums, double x_square,
                                         double y_square, double share, LagChoice& choice) {
  const double correlation = status == SeriesStatus::kOk ? CorrelationOf(sums, x_square, y_square)
                                                         : std::numeric_limits<double>::quiet_NaN();
  const bool judged = !std::isnan(correlation);
  const double effective_pairs = judged ? sums.pairs * share : 0;
  if (args.correlations.data != nullptr) {
    args.correlations.at(lag, series) = static_cast<float>(correlation);
  }
  if (args.effective_pairs.data != nullptr) {
    args.effective_pairs.at(lag, series) = static_cast<float>(effective_pairs);
  }
  if (!judged) return;
  ++choice.tried;
  if (choice.tried > 1 && std::abs(correlation) <= std::abs(choice.correlation)) return;
  choice.lag = lag;
  choice.correlation = correlation;
  choice.effective_pairs = effective_pairs;
}

// What every backend asks of its caller.
inline void CheckLags(const LagArgs& args) {
  const int64_t series = args.leader.series;
  FORESHADOW_CHECK(args.max_lag >= 0);
  FORESHADOW_CHECK(args.follower.steps == args.leader.steps && args.follower.series == series);
  FORESHADOW_CHECK(std::ssize(args.lag) == series && std::ssize(args.correlation) == series);
  FORESHADOW_CHECK(std::ssize(args.p_value) == series && std::ssize(args.status) == series);
  for (const StepMajor<float>& table : {args.correlations, args.effective_pairs}) {
    FORESHADOW_CHECK(table.data == nullptr ||
                     (table.steps == int64_t{args.max_lag} + 1 && table.series == series));
  }
}

// The verdict on a series of which every lag was offered, or none when `status` is not kOk.
FORESHADOW_PORTABLE inline void ChooseLag(const LagArgs& args, int64_t series, SeriesStatus status,
                                          const LagChoice& choice) {
  if (status == SeriesStatus::kOk && choice.tried == 0) status = SeriesStatus::kTooShort;
  args.status[series] = status;
  const bool ok = status == SeriesStatus::kOk;
  args.lag[series] = ok ? choice.lag : 0;
  args.correlation[series] =
      ok ? static_cast<float>(choice.correlation) : std::numeric_limits<float>::quiet_NaN();
  args.p_value[series] =
      ok ? static_cast<float>(
               Sidak(LagChance(choice.correlation, choice.effective_pairs), choice.tried))
         : 1;
}

}  // namespace foreshadow::kernels
