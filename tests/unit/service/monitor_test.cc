#include "service/monitor/monitor.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

constexpr int64_t kStep = 300'000;
constexpr int64_t kStart = 1'000 * kStep;

struct Watched {
  Fleet fleet = testing::MakeFleet(1, 100);
  std::vector<CellWatch> watches;
  Scores scores;
  int64_t step = 0;

  void Step(double without, double with, double risk) {
    std::vector<CellDemand> demand(1);
    demand[0].without[0] = without;
    demand[0].with[0] = with;
    std::vector<CellRisk> risks(1);
    risks[0].probability = risk;
    const std::vector<Resources> at_origins = {{without}};
    WatchCells(fleet, demand, at_origins, risks, 0.25, kStart + step++ * kStep, kStep, watches,
               scores);
  }
};

TEST(WatchCells, CountsLeadFromTheFirstWarningOfAnUnbrokenRun) {
  Watched w;
  for (const double risk : {0.0, 0.3, 0.1, 0.5, 0.9}) w.Step(50, 50, risk);
  w.Step(120, 90, 0.9);
  w.Step(120, 90, 0.9);
  EXPECT_EQ(w.scores.overloads, 1u);
  EXPECT_EQ(w.scores.overloads_foreseen, 1u);
  EXPECT_DOUBLE_EQ(w.scores.lead_minutes_median(), 20);
  EXPECT_DOUBLE_EQ(w.scores.overload_minutes_without, 10);
  EXPECT_DOUBLE_EQ(w.scores.overload_minutes_with, 0);
  EXPECT_EQ(w.scores.alarms, 1u);
  for (int i = 0; i < 10; ++i) w.Step(50, 50, 0);
  EXPECT_EQ(w.scores.alarms_false, 0u);
}

TEST(WatchCells, AWarningInTheSameStepIsTooLate) {
  Watched w;
  w.Step(50, 50, 0);
  w.Step(120, 120, 0.9);
  EXPECT_EQ(w.scores.overloads, 1u);
  EXPECT_EQ(w.scores.overloads_foreseen, 0u);
  EXPECT_DOUBLE_EQ(w.scores.overload_minutes_with, 5);
}

TEST(WatchCells, AFalseAlarmIsCounted) {
  Watched w;
  w.Step(50, 50, 0.5);
  for (int i = 0; i < 5; ++i) w.Step(50, 50, 0);
  EXPECT_EQ(w.scores.alarms, 1u);
  EXPECT_EQ(w.scores.alarms_false, 1u);
}

TEST(WatchCells, ShortDipsDoNotSplitAnEpisode) {
  Watched w;
  for (const double demand : {120.0, 90.0, 130.0, 90.0, 90.0, 120.0}) w.Step(demand, 0, 0);
  EXPECT_EQ(w.scores.overloads, 1u);
  for (const double demand : {90.0, 90.0, 90.0, 120.0}) w.Step(demand, 0, 0);
  EXPECT_EQ(w.scores.overloads, 2u);
}

TEST(WatchCells, LeadIsCappedAtTheHorizon) {
  Watched w;
  for (int i = 0; i < 100; ++i) w.Step(50, 50, 0.9);
  w.Step(120, 0, 0.9);
  EXPECT_DOUBLE_EQ(w.scores.lead_minutes_median(), 60);
}

// Errors three times as large as independent accounts would give: three times their deviation.
TEST(JudgeCells, LearnsHowFarAccountsMoveTogether) {
  std::mt19937_64 random(3);
  std::normal_distribution<double> error(0, 3);
  CellErrorMemory memory;
  const auto fleet = std::make_shared<Fleet>(testing::MakeFleet(1, 100));
  testing::AddAccount(*fleet, 0);
  CellForecast forecast;
  forecast.steps = 2;
  for (int r = 0; r < kResources; ++r) {
    forecast.mean[r] = {10, 10};
    forecast.variance[r] = {1, 1};
  }
  double sum = 0;
  constexpr int kTicks = 3'000;
  for (int tick = 0; tick < kTicks; ++tick) {
    const std::vector<Resources> accounts = {{10 + error(random)}};
    HomeDemand demand(accounts);
    JudgeCells(demand, fleet, {forecast}, tick * kStep, kStep, memory);
    if (tick >= kTicks / 2) sum += Deviation(forecast, memory, 0, 0, 1);
  }
  EXPECT_NEAR(sum / (kTicks / 2), 3, 0.15);
}

}  // namespace
}  // namespace foreshadow
