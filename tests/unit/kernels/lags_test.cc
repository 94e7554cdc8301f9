#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/unit/kernels/batch.h"

namespace foreshadow::kernels {
namespace {

using testing::Batch;
using testing::Workspace;

struct Found {
  std::vector<int32_t> lag;
  std::vector<float> correlation, p_value;
  std::vector<SeriesStatus> status;
};

Found Find(Batch& leader, Batch& follower, int max_lag = 12) {
  const auto n = static_cast<size_t>(leader.series);
  Found found{std::vector<int32_t>(n), std::vector<float>(n), std::vector<float>(n),
              std::vector<SeriesStatus>(n)};
  LagArgs args;
  args.leader = leader.view();
  args.follower = follower.view();
  args.max_lag = max_lag;
  args.lag = found.lag;
  args.correlation = found.correlation;
  args.p_value = found.p_value;
  args.status = found.status;
  Workspace workspace(CpuOps().lags_workspace_bytes(args));
  args.workspace = workspace.span();
  CpuOps().lags(args);
  return found;
}

TEST(Lags, FindsTheLagAcrossGaps) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 1);
  Batch leader(600, 8);
  Batch follower(600, 8);
  for (int64_t s = 0; s < 8; ++s) {
    for (int64_t i = 0; i < 600; ++i) leader.at(i, s) = 1e6f + normal(random);
    for (int64_t i = 0; i < 600; ++i) {
      const float cause = i >= s ? leader.at(i - s, s) - 1e6f : 0.0f;
      follower.at(i, s) = (s % 2 == 0 ? 2.0f : -2.0f) * cause + normal(random);
      if (random() % 10 == 0) follower.at(i, s) = testing::kNan;
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
TEST(Lags, IndependentSeriesAreNotCalledRelated) {
  for (const float memory : {0.0f, 0.9f}) {
    std::mt19937 random(2);
    std::normal_distribution<float> normal(0, 1);
    Batch leader(500, 300);
    Batch follower(500, 300);
    for (Batch* batch : {&leader, &follower}) {
      for (int64_t s = 0; s < 300; ++s) {
        float x = 0;
        for (int64_t i = 0; i < 500; ++i) {
          x = memory * x + normal(random);
          batch->at(i, s) = x;
        }
      }
    }
    const Found found = Find(leader, follower);
    int small = 0;
    for (const float p : found.p_value) small += p < 0.05f;
    EXPECT_LE(small, 30) << "memory " << memory;  // 15 expected
  }
}

TEST(Lags, BadSeriesAreNamed) {
  Batch leader(100, 3, 1);
  Batch follower(100, 3);
  for (int64_t i = 0; i < 100; ++i) {
    leader.at(i, 1) = static_cast<float>(i % 3);
    leader.at(i, 2) = i < 5 ? static_cast<float>(i) : testing::kNan;
    follower.at(i, 2) = static_cast<float>(i % 7);
  }
  const Found found = Find(leader, follower);
  EXPECT_EQ(found.status[0], SeriesStatus::kConstant);
  EXPECT_EQ(found.status[1], SeriesStatus::kNoData);
  EXPECT_EQ(found.status[2], SeriesStatus::kTooShort);
  EXPECT_TRUE(std::isnan(found.correlation[2]));
  EXPECT_EQ(found.p_value[2], 1);
}

}  // namespace
}  // namespace foreshadow::kernels
