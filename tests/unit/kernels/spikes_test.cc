#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/unit/kernels/batch.h"

namespace foreshadow::kernels {
namespace {

using testing::Batch;
using testing::Workspace;

struct Found {
  std::vector<float> scale, threshold;
  std::vector<Spike> spikes;
  int64_t count = 0;
  std::vector<SeriesStatus> status;
};

Found Find(Batch& batch, float false_alarms = 1e-4f, size_t room = 10'000) {
  const auto n = static_cast<size_t>(batch.series);
  Found found;
  found.scale.resize(n);
  found.threshold.resize(n);
  found.status.resize(n);
  found.spikes.resize(room);
  SpikeArgs args;
  args.remainder = batch.view();
  args.false_alarms = false_alarms;
  args.scale = found.scale;
  args.threshold = found.threshold;
  args.spikes = found.spikes;
  args.spikes_count = &found.count;
  args.status = found.status;
  Workspace workspace(CpuOps().spikes_workspace_bytes(args));
  args.workspace = workspace.span();
  CpuOps().spikes(args);
  found.spikes.resize(std::min<size_t>(room, static_cast<size_t>(found.count)));
  return found;
}

Batch Noise(int64_t steps, int64_t series, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(3, 2);
  Batch batch(steps, series);
  for (float& value : batch.values) value = normal(random);
  return batch;
}

TEST(Spikes, AreFoundWithOnsetDurationAndPeak) {
  Batch batch = Noise(2'000, 3, 1);
  for (int64_t i = 500; i < 504; ++i) batch.at(i, 1) = 3 + 40 + static_cast<float>(i - 500);
  batch.at(900, 1) = 3 - 60;
  const Found found = Find(batch, 1e-6f);
  ASSERT_EQ(found.count, 2);
  EXPECT_EQ(found.spikes[0].series, 1);
  EXPECT_EQ(found.spikes[0].onset, 500);
  EXPECT_EQ(found.spikes[0].duration, 4);
  EXPECT_NEAR(found.spikes[0].peak, 43, 0.5);
  EXPECT_NEAR(found.spikes[0].score, 43 / 2.0, 1.5);
  EXPECT_EQ(found.spikes[1].onset, 900);
  EXPECT_NEAR(found.spikes[1].peak, -60, 0.5);
  for (int64_t s = 0; s < 3; ++s) EXPECT_NEAR(found.scale[static_cast<size_t>(s)], 2, 0.2);
}

// 1e-3 of 400,000 steps of noise would be 400 alarms.
TEST(Spikes, FalseAlarmsAreAsChosen) {
  Batch batch = Noise(4'000, 100, 2);
  const Found found = Find(batch, 1e-3f);
  EXPECT_LT(found.count, 600);
  EXPECT_GT(found.count, 100);
}

TEST(Spikes, BeyondTheRoomTheyAreCountedNotKept) {
  Batch batch = Noise(4'000, 100, 2);
  const Found all = Find(batch, 1e-3f);
  const Found few = Find(batch, 1e-3f, 7);
  EXPECT_EQ(few.count, all.count);
  EXPECT_EQ(few.spikes.size(), 7u);
}

TEST(Spikes, BadSeriesAreNamed) {
  Batch batch(50, 3);
  for (int64_t i = 0; i < 50; ++i) {
    batch.at(i, 1) = i == 9 ? 100.0f : 0.0f;
    batch.at(i, 2) = static_cast<float>(i % 5);
  }
  const Found found = Find(batch);
  EXPECT_EQ(found.status[0], SeriesStatus::kNoData);
  EXPECT_EQ(found.status[1], SeriesStatus::kConstant);
  EXPECT_EQ(found.status[2], SeriesStatus::kOk);
}

}  // namespace
}  // namespace foreshadow::kernels
