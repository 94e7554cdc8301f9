// Pooled lags on the GPU, a thread block a group.
#pragma once

#include "kernels/algo/lag_pool.h"

namespace foreshadow::kernels::cuda {

inline constexpr int kLagPoolThreads = 256;

struct LagPoolMember {
  double weight;  // 0 = not judged at that lag
  double z;
};

FORESHADOW_PORTABLE inline LagPoolMember MemberAt(const LagPoolArgs& args, int32_t lag,
                                                  int64_t member) {
  const int64_t series = args.members[member];
  const double pairs = args.effective_pairs.at(lag, series);
  if (!(pairs > kPoolPairsMin)) return {0, 0};
  const double r = args.correlations.at(lag, series);
  const double within = r < -kPoolCorrelationMax  ? -kPoolCorrelationMax
                        : r > kPoolCorrelationMax ? kPoolCorrelationMax
                                                  : r;
  return {pairs - 3, std::atanh(within)};
}

struct PoolGroups {
  LagPoolArgs args;

  template <typename Team>
  FORESHADOW_PORTABLE void operator()(const Team& team, int64_t group) const {
    const int64_t begin = group == 0 ? 0 : args.group_ends[group - 1];
    const int64_t count = args.group_ends[group] - begin;
    const auto at = [&](int32_t lag, int64_t i) { return MemberAt(args, lag, begin + i); };
    LagPoolChoice choice;
    for (int32_t lag = 0; lag < args.correlations.steps; ++lag) {
      LagPoolSums sums;
      sums.members = team.Sum(count, [&](int64_t i) { return at(lag, i).weight > 0 ? 1.0 : 0.0; });
      sums.weight = team.Sum(count, [&](int64_t i) { return at(lag, i).weight; });
      sums.weighted = team.Sum(count, [&](int64_t i) {
        const LagPoolMember member = at(lag, i);
        return member.weight * member.z;
      });
      sums.square = team.Sum(count, [&](int64_t i) {
        const LagPoolMember member = at(lag, i);
        return member.weight * member.z * member.z;
      });
      OfferLagPool(lag, sums, choice);
    }
    team.For(1, [&](int64_t) { ChooseLagPool(args, group, choice); });
  }
};

template <typename Device>
void LagPool(const LagPoolArgs& args) {
  CheckLagPool(args);
  Device::Launch(std::ssize(args.group_ends), kLagPoolThreads, 0, args.stream, PoolGroups{args});
}

}  // namespace foreshadow::kernels::cuda
