// Least squares for autoregressive models by the normal equations, in double precision: which sums
// of products make the Gram matrix of lagged copies of a series, and how it is solved.
//
// Products of columns a and b depend on the distance of their lags alone but for the ends: one sum
// a distance, over the whole series, serves all pairs of that distance (the covariance method,
// Makhoul 1975, section III B, kept exact for any list of lags).
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <tuple>

#include "kernels/algo/portable.h"
#include "kernels/check.h"
#include "kernels/ops.h"

namespace foreshadow::kernels {

// Least share of a regressor's variation that the regressors before it may leave unexplained.
inline constexpr double kArSingular = 1e-11;

inline constexpr int kArPairsMax = kRegressorsMax * (kRegressorsMax + 1) / 2;

// Column 0 is the series itself, column k + 1 the series lags[k] steps before.
struct ArPlan {
  int columns = 1;
  int pairs = 1;
  int64_t span = 0;                     // the largest lag: the first step with a row
  int32_t shifts[kRegressorsMax] = {};  // of the columns, ascending
  // Pairs of columns near <= far, by distance of their shifts, then by shift.
  uint8_t near[kArPairsMax] = {};
  uint8_t far[kArPairsMax] = {};

  FORESHADOW_PORTABLE int64_t Distance(int pair) const {
    return shifts[far[pair]] - shifts[near[pair]];
  }
};

inline ArPlan PlanAutoregression(const AutoregressionArgs& args) {
  ArPlan plan;
  plan.columns = static_cast<int>(args.lags.size()) + 1;
  std::copy(args.lags.begin(), args.lags.end(), plan.shifts + 1);
  plan.span = plan.shifts[plan.columns - 1];
  std::array<std::tuple<int32_t, uint8_t, uint8_t>, kArPairsMax> pairs;
  plan.pairs = 0;
  for (uint8_t far = 0; far < plan.columns; ++far) {
    for (uint8_t near = 0; near <= far; ++near) {
      pairs[static_cast<size_t>(plan.pairs++)] = {plan.shifts[far] - plan.shifts[near], near, far};
    }
  }
  std::sort(pairs.begin(), pairs.begin() + plan.pairs);
  for (int i = 0; i < plan.pairs; ++i) {
    std::tie(std::ignore, plan.near[i], plan.far[i]) = pairs[static_cast<size_t>(i)];
  }
  return plan;
}

// What every backend asks of its caller.
inline void CheckAutoregression(const AutoregressionArgs& args) {
  FORESHADOW_CHECK(!args.lags.empty() && args.lags.size() < kRegressorsMax && args.ridge >= 0);
  for (size_t k = 0; k < args.lags.size(); ++k) {
    FORESHADOW_CHECK(args.lags[k] > (k == 0 ? 0 : args.lags[k - 1]));
  }
  FORESHADOW_CHECK(args.coefficients.steps == std::ssize(args.lags) + 1);
  FORESHADOW_CHECK(args.coefficients.series == args.values.series);
  FORESHADOW_CHECK(std::ssize(args.variance) == args.values.series);
  FORESHADOW_CHECK(std::ssize(args.status) == args.values.series);
}

inline bool HasRows(const AutoregressionArgs& args, const ArPlan& plan) {
  return args.values.steps - plan.span >= 2 * plan.columns;
}

// Where the matrix has the products of a pair of columns, and after them the sums of the columns.
FORESHADOW_PORTABLE constexpr int GramIndex(int a, int b) {
  return a <= b ? b * (b + 1) / 2 + a : a * (a + 1) / 2 + b;
}
FORESHADOW_PORTABLE constexpr int GramSumIndex(const ArPlan& plan, int column) {
  return plan.pairs + column;
}
inline int GramSize(const ArPlan& plan) { return plan.pairs + plan.columns; }

// What kernels/algo/gram.inc needs of a number beside arithmetic; vectors of series have the like.
FORESHADOW_PORTABLE inline double SquareRoot(double x) { return std::sqrt(x); }
FORESHADOW_PORTABLE inline double Larger(double a, double b) { return a > b ? a : b; }
FORESHADOW_PORTABLE inline double Smaller(double a, double b) { return a < b ? a : b; }

// The verdict on a series, given the status of its samples.
FORESHADOW_PORTABLE inline SeriesStatus ArStatus(SeriesStatus status, const ArPlan& plan,
                                                 double rows, double worst) {
  if (status != SeriesStatus::kOk) return status;
  if (rows < 2 * plan.columns) return SeriesStatus::kTooShort;
  return worst > kArSingular ? SeriesStatus::kOk : SeriesStatus::kSingular;
}

FORESHADOW_PORTABLE inline void VoidAutoregression(const AutoregressionArgs& args, int64_t series,
                                                   SeriesStatus status) {
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  args.status[series] = status;
  args.variance[series] = kNone;
  for (int64_t k = 0; k < args.coefficients.steps; ++k) args.coefficients.at(k, series) = kNone;
}

}  // namespace foreshadow::kernels
