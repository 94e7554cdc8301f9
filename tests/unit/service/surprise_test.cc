#include "service/plan/surprise.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

constexpr int64_t kStepMs = 300'000;
constexpr int kAccounts = 30;
constexpr int kStays = 6;  // steps

// Ten of each account are foreseen, whatever comes, and 40 come at step 1, for `kStays` steps.
struct Crowd {
  Fleet fleet = testing::MakeFleet(1, 1'000);
  ForecastTable table;
  std::vector<Resources> demand;
  SurpriseMemory memory;

  Crowd() {
    for (int a = 0; a < kAccounts; ++a) testing::AddAccount(fleet, 0);
    table = testing::EmptyTable(fleet, 12);
    for (int a = 0; a < kAccounts; ++a) {
      testing::SetForecast(table, a, SignalKind::kCpu, 10, 1);
    }
    demand.assign(kAccounts, {10});
  }
  void Follow(int step) {
    demand.assign(kAccounts, {step >= 1 && step < 1 + kStays ? 40.0 : 10.0});
    FollowSurprises(fleet, demand, table, step * kStepMs, kStepMs, memory);
  }
};

// All rises are 30, all of which is left for five steps after, but for what the mean is above the
// median; ten more are taken to have left nothing, and the sums have faded since with a half-life
// of a day.
TEST(Surprise, LeavesTheShareThatWasSeen) {
  Crowd crowd;
  for (int step = 0; step <= 13; ++step) crowd.Follow(step);
  EXPECT_TRUE(crowd.memory.open.empty());
  const double beyond = (40 - MomentsOf(crowd.table, 1).at(0, 0, 0).mean) / 30;
  for (int after = 1; after <= 12; ++after) {
    const double count = kAccounts * std::exp2(-(12.0 - after) / 288);
    const double left = after < kStays ? beyond * count / (count + 10) : 0;
    EXPECT_NEAR(ShareLeft(crowd.memory, 0, after), left, 1e-6) << after;
    EXPECT_EQ(ShareLeft(crowd.memory, 1, after), 0);
  }
}

TEST(Surprise, IsBelievedWhileItStands) {
  Crowd crowd;
  for (int step = 0; step <= 13; ++step) crowd.Follow(step);
  const AccountForecasts said = MomentsOf(crowd.table, kAccounts);
  const auto mean = [&](int64_t now_ms, int ahead) {
    AccountForecasts forecasts = said;
    AddSurprises(crowd.memory, crowd.demand, now_ms, kStepMs, forecasts);
    return forecasts.at(3, 0, ahead - 1).mean;
  };
  const int64_t start_ms = 20 * kStepMs;
  crowd.memory.open = {{3, 0, start_ms, 10, 30, std::vector<float>(12, 10)}};
  crowd.demand[3] = {40};
  // When it came, and two steps later: what is left is told by its age.
  for (const int age : {0, 2}) {
    for (int ahead = 1; ahead <= 12 - age; ++ahead) {
      EXPECT_NEAR(mean(start_ms + age * kStepMs, ahead),
                  said.at(3, 0, 0).mean + 30 * ShareLeft(crowd.memory, 0, age + ahead), 1e-9);
    }
    EXPECT_EQ(mean(start_ms + age * kStepMs, 6 - age), said.at(3, 0, 0).mean);
  }
  crowd.demand[3] = {20};  // it is over
  EXPECT_EQ(mean(start_ms + 2 * kStepMs, 1), said.at(3, 0, 0).mean);
  // Never more than what came.
  crowd.demand[3] = {40};
  testing::SetForecast(crowd.table, 3, SignalKind::kCpu, 30, 0);
  AccountForecasts late = MomentsOf(crowd.table, kAccounts);
  EXPECT_EQ(AddSurprises(crowd.memory, crowd.demand, start_ms, kStepMs, late),
            std::vector<int32_t>{3});
  EXPECT_EQ(late.at(3, 0, 0).mean, 40);
}

TEST(Surprise, IsNoneOfAPointNorWhereItIsNothingToTheCell) {
  Crowd crowd;
  for (int a = 0; a < kAccounts; ++a) testing::SetForecast(crowd.table, a, SignalKind::kCpu, 10, 0);
  crowd.Follow(0);
  crowd.Follow(1);
  EXPECT_TRUE(crowd.memory.open.empty());
  Crowd large;
  large.fleet.cells[0].capacity = {1e6};
  large.Follow(0);
  large.Follow(1);
  EXPECT_TRUE(large.memory.open.empty());
  Crowd other;
  other.Follow(0);
  other.Follow(1);
  EXPECT_EQ(std::ssize(other.memory.open), kAccounts);
}

// 105 of 100 are asked for, of which the forecasts see 20 in the next step.
TEST(Surprise, MovesWhoWouldStayAndSaysWhy) {
  testing::Scene scene = testing::MakeScene(2, 100, {10, 10});
  scene.demand = {{10}, {95}};
  scene.guard.jump_max = 10;
  scene.surprises.open = {{1, 0, 600'000, 10, 85, std::vector<float>(12, 10)}};
  EXPECT_TRUE(scene.Make().reliefs.empty());
  scene.surprises.sums[0].fill({1e6, 1e6, 1});  // all of them stay for an hour
  const Plan plan = scene.Make();
  ASSERT_EQ(plan.reliefs.size(), 1u);
  EXPECT_NE(plan.reliefs[0].reason.find("; 1 of its accounts rose above all that was foreseen"),
            std::string::npos);
  EXPECT_GT(plan.risks[0].probability, 0.9);
}

}  // namespace
}  // namespace foreshadow
