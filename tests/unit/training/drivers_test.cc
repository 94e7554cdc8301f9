#include "training/train/drivers.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace foreshadow::training {
namespace {

// Two accounts of CPU and mutation rate; the first one's CPU follows its mutations four steps
// later.
SeriesSet TwoAccounts(int64_t steps) {
  SeriesSet set;
  set.step_ms = 300'000;
  set.steps = steps;
  set.signals = {models::SignalKind::kCpu, models::SignalKind::kMutationRate,
                 models::SignalKind::kCpu, models::SignalKind::kMutationRate};
  set.accounts = {"a", "a", "b", "b"};
  set.values.resize(static_cast<size_t>(4 * steps));
  std::mt19937_64 random(3);
  std::normal_distribution<float> normal(0, 1);
  for (int64_t t = 0; t < steps; ++t) {
    for (int s = 0; s < 4; ++s) set.values[t * 4 + s] = 10 + normal(random);
    if (t >= 4) set.values[t * 4] += 2 * set.values[(t - 4) * 4 + 1];
  }
  return set;
}

TEST(Drivers, AreFoundWithTheirLead) {
  const SeriesSet set = TwoAccounts(1'500);
  const auto drivers = FindDrivers(set, 1'500);
  ASSERT_EQ(drivers.size(), 4u);
  EXPECT_EQ(drivers[0].series, 1);
  EXPECT_EQ(drivers[0].lead_steps, 4);
  EXPECT_GT(drivers[0].correlation, 0.7f);
  for (const int s : {1, 2, 3}) EXPECT_EQ(drivers[s].series, -1) << s;
}

TEST(Drivers, RestOnThePastAlone) {
  SeriesSet set = TwoAccounts(1'500);
  const auto before = FindDrivers(set, 1'000);
  std::fill(set.values.begin() + 4'000, set.values.end(), std::numeric_limits<float>::quiet_NaN());
  const auto after = FindDrivers(set, 1'000);
  for (int s = 0; s < 4; ++s) {
    EXPECT_EQ(before[s].series, after[s].series);
    EXPECT_EQ(before[s].correlation, after[s].correlation);
  }
}

TEST(Drivers, AreNoneWithoutMutationsOrPast) {
  SeriesSet set = TwoAccounts(1'500);
  for (const auto& driver : FindDrivers(set, 1)) EXPECT_EQ(driver.series, -1);
  set.signals.assign(4, models::SignalKind::kCpu);
  for (const auto& driver : FindDrivers(set, 1'500)) EXPECT_EQ(driver.series, -1);
}

}  // namespace
}  // namespace foreshadow::training
