#include "kernels/algo/lag_pool.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/unit/kernels/backends.h"

namespace foreshadow::kernels {
namespace {

using testing::Array;
using testing::Batch;
using testing::BatchOn;
using testing::kNan;

struct Pooled {
  std::vector<int32_t> lag;
  std::vector<float> correlation, p_value, heterogeneity, heterogeneity_p_value;
  std::vector<int32_t> members;
  std::vector<SeriesStatus> status;
};

class LagPools : public testing::OnBackend {
 protected:
  Pooled Pool(StepMajor<const float> correlations, StepMajor<const float> effective_pairs,
              const std::vector<int32_t>& members, const std::vector<int32_t>& group_ends) {
    const size_t n = group_ends.size();
    const Array<int32_t> members_on(ops(), members);
    const Array<int32_t> ends_on(ops(), group_ends);
    const Array<int32_t> lag(ops(), n);
    const Array<float> correlation(ops(), n);
    const Array<float> p_value(ops(), n);
    const Array<float> heterogeneity(ops(), n);
    const Array<float> heterogeneity_p_value(ops(), n);
    const Array<int32_t> pooled(ops(), n);
    const Array<SeriesStatus> status(ops(), n);
    ops().lag_pool({correlations, effective_pairs, members_on.span(), ends_on.span(), lag.span(),
                    correlation.span(), p_value.span(), heterogeneity.span(),
                    heterogeneity_p_value.span(), pooled.span(), status.span()});
    return {lag.Read(),           correlation.Read(),           p_value.Read(),
            heterogeneity.Read(), heterogeneity_p_value.Read(), pooled.Read(),
            status.Read()};
  }

  // Followers that are `share` of their leader `lag` steps before, plus noise, in groups of equal
  // size; all series correlated, then pooled.
  Pooled PoolSimulated(int64_t groups, int64_t members, int lag, const std::vector<float>& shares,
                       uint32_t seed) {
    constexpr int64_t kSteps = 300;
    constexpr int kMaxLag = 9;
    const int64_t series = groups * members;
    std::mt19937 random(seed);
    std::normal_distribution<float> normal(0, 1);
    Batch leader(kSteps, series);
    Batch follower(kSteps, series);
    for (float& value : leader.values) value = normal(random);
    for (int64_t i = 0; i < kSteps; ++i) {
      for (int64_t s = 0; s < series; ++s) {
        const float share = shares[static_cast<size_t>(s) % shares.size()];
        follower.at(i, s) = normal(random) + (i >= lag ? share * leader.at(i - lag, s) : 0);
        if (random() % 20 == 0) follower.at(i, s) = kNan;
      }
    }
    const BatchOn leader_on(ops(), leader);
    const BatchOn follower_on(ops(), follower);
    const BatchOn correlations(ops(), kMaxLag + 1, series);
    const BatchOn effective_pairs(ops(), kMaxLag + 1, series);
    const auto n = static_cast<size_t>(series);
    const Array<int32_t> best_lag(ops(), n);
    const Array<float> correlation(ops(), n);
    const Array<float> p_value(ops(), n);
    const Array<SeriesStatus> status(ops(), n);
    LagArgs args;
    args.leader = leader_on.view();
    args.follower = follower_on.view();
    args.max_lag = kMaxLag;
    args.lag = best_lag.span();
    args.correlation = correlation.span();
    args.p_value = p_value.span();
    args.status = status.span();
    args.correlations = correlations.view();
    args.effective_pairs = effective_pairs.view();
    const Array<std::byte> workspace(ops(), ops().lags_workspace_bytes(args));
    args.workspace = workspace.span();
    ops().lags(args);
    std::vector<int32_t> order(n), ends;
    for (size_t i = 0; i < n; ++i) order[i] = static_cast<int32_t>(i);
    for (int64_t g = 1; g <= groups; ++g) ends.push_back(static_cast<int32_t>(g * members));
    return Pool(correlations.view(), effective_pairs.view(), order, ends);
  }
};

FORESHADOW_ON_BACKENDS(LagPools);

// Two lags, five series; groups of three members, of one, of none that counts, and of none at all.
TEST_P(LagPools, ByHand) {
  Batch r(2, 5, 0);
  Batch pairs(2, 5, 0);
  const float at_lag_1[] = {0.3f, 0.5f, 0.4f, -0.6f, kNan};
  const float pairs_at_1[] = {103, 53, 23, 103, 0};
  for (int64_t s = 0; s < 5; ++s) {
    r.at(1, s) = at_lag_1[s];
    pairs.at(0, s) = s == 4 ? 4 : 100;  // 4 are too few
    pairs.at(1, s) = pairs_at_1[s];
  }
  const BatchOn r_on(ops(), r);
  const BatchOn pairs_on(ops(), pairs);
  const Pooled pooled = Pool(r_on.view(), pairs_on.view(), {2, 0, 1, 3, 4}, {3, 4, 5, 5});

  const double z[] = {std::atanh(0.3), std::atanh(0.5), std::atanh(0.4)};
  const double w[] = {100, 50, 20};
  double mean = 0;
  for (int i = 0; i < 3; ++i) mean += w[i] * z[i] / 170;
  double q = 0;
  for (int i = 0; i < 3; ++i) q += w[i] * (z[i] - mean) * (z[i] - mean);
  EXPECT_EQ(pooled.lag[0], 1);
  EXPECT_EQ(pooled.members[0], 3);
  EXPECT_NEAR(pooled.correlation[0], std::tanh(mean), 1e-6);
  const double chance = std::erfc(mean * std::sqrt(170) / std::sqrt(2));
  EXPECT_NEAR(pooled.p_value[0], 2 * chance, 1e-4 * chance);  // Sidak of two tries
  EXPECT_NEAR(pooled.heterogeneity[0], q, 1e-5);
  EXPECT_NEAR(pooled.heterogeneity_p_value[0], std::exp(-q / 2), 1e-5);  // two degrees of freedom

  EXPECT_EQ(pooled.lag[1], 1);
  EXPECT_FLOAT_EQ(pooled.correlation[1], -0.6f);
  EXPECT_NEAR(pooled.heterogeneity[1], 0, 1e-5);
  EXPECT_EQ(pooled.heterogeneity_p_value[1], 1);
  for (const size_t group : {2, 3}) {
    EXPECT_EQ(pooled.status[group], SeriesStatus::kNoData);
    EXPECT_TRUE(std::isnan(pooled.correlation[group]));
    EXPECT_TRUE(std::isnan(pooled.heterogeneity[group]));
    EXPECT_EQ(pooled.p_value[group], 1);
    EXPECT_EQ(pooled.heterogeneity_p_value[group], 1);
    EXPECT_EQ(pooled.members[group], 0);
  }
}

// Members of too weak a correlation to be seen alone: 0.12 of 285 pairs, two deviations.
TEST_P(LagPools, SeesTogetherWhatNoneShowsAlone) {
  const Pooled pooled = PoolSimulated(5, 50, 4, {0.12f}, 1);
  for (size_t group = 0; group < 5; ++group) {
    EXPECT_EQ(pooled.lag[group], 4);
    EXPECT_NEAR(pooled.correlation[group], 0.12 / std::sqrt(1 + 0.12 * 0.12), 0.035);
    EXPECT_LT(pooled.p_value[group], 1e-8);
    EXPECT_EQ(pooled.members[group], 50);
  }
}

TEST_P(LagPools, UnrelatedGroupsAreNotCalledRelated) {
  const Pooled pooled = PoolSimulated(200, 6, 0, {0}, 2);
  int related = 0, heterogeneous = 0;
  for (size_t group = 0; group < 200; ++group) {
    related += pooled.p_value[group] < 0.05f;
    heterogeneous += pooled.heterogeneity_p_value[group] < 0.05f;
  }
  EXPECT_LE(related, 20);  // 10 expected
  EXPECT_LE(heterogeneous, 20);
}

// Two kinds of members in one group: Q tells.
TEST_P(LagPools, MembersThatDisagreeAreHeterogeneous) {
  const Pooled pooled = PoolSimulated(4, 30, 2, {0.9f, 0.2f}, 3);
  for (size_t group = 0; group < 4; ++group) {
    EXPECT_EQ(pooled.lag[group], 2);
    EXPECT_GT(pooled.heterogeneity[group], 100);
    EXPECT_LT(pooled.heterogeneity_p_value[group], 1e-9);
  }
}

// R 4.2.2: pchisq(x, degrees, lower.tail = FALSE).
TEST(ChiSquare, TailIsThatOfR) {
  EXPECT_NEAR(ChiSquareTail(3.84, 1), 0.0500435212487, 1e-10);
  EXPECT_NEAR(ChiSquareTail(0.5, 1), 0.479500122187, 1e-10);
  EXPECT_NEAR(ChiSquareTail(12, 7), 0.100558868508, 1e-10);
  EXPECT_NEAR(ChiSquareTail(3, 7), 0.885002231643, 1e-10);
  EXPECT_NEAR(ChiSquareTail(120, 100), 0.0844066810937, 1e-9);
  EXPECT_NEAR(ChiSquareTail(1100, 1000), 0.0146144081263, 1e-9);
  EXPECT_NEAR(ChiSquareTail(400, 20) / 2.04409559358e-72, 1, 1e-8);
  EXPECT_EQ(ChiSquareTail(50, 1000), 1);
  EXPECT_EQ(ChiSquareTail(0, 5), 1);
  EXPECT_EQ(ChiSquareTail(3, 0), 1);
}

}  // namespace
}  // namespace foreshadow::kernels
