// False alarms of the drift tests against their bound, in worlds without drift chosen to be hard
// for them, and how soon a real change is told.
#include "service/monitor/drift.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

namespace foreshadow {
namespace {

constexpr int64_t kStep = 300'000;
constexpr int64_t kDayTicks = 288;

// Mean ticks to the first alarm, runs cut at `ticks_max`.
double MeanTicks(int runs, int ticks_max, double bound, double threshold,
                 const std::function<double(std::mt19937_64&)>& share) {
  std::mt19937_64 random(5);
  double sum = 0;
  for (int run = 0; run < runs; ++run) {
    DriftTest test;
    int tick = 1;
    for (; tick < ticks_max; ++tick) {
      Follow(share(random), bound, threshold, tick * kStep, kStep, test);
      if (test.since_ms != 0) break;
    }
    sum += tick;
  }
  return sum / runs;
}

// At the very edge of what is no drift, where the sums neither grow nor shrink on average, the mean
// time to an alarm is still at least the threshold.
TEST(Drift, FalseAlarmsAreAsRareAsTheThresholdSays) {
  constexpr double kThreshold = 500;
  std::uniform_real_distribution<double> uniform(0, 1);
  const auto one_series = [&](std::mt19937_64& r) { return uniform(r) < kMissedBound ? 1.0 : 0.0; };
  EXPECT_GT(MeanTicks(400, 20'000, kMissedBound, kThreshold, one_series), kThreshold);
  // Accounts that miss all together or not at all, in a mixture of calm and bad ticks.
  const auto together = [&](std::mt19937_64& r) { return uniform(r) < 0.1 ? 1.0 : 2.0 / 9; };
  EXPECT_GT(MeanTicks(400, 20'000, kMissedBound, kThreshold, together), kThreshold);
  // Losses with a heavy tail whose mean is just the bound: log-normal, mean 1 in units of the
  // bound.
  const auto heavy = [](std::mt19937_64& r) {
    const double loss = std::lognormal_distribution<double>(-0.72, 1.2)(r);
    return loss / (loss + 1);
  };
  EXPECT_GT(MeanTicks(400, 20'000, 0.5, kThreshold, heavy), kThreshold);
}

struct Server {
  std::mt19937_64 random{6};
  DriftWatches watches;
  std::vector<std::string> alerts;
  int64_t tick = 0;
  double wave = 0;

  // One tick of 50 accounts' CPU: losses around `loss`, dependent from tick to tick and between the
  // accounts; `missed` of the samples outside.
  void Tick(double loss, double missed, int32_t days = 30) {
    ++tick;
    wave = 0.9 * wave + std::normal_distribution<double>(0, 0.15)(random);
    std::array<TickLosses, models::kSignalKinds> losses;
    losses[0].count = 50;
    losses[0].missed = std::binomial_distribution<int64_t>(50, missed)(random);
    losses[0].pinball_sum = 50 * loss * std::exp(wave - 0.06);
    alerts.clear();
    WatchDrift(losses, tick * kStep, kStep, days, watches, alerts);
  }
};

TEST(Drift, AServerAtPeaceRaisesNoneInAYear) {
  Server server;
  for (int i = 0; i < 365 * kDayTicks; ++i) {
    server.Tick(0.3, 0.2, /*days=*/1);
    ASSERT_TRUE(server.alerts.empty()) << server.alerts[0] << " at tick " << i;
  }
}

TEST(Drift, TellsALargerLossWithinHoursAndEndsWhenItIsOver) {
  double delay = 0;
  for (int run = 0; run < 20; ++run) {
    Server server;
    server.random.seed(static_cast<uint64_t>(run));
    for (int i = 0; i < 7 * kDayTicks; ++i) server.Tick(0.3, 0.2);
    int ticks = 0;
    while (server.alerts.empty() && ticks < 10'000) {
      server.Tick(0.9, 0.2);
      ++ticks;
    }
    delay += ticks / 20.0;
    ASSERT_EQ(server.alerts.size(), 1u);
    EXPECT_THAT(server.alerts[0],
                ::testing::HasSubstr("forecasts of cpu have drifted since 1970-01-"));
    EXPECT_THAT(server.alerts[0], ::testing::HasSubstr("loss is over 1.5 times"));
    const std::string words = server.alerts[0];
    server.Tick(0.9, 0.2);
    EXPECT_THAT(server.alerts, ::testing::ElementsAre(words)) << "the words do not change";
    ticks = 0;
    for (; !server.alerts.empty() && ticks < 1'000; ++ticks) server.Tick(0.3, 0.2);
    EXPECT_LT(ticks, 100);
  }
  RecordProperty("delay_ticks", std::to_string(delay));
  printf("loss three times the usual: told after %.0f ticks on average\n", delay);
  EXPECT_LT(delay, 90);
}

TEST(Drift, TellsIntervalsThatHoldTooLittle) {
  double delay = 0;
  for (int run = 0; run < 20; ++run) {
    Server server;
    server.random.seed(static_cast<uint64_t>(run));
    for (int i = 0; i < 2 * kDayTicks; ++i) server.Tick(0.3, 0.2);
    int ticks = 0;
    while (server.alerts.empty() && ticks < 10'000) {
      server.Tick(0.3, 0.5);
      ++ticks;
    }
    delay += ticks / 20.0;
    ASSERT_EQ(server.alerts.size(), 1u);
    EXPECT_THAT(server.alerts[0], ::testing::HasSubstr("leaves out over 30 %"));
  }
  printf("half of the samples missed: told after %.0f ticks on average\n", delay);
  EXPECT_LT(delay, 70);
}

TEST(Drift, ANewNormalIsLearnedInWeeks) {
  Server server;
  for (int i = 0; i < 7 * kDayTicks; ++i) server.Tick(0.3, 0.2);
  for (int i = 0; i < 2 * kDayTicks; ++i) server.Tick(0.9, 0.2);
  EXPECT_EQ(server.alerts.size(), 1u);
  for (int i = 0; i < 21 * kDayTicks; ++i) server.Tick(0.9, 0.2);
  EXPECT_TRUE(server.alerts.empty());
}

TEST(Drift, SilenceAndRestSayNothing) {
  DriftWatches watches;
  std::vector<std::string> alerts;
  for (int64_t tick = 1; tick < 2'000; ++tick) {
    std::array<TickLosses, models::kSignalKinds> losses;
    losses[1].count = tick % 2;  // always right where there is something
    WatchDrift(losses, tick * kStep, kStep, 30, watches, alerts);
  }
  EXPECT_TRUE(alerts.empty());
  EXPECT_EQ(watches[0].ticks, 0);
  EXPECT_EQ(watches[1].ticks, 1'000);
}

}  // namespace
}  // namespace foreshadow
