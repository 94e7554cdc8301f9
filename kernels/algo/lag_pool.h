// Lagged correlations of many series taken together: at each lag the mean of Fisher's z, weighted
// by the inverse of its variance, effective pairs less three (Hedges and Olkin 1985, chapter 11);
// the lag whose mean is furthest from zero in its standard deviations wins. Cochran's Q (1954)
// tells whether the members agree.
#pragma once

#include <cmath>
#include <limits>

#include "kernels/algo/chi_square.h"
#include "kernels/algo/lags.h"

namespace foreshadow::kernels {

inline constexpr double kPoolPairsMin = 4;               // effective; fewer say nothing
inline constexpr double kPoolCorrelationMax = 1 - 1e-9;  // z of a perfect correlation is infinite

// Over the members that a lag was judged for.
struct LagPoolSums {
  double members = 0;
  double weight = 0;
  double weighted = 0;  // weight times z
  double square = 0;    // weight times the square of z
};

// The best lag so far.
struct LagPoolChoice {
  int32_t lag = 0;
  int32_t tried = 0;
  double off = 0;  // standard deviations from zero
  LagPoolSums sums;
};

FORESHADOW_PORTABLE inline void OfferLagPool(int32_t lag, const LagPoolSums& sums,
                                             LagPoolChoice& choice) {
  if (sums.members == 0) return;
  ++choice.tried;
  const double off = std::abs(sums.weighted) / std::sqrt(sums.weight);
  if (choice.tried > 1 && off <= choice.off) return;
  choice.lag = lag;
  choice.off = off;
  choice.sums = sums;
}

FORESHADOW_PORTABLE inline void ChooseLagPool(const LagPoolArgs& args, int64_t group,
                                              const LagPoolChoice& choice) {
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  const bool ok = choice.tried > 0;
  const LagPoolSums& sums = choice.sums;
  args.status[group] = ok ? SeriesStatus::kOk : SeriesStatus::kNoData;
  args.lag[group] = choice.lag;
  args.members_pooled[group] = static_cast<int32_t>(sums.members);
  args.correlation[group] = ok ? static_cast<float>(std::tanh(sums.weighted / sums.weight)) : kNone;
  args.p_value[group] =
      ok ? static_cast<float>(Sidak(std::erfc(choice.off / std::sqrt(2.0)), choice.tried)) : 1;
  const double spread = ok ? sums.square - sums.weighted * sums.weighted / sums.weight : 0;
  args.heterogeneity[group] = ok ? static_cast<float>(spread > 0 ? spread : 0) : kNone;
  args.heterogeneity_p_value[group] =
      static_cast<float>(ChiSquareTail(spread, static_cast<int64_t>(sums.members) - 1));
}

// What every backend asks of its caller.
inline void CheckLagPool(const LagPoolArgs& args) {
  const int64_t groups = std::ssize(args.group_ends);
  FORESHADOW_CHECK(args.effective_pairs.steps == args.correlations.steps);
  FORESHADOW_CHECK(args.effective_pairs.series == args.correlations.series);
  FORESHADOW_CHECK(std::ssize(args.lag) == groups && std::ssize(args.correlation) == groups);
  FORESHADOW_CHECK(std::ssize(args.p_value) == groups && std::ssize(args.status) == groups);
  FORESHADOW_CHECK(std::ssize(args.heterogeneity) == groups);
  FORESHADOW_CHECK(std::ssize(args.heterogeneity_p_value) == groups);
  FORESHADOW_CHECK(std::ssize(args.members_pooled) == groups);
}

}  // namespace foreshadow::kernels
