#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/unit/kernels/batch.h"

namespace foreshadow::kernels {
namespace {

using testing::Batch;
using testing::Workspace;

struct Found {
  std::vector<int32_t> periods;
  std::vector<float> strengths;
  std::vector<SeriesStatus> status;
  int32_t at(int64_t s, int k) const { return periods[static_cast<size_t>(s * 3 + k)]; }
};

Found Find(Batch& batch) {
  const auto n = static_cast<size_t>(batch.series);
  Found found{std::vector<int32_t>(3 * n), std::vector<float>(3 * n), std::vector<SeriesStatus>(n)};
  PeriodArgs args;
  args.observed = batch.view();
  args.periods = found.periods;
  args.strengths = found.strengths;
  args.status = found.status;
  Workspace workspace(CpuOps().periods_workspace_bytes(args));
  args.workspace = workspace.span();
  CpuOps().periods(args);
  return found;
}

// `red` = lag-one correlation of the noise.
Batch Noise(int64_t steps, int64_t series, double red, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(0, 1);
  Batch batch(steps, series);
  for (int64_t s = 0; s < series; ++s) {
    double x = normal(random);
    for (int64_t i = 0; i < steps; ++i) {
      batch.at(i, s) = static_cast<float>(x);
      x = red * x + std::sqrt(1 - red * red) * normal(random);
    }
  }
  return batch;
}

TEST(Periods, FindsADayInNoiseAcrossGaps) {
  Batch batch = Noise(2'016, 20, 0, 1);
  for (int64_t s = 0; s < 20; ++s) {
    for (int64_t i = 0; i < 2'016; ++i) {
      batch.at(i, s) += static_cast<float>(std::sin(2 * M_PI * double(i) / 288) + 1e-3 * double(i));
      if (s % 2 == 1 && i % 9 == 0) batch.at(i, s) = testing::kNan;
    }
  }
  const Found found = Find(batch);
  for (int64_t s = 0; s < 20; ++s) {
    EXPECT_NEAR(found.at(s, 0), 288, 5) << s;
    EXPECT_NEAR(found.strengths[static_cast<size_t>(3 * s)], 0.33, 0.12) << s;
  }
}

TEST(Periods, FindsSeveralAndNoHarmonics) {
  Batch batch = Noise(1'200, 10, 0, 2);
  for (int64_t s = 0; s < 10; ++s) {
    for (int64_t i = 0; i < 1'200; ++i) {
      // A saw of period 24 has strong harmonics at 12, 8, 6; a wave of period 7 is its own.
      batch.at(i, s) +=
          static_cast<float>(0.5 * double(i % 24) + 3 * std::sin(2 * M_PI * double(i) / 7));
    }
  }
  const Found found = Find(batch);
  for (int64_t s = 0; s < 10; ++s) {
    std::vector<int32_t> periods = {found.at(s, 0), found.at(s, 1)};
    std::sort(periods.begin(), periods.end());
    EXPECT_EQ(periods, (std::vector<int32_t>{7, 24})) << s;
    EXPECT_EQ(found.at(s, 2), 0) << s;
  }
}

// Weekdays and weekends differ in level and a day has two humps: the day and the week are there,
// the half day and the harmonics of the week are not.
TEST(Periods, FindsDayAndWeek) {
  constexpr int kDay = 48;
  Batch batch = Noise(kDay * 7 * 8, 6, 0.5, 4);
  for (int64_t i = 0; i < batch.steps; ++i) {
    const double day = 2 * M_PI * double(i) / kDay;
    const double level = i / kDay % 7 < 5 ? 1 : 0.4;
    const double humps = 3 + std::sin(day) + 0.6 * std::sin(2 * day);
    for (int64_t s = 0; s < 6; ++s) batch.at(i, s) += static_cast<float>(4 * level * humps);
  }
  const Found found = Find(batch);
  for (int64_t s = 0; s < 6; ++s) {
    std::vector<int32_t> periods = {found.at(s, 0), found.at(s, 1), found.at(s, 2)};
    std::sort(periods.begin(), periods.end());
    EXPECT_EQ(periods, (std::vector<int32_t>{0, kDay, 7 * kDay})) << s;
  }
}

// One sample in twelve is high: no harmonic of that is a cycle of its own.
TEST(Periods, FindsPulses) {
  Batch batch = Noise(2'016, 20, 0.3, 5);
  for (int64_t s = 0; s < 20; ++s) {
    for (int64_t i = s; i < 2'016; i += 12) batch.at(i, s) += 4;
  }
  const Found found = Find(batch);
  for (int64_t s = 0; s < 20; ++s) {
    EXPECT_EQ(found.at(s, 0), 12) << s;
    EXPECT_EQ(found.at(s, 1), 0) << s;
  }
}

// At a significance of 1 % noise, white or red, must not look periodic much more often.
TEST(Periods, SaysNoneOfNoise) {
  for (const double red : {0.0, 0.5, 0.9, 0.98}) {
    Batch batch = Noise(1'000, 400, red, 3);
    const Found found = Find(batch);
    int alarms = 0;
    for (int64_t s = 0; s < 400; ++s) alarms += found.at(s, 0) != 0;
    EXPECT_LE(alarms, 12) << "lag-one correlation " << red;
  }
}

TEST(Periods, ACycleWithoutNoiseIsFound) {
  for (const int64_t steps : {200, 240, 241, 480}) {
    Batch batch(steps, 1);
    for (int64_t i = 0; i < steps; ++i) {
      batch.at(i, 0) = 5 + 3 * std::sin(static_cast<float>(2 * M_PI * double(i) / 24));
    }
    const Found found = Find(batch);
    EXPECT_EQ(found.at(0, 0), 24) << steps;
    EXPECT_EQ(found.at(0, 1), 0) << steps;
  }
}

TEST(Periods, BadSeriesAreNamed) {
  Batch batch(100, 3);
  for (int64_t i = 0; i < 100; ++i) {
    batch.at(i, 1) = 4;
    batch.at(i, 2) = i == 0 ? std::numeric_limits<float>::infinity() : 0;
  }
  const Found found = Find(batch);
  EXPECT_EQ(found.status[0], SeriesStatus::kNoData);
  EXPECT_EQ(found.status[1], SeriesStatus::kConstant);
  EXPECT_EQ(found.status[2], SeriesStatus::kNotFinite);
  EXPECT_EQ(found.at(1, 0), 0);
  Batch tiny(3, 1, 1);
  EXPECT_EQ(Find(tiny).status[0], SeriesStatus::kTooShort);
  Batch empty(0, 1);
  EXPECT_EQ(Find(empty).status[0], SeriesStatus::kTooShort);
}

}  // namespace
}  // namespace foreshadow::kernels
