#include "service/plan/risk.h"

#include <gtest/gtest.h>

#include <cmath>
#include <memory>
#include <random>

#include "service/monitor/monitor.h"
#include "service/shadow/lifecycle.h"
#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

CellForecast OneStep(double mean, double variance) {
  CellForecast forecast;
  forecast.steps = 1;
  forecast.mean[0][0] = mean;
  forecast.variance[0][0] = variance;
  return forecast;
}

// Values of the standard normal distribution from published tables: 1 - Phi(1) = 0.158655,
// 1 - Phi(2) = 0.022750.
TEST(Risk, IsTheNormalTail) {
  const Fleet fleet = testing::MakeFleet(1, 12);
  const CellErrorMemory errors;
  EXPECT_NEAR(RiskOfCell(fleet.cells, 0, OneStep(10, 4), errors, 0.1, 0, 1).probability, 0.158655,
              1e-6);
  EXPECT_NEAR(RiskOfCell(fleet.cells, 0, OneStep(10, 1), errors, 0.1, 0, 1).probability, 0.022750,
              1e-6);
  EXPECT_EQ(RiskOfCell(fleet.cells, 0, OneStep(13, 0), errors, 0.1, 0, 1).probability, 1);
  EXPECT_EQ(RiskOfCell(fleet.cells, 0, OneStep(12, 0), errors, 0.1, 0, 1).probability, 0);
}

TEST(Risk, UnlimitedCapacityIsNeverExceeded) {
  const Fleet fleet = testing::MakeFleet(1, 0);
  EXPECT_EQ(RiskOfCell(fleet.cells, 0, OneStep(1e9, 1), {}, 0.1, 0, 1).probability, 0);
}

TEST(Risk, ExpectedIsTheFirstLikelyStep) {
  const Fleet fleet = testing::MakeFleet(1, 10);
  CellForecast forecast;
  forecast.steps = 3;
  forecast.mean[0] = {5, 9.9, 12};
  forecast.variance[0] = {1, 1, 1};
  const CellRisk risk = RiskOfCell(fleet.cells, 0, forecast, {}, 0.25, 1'000, 100);
  EXPECT_EQ(risk.expected_ms, 1'200);
  EXPECT_GT(risk.probability, 0.97);
  EXPECT_EQ(risk.resource, 0);
}

TEST(Risk, WidensByWhatCellsErred) {
  const Fleet fleet = testing::MakeFleet(1, 12);
  CellErrorMemory errors;
  errors.excess.resize(1);
  double& excess = errors.excess[0][0][0];
  const auto chance = [&](double variance) {
    return RiskOfCell(fleet.cells, 0, OneStep(10, variance), errors, 0.1, 0, 1).probability;
  };
  EXPECT_NEAR(chance(4), 0.158655, 1e-6);
  excess = 3;
  EXPECT_NEAR(chance(1), 0.158655, 1e-6);
  excess = -0.9;  // never narrower than independent accounts
  EXPECT_NEAR(chance(4), 0.158655, 1e-6);
}

// A machine that woke in a cell at rest says nothing of a busy account that might move in.
TEST(Risk, ASurpriseInACellAtRestIsNotMultiplied) {
  const Fleet fleet = testing::MakeFleet(1, 12);
  CellErrorMemory errors;
  auto of_cell = std::make_shared<Fleet>(fleet);
  testing::AddAccount(*of_cell, 0);
  CellForecast at_rest = OneStep(0.1, 1e-6);
  const std::vector<Resources> woken = {{8}};
  for (int tick = 0; tick < 2; ++tick) {
    HomeDemand demand(woken);
    JudgeCells(demand, of_cell, {at_rest}, tick, 1, errors);
  }
  const double expected = std::sqrt(4 + 0.02 * 7.9 * 7.9);
  EXPECT_NEAR(Deviation(OneStep(5, 4), errors, 0, 0, 0), expected, 1e-3);
}

// An account that was promoted is reckoned where it was registered, until an operator registers it
// elsewhere.
TEST(Demand, AtOriginsIsWhatWouldBe) {
  Fleet before = testing::MakeFleet(3, 100);
  for (int a = 0; a < 2; ++a) testing::AddAccount(before, 0);
  const std::unordered_map<std::string, int32_t> index = {{"account-0", 0}, {"account-1", 1}};
  Fleet after = before;
  after.accounts[1].cell = 2;
  std::vector<Origin> origins;
  FollowOrigins(before, {}, index, {after.accounts[1]}, origins);
  EXPECT_EQ(origins, (std::vector<Origin>{{1, 0}}));
  const std::vector<Resources> accounts = {{10}, {20}};
  const std::vector<CellDemand> cells = DemandOfCells(after, accounts, {});
  EXPECT_EQ(DemandAtOrigins(after, cells, accounts, origins)[0][0], 30);
  EXPECT_EQ(DemandAtOrigins(after, cells, accounts, origins)[2][0], 0);
  Fleet home = after;
  home.accounts[1].cell = 0;
  std::vector<Origin> back = origins;
  FollowOrigins(after, {}, index, {home.accounts[1]}, back);
  EXPECT_TRUE(back.empty());
  FollowOrigins(after, {after.accounts[1]}, index, {}, origins);
  EXPECT_EQ(origins.size(), 1u) << "registered as it is: a restart";
  Account moved = after.accounts[1];
  moved.cell = 1;
  FollowOrigins(after, {moved}, index, {}, origins);
  EXPECT_TRUE(origins.empty());
}

// Moving traffic between cells neither makes nor loses demand of what moves with it.
TEST(Demand, IsConservedWhateverTheSplits) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const testing::Scene scene = testing::RandomScene(seed);
    std::mt19937_64 random(seed);
    std::vector<Resources> accounts(scene.fleet.accounts.size());
    for (Resources& account : accounts) {
      for (double& demand : account) demand = static_cast<double>(random() % 1000);
    }
    const auto cells = DemandOfCells(scene.fleet, accounts, scene.shadows);
    for (int r = 0; r < kResources; ++r) {
      double with = 0;
      double without = 0;
      double total = 0;
      for (const CellDemand& cell : cells) {
        with += cell.with[r];
        without += cell.without[r];
      }
      for (const Resources& account : accounts) total += account[r];
      EXPECT_DOUBLE_EQ(without, total);
      if (MovesWithTraffic(r)) {
        EXPECT_NEAR(with, total, 1e-6 * total);
      } else {
        EXPECT_GE(with, without);  // a shadow holds its memory too
      }
    }
  }
}

}  // namespace
}  // namespace foreshadow
