// Pearson's correlation of the leader with the follower so many steps later, over the pairs that
// both have. Autocorrelated series correlate by chance, so the test counts effective pairs
// (Bartlett 1935, with the first-order correlations), and the best of several lags is corrected for
// the search (Sidak 1967).
#include <cmath>
#include <limits>

#include "kernels/check.h"
#include "kernels/cpu/column.h"
#include "kernels/cpu/patterns.h"

namespace foreshadow::kernels::cpu {
namespace {

constexpr int64_t kPairsMin = 8;

struct Correlation {
  double value = 0;
  int64_t pairs = 0;
};

Correlation Correlate(std::span<const float> leader, std::span<const float> follower, int64_t lag) {
  double n = 0;
  double sx = 0;
  double sy = 0;
  double sxx = 0;
  double syy = 0;
  double sxy = 0;
  for (int64_t i = lag; i < std::ssize(follower); ++i) {
    const double x = leader[i - lag];
    const double y = follower[i];
    if (std::isnan(x) || std::isnan(y)) continue;
    n += 1;
    sx += x;
    sy += y;
    sxx += x * x;
    syy += y * y;
    sxy += x * y;
  }
  if (n < 2) return {};
  const double vx = sxx - sx * sx / n;
  const double vy = syy - sy * sy / n;
  if (vx <= 1e-12 * sxx || vy <= 1e-12 * syy) return {};
  return {(sxy - sx * sy / n) / std::sqrt(vx * vy), static_cast<int64_t>(n)};
}

// Two-sided chance of such a correlation among independent series; Fisher's z is close to normal.
double Chance(double correlation, double effective_pairs) {
  if (effective_pairs <= 4) return 1;
  const double z = std::atanh(std::min(std::abs(correlation), 1 - 1e-12));
  return std::erfc(z * std::sqrt((effective_pairs - 3) / 2));
}

// Takes out the level, so that sums of squares keep their precision.
void Center(std::span<float> values, int64_t present) {
  double sum = 0;
  for (const float value : values) {
    if (!std::isnan(value)) sum += value;
  }
  const auto mean = static_cast<float>(sum / static_cast<double>(present));
  for (float& value : values) value -= mean;
}

void LagsOf(const LagArgs& args, int64_t series, std::span<float> leader,
            std::span<float> follower) {
  args.lag[series] = 0;
  args.correlation[series] = std::numeric_limits<float>::quiet_NaN();
  args.p_value[series] = 1;
  const Column one = ReadColumn(args.leader, series, leader);
  const Column two = ReadColumn(args.follower, series, follower);
  args.status[series] = one.status != SeriesStatus::kOk ? one.status : two.status;
  if (args.status[series] != SeriesStatus::kOk) return;
  Center(leader, one.present);
  Center(follower, two.present);

  Correlation best;
  int64_t best_lag = 0;
  for (int64_t lag = 0; lag <= args.max_lag && lag < std::ssize(follower); ++lag) {
    const Correlation c = Correlate(leader, follower, lag);
    if (c.pairs >= kPairsMin && std::abs(c.value) > std::abs(best.value)) {
      best = c;
      best_lag = lag;
    }
  }
  if (best.pairs == 0) {
    args.status[series] = SeriesStatus::kTooShort;
    return;
  }
  const double memory = Correlate(leader, leader, 1).value * Correlate(follower, follower, 1).value;
  const double thinned = std::clamp((1 - memory) / (1 + memory), 0.0, 1.0);
  const double chance = Chance(best.value, static_cast<double>(best.pairs) * thinned);
  args.lag[series] = static_cast<int32_t>(best_lag);
  args.correlation[series] = static_cast<float>(best.value);
  args.p_value[series] =
      static_cast<float>(-std::expm1(static_cast<double>(args.max_lag + 1) * std::log1p(-chance)));
  if (chance >= 1) args.p_value[series] = 1;
}

}  // namespace

size_t LagsWorkspaceBytes(const LagArgs& args) {
  return 2 * static_cast<size_t>(args.leader.steps) * sizeof(float);
}

void Lags(const LagArgs& args) {
  const auto series = static_cast<size_t>(args.leader.series);
  FORESHADOW_CHECK(args.follower.steps == args.leader.steps);
  FORESHADOW_CHECK(args.follower.series == args.leader.series);
  FORESHADOW_CHECK(args.lag.size() == series && args.correlation.size() == series);
  FORESHADOW_CHECK(args.p_value.size() == series && args.status.size() == series);
  FORESHADOW_CHECK(args.max_lag >= 0 && args.workspace.size() >= LagsWorkspaceBytes(args));
  const auto steps = static_cast<size_t>(args.leader.steps);
  auto* memory = reinterpret_cast<float*>(args.workspace.data());
  for (int64_t s = 0; s < args.leader.series; ++s) {
    LagsOf(args, s, {memory, steps}, {memory + steps, steps});
  }
}

}  // namespace foreshadow::kernels::cpu
