#include "kernels/algo/lags.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <utility>

#include "tests/unit/kernels/backends.h"

namespace foreshadow::kernels {
namespace {

using testing::Array;
using testing::Batch;
using testing::BatchOn;
using testing::kNan;

struct Found {
  std::vector<int32_t> lag;
  std::vector<float> correlation, p_value;
  std::vector<SeriesStatus> status;
  Batch correlations, effective_pairs;
};

class Lags : public testing::OnBackend {
 protected:
  Found Find(const Batch& leader, const Batch& follower, int max_lag = 12) {
    const auto n = static_cast<size_t>(leader.series);
    const BatchOn leader_on(ops(), leader);
    const BatchOn follower_on(ops(), follower);
    const Array<int32_t> lag(ops(), n);
    const Array<float> correlation(ops(), n);
    const Array<float> p_value(ops(), n);
    const Array<SeriesStatus> status(ops(), n);
    const BatchOn correlations(ops(), max_lag + 1, leader.series);
    const BatchOn effective_pairs(ops(), max_lag + 1, leader.series);
    LagArgs args;
    args.leader = leader_on.view();
    args.follower = follower_on.view();
    args.max_lag = max_lag;
    args.lag = lag.span();
    args.correlation = correlation.span();
    args.p_value = p_value.span();
    args.status = status.span();
    args.correlations = correlations.view();
    args.effective_pairs = effective_pairs.view();
    const Array<std::byte> workspace(ops(), ops().lags_workspace_bytes(args));
    args.workspace = workspace.span();
    ops().lags(args);
    return {lag.Read(),    correlation.Read(),  p_value.Read(),
            status.Read(), correlations.Read(), effective_pairs.Read()};
  }
};

FORESHADOW_ON_BACKENDS(Lags);

Batch Noise(int64_t steps, int64_t series, float memory, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1);
  Batch batch(steps, series);
  for (int64_t s = 0; s < series; ++s) {
    float x = 0;
    for (int64_t i = 0; i < steps; ++i) {
      x = memory * x + normal(random);
      batch.at(i, s) = x;
    }
  }
  return batch;
}

TEST_P(Lags, FindsTheLagAcrossGaps) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 1);
  Batch leader(600, 8);
  Batch follower(600, 8);
  for (int64_t s = 0; s < 8; ++s) {
    for (int64_t i = 0; i < 600; ++i) leader.at(i, s) = 1e6f + normal(random);
    for (int64_t i = 0; i < 600; ++i) {
      const float cause = i >= s ? leader.at(i - s, s) - 1e6f : 0.0f;
      follower.at(i, s) = (s % 2 == 0 ? 2.0f : -2.0f) * cause + normal(random);
      if (random() % 10 == 0) follower.at(i, s) = kNan;
    }
  }
  const Found found = Find(leader, follower);
  for (int64_t s = 0; s < 8; ++s) {
    const auto i = static_cast<size_t>(s);
    EXPECT_EQ(found.lag[i], s);
    // Correlation of 2x + e with x: 2 / sqrt(5).
    EXPECT_NEAR(found.correlation[i], (s % 2 == 0 ? 1 : -1) * 0.894, 0.05);
    EXPECT_LT(found.p_value[i], 1e-6);
  }
}

// Independent series, however autocorrelated: few p-values are small.
TEST_P(Lags, IndependentSeriesAreNotCalledRelated) {
  for (const float memory : {0.0f, 0.9f}) {
    const Batch leader = Noise(500, 300, memory, 2);
    const Batch follower = Noise(500, 300, memory, 3);
    const Found found = Find(leader, follower);
    int small = 0;
    for (const float p : found.p_value) small += p < 0.05f;
    EXPECT_LE(small, 30) << "memory " << memory;  // 15 expected
  }
}

// Pearson by its definition, over the pairs that both have.
long double Pearson(Batch& leader, Batch& follower, int64_t s, int64_t lag, int64_t& pairs) {
  std::vector<std::pair<long double, long double>> both;
  for (int64_t i = lag; i < leader.steps; ++i) {
    const float x = leader.at(i - lag, s);
    const float y = follower.at(i, s);
    if (!std::isnan(x) && !std::isnan(y)) both.emplace_back(x, y);
  }
  pairs = std::ssize(both);
  const auto n = static_cast<long double>(pairs);
  long double mx = 0, my = 0;
  for (const auto& [x, y] : both) mx += x / n, my += y / n;
  long double xx = 0, yy = 0, xy = 0;
  for (const auto& [x, y] : both) {
    xx += (x - mx) * (x - mx), yy += (y - my) * (y - my), xy += (x - mx) * (y - my);
  }
  return xy / std::sqrt(xx * yy);
}

// Whatever the level, the gaps, and the count of series and lags.
TEST_P(Lags, EveryLagIsPearsonsCorrelation) {
  for (const int64_t series : {1, 3, 8, 21}) {
    for (const auto& [steps, max_lag] : {std::pair{40, 60}, {300, 12}, {700, 33}}) {
      Batch leader = Noise(steps, series, 0.5f, 4);
      Batch follower = Noise(steps, series, 0.8f, 5);
      std::mt19937 random(6);
      for (int64_t s = 0; s < series; ++s) {
        for (int64_t i = 0; i < steps; ++i) {
          leader.at(i, s) += s % 3 == 1 ? 1e5f : 0.0f;
          follower.at(i, s) += static_cast<float>(i);
          if (s % 2 == 1 && random() % 7 == 0) leader.at(i, s) = kNan;
          if (s % 4 >= 2 && random() % 5 == 0) follower.at(i, s) = kNan;
        }
      }
      const Found found = Find(leader, follower, max_lag);
      for (int64_t s = 0; s < series; ++s) {
        int64_t ignored;
        const double memory = static_cast<double>(Pearson(leader, leader, s, 1, ignored) *
                                                  Pearson(follower, follower, s, 1, ignored));
        int64_t best = -1;
        double strongest = 0;
        for (int64_t lag = 0; lag <= max_lag; ++lag) {
          int64_t pairs;
          const auto expected = static_cast<double>(Pearson(leader, follower, s, lag, pairs));
          const float got = found.correlations.values[static_cast<size_t>(lag * series + s)];
          const float effective =
              found.effective_pairs.values[static_cast<size_t>(lag * series + s)];
          if (pairs < 8) {
            EXPECT_TRUE(std::isnan(got));
            EXPECT_EQ(effective, 0);
            continue;
          }
          EXPECT_NEAR(got, expected, 1e-6) << "lag " << lag << " of series " << s;
          const double share = memory > 0 ? (1 - memory) / (1 + memory) : 1;
          EXPECT_NEAR(effective, static_cast<double>(pairs) * share, 1e-4 * double(pairs));
          if (std::abs(expected) <= strongest) continue;
          strongest = std::abs(expected);
          best = lag;
        }
        EXPECT_EQ(found.lag[static_cast<size_t>(s)], best);
        EXPECT_NEAR(std::abs(found.correlation[static_cast<size_t>(s)]), strongest, 1e-6);
      }
    }
  }
}

// By hand: 50 effective pairs of r = 0.5 at one lag. Fisher's z is 0.5493, its deviation
// 1 / sqrt(47): 3.766 deviations, two-sided.
TEST_P(Lags, ChanceIsThatOfFishersZ) {
  EXPECT_NEAR(LagChance(0.5, 50), 1.66e-4, 1e-6);
  EXPECT_EQ(LagChance(1, 4), 1);
  EXPECT_DOUBLE_EQ(Sidak(1, 13), 1);
  EXPECT_NEAR(Sidak(0.01, 3), 1 - 0.99 * 0.99 * 0.99, 1e-12);
  EXPECT_DOUBLE_EQ(EffectiveShare(0.9, 0.5), 0.55 / 1.45);
  EXPECT_EQ(EffectiveShare(0.9, -0.5), 1);
  EXPECT_EQ(EffectiveShare(0.9, std::nan("")), 1);
}

// Whole vectors of series without a leader, as in fleets that measure no mutation rate, beside
// others: each series comes to what it comes to by itself.
TEST_P(Lags, SeriesThatNobodyMeasuresChangeNoOther) {
  constexpr int64_t kSeries = 70;
  Batch leader = Noise(120, kSeries, 0.4f, 3);
  Batch follower = Noise(120, kSeries, 0.4f, 4);
  const auto measured = [](int64_t s) { return s < 3 || s == 66; };
  for (int64_t s = 0; s < kSeries; ++s) {
    for (int64_t i = 0; i < 120 && !measured(s); ++i) leader.at(i, s) = kNan;
  }
  Found found = Find(leader, follower);
  for (int64_t s = 0; s < kSeries; ++s) {
    ASSERT_EQ(found.status[s], measured(s) ? SeriesStatus::kOk : SeriesStatus::kNoData);
    EXPECT_EQ(found.effective_pairs.at(0, s) > 0, measured(s));
    if (!measured(s)) continue;
    Batch own_leader(120, 1), own_follower(120, 1);
    for (int64_t i = 0; i < 120; ++i) {
      own_leader.at(i, 0) = leader.at(i, s);
      own_follower.at(i, 0) = follower.at(i, s);
    }
    const Found own = Find(own_leader, own_follower);
    EXPECT_EQ(found.lag[s], own.lag[0]);
    EXPECT_FLOAT_EQ(found.correlation[s], own.correlation[0]);
  }
}

TEST_P(Lags, BadSeriesAreNamed) {
  Batch leader(100, 5, 1);
  Batch follower(100, 5);
  for (int64_t i = 0; i < 100; ++i) {
    leader.at(i, 1) = static_cast<float>(i % 3);
    leader.at(i, 2) = i < 5 ? static_cast<float>(i) : kNan;
    for (const int64_t s : {2, 3, 4}) follower.at(i, s) = static_cast<float>(i % 7);
    leader.at(i, 3) = i == 50 ? std::numeric_limits<float>::infinity() : static_cast<float>(i);
    leader.at(i, 4) = static_cast<float>(i % 5);
  }
  const Found found = Find(leader, follower);
  EXPECT_EQ(found.status[0], SeriesStatus::kConstant);
  EXPECT_EQ(found.status[1], SeriesStatus::kNoData);
  EXPECT_EQ(found.status[2], SeriesStatus::kTooShort);
  EXPECT_EQ(found.status[3], SeriesStatus::kNotFinite);
  EXPECT_EQ(found.status[4], SeriesStatus::kOk);
  for (size_t s = 0; s < 4; ++s) {
    EXPECT_TRUE(std::isnan(found.correlation[s]));
    EXPECT_TRUE(std::isnan(found.correlations.values[s]));
    EXPECT_EQ(found.effective_pairs.values[s], 0);
    EXPECT_EQ(found.p_value[s], 1);
    EXPECT_EQ(found.lag[s], 0);
  }
}

}  // namespace
}  // namespace foreshadow::kernels
