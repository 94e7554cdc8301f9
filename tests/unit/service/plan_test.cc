#include "service/plan/plan.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

using testing::MakeScene;
using testing::RandomScene;
using testing::Scene;

TEST(Plan, NothingToDoWhenThereIsRoom) {
  const Plan plan = MakeScene(2, 100, {10, 20, 30}).Make();
  EXPECT_TRUE(plan.reliefs.empty());
  EXPECT_TRUE(plan.alerts.empty());
}

TEST(Plan, MovesTheSmallestAccountThatIsEnough) {
  // 110 of 100: 20 would do, 30 and 60 would do as well, 5 would not.
  const Plan plan = MakeScene(2, 100, {60, 25, 20, 5}).Make();
  ASSERT_EQ(plan.reliefs.size(), 1u);
  EXPECT_EQ(plan.reliefs[0].account, 2);
  EXPECT_EQ(plan.reliefs[0].target, 1);
  EXPECT_LE(plan.reliefs[0].evidence.probability_after, 0.05);
  EXPECT_GT(plan.reliefs[0].evidence.risk.probability, 0.9);
  EXPECT_NEAR(plan.reliefs[0].reserved[0], 20 * (1 + 1.6449 * 0.02), 1e-3);
}

TEST(Plan, SaysWhenOverloadIsExpected) {
  const Plan plan = MakeScene(2, 100, {60, 60}, /*first=*/6).Make();
  EXPECT_EQ(plan.risks[0].expected_ms, 600'000 + 7 * 300'000);
}

TEST(Plan, LeavesImportantAndPinnedAccounts) {
  Scene scene = MakeScene(2, 100, {30, 30, 30, 30});
  scene.fleet.accounts[0].priority = 5;
  scene.fleet.accounts[1].pinned = true;
  scene.fleet.accounts[2].priority = 1;
  scene.fleet.accounts[3].priority = 5;
  const Plan plan = scene.Make();
  ASSERT_EQ(plan.reliefs.size(), 1u);
  EXPECT_EQ(plan.reliefs[0].account, 2);
}

TEST(Plan, ShadowsThatExistCountAtTheirLargestSplit) {
  Scene scene = MakeScene(2, 100, {60, 30, 20});
  Shadow shadow;
  shadow.account = 1;
  shadow.source = 0;
  shadow.target = 1;
  shadow.state = ShadowState::kWarm;
  scene.shadows = {shadow};
  const Plan plan = scene.Make();
  EXPECT_GT(plan.risks[0].probability, 0.9);  // its split is still 0
  EXPECT_TRUE(plan.reliefs.empty());          // but it will be enough
}

TEST(Plan, SaysWhyNothingCanBeDone) {
  Scene scene = MakeScene(2, 100, {60, 60});
  scene.reachable[1] = false;
  Plan plan = scene.Make();
  EXPECT_TRUE(plan.reliefs.empty());
  ASSERT_EQ(plan.alerts.size(), 1u);
  EXPECT_NE(plan.alerts[0].find("no other cell is up"), std::string::npos);

  scene.reachable[1] = true;
  scene.fleet.cells[1].capacity[0] = 40;
  scene.settings.target_headroom = 0.9;
  plan = scene.Make();
  EXPECT_TRUE(plan.reliefs.empty());
  ASSERT_EQ(plan.alerts.size(), 1u);
  EXPECT_NE(plan.alerts[0].find("over plan.target_headroom = 90 %"), std::string::npos);
}

TEST(Plan, MemoryDoesNotMoveWithTraffic) {
  Scene scene = MakeScene(2, 0, {1, 1});
  for (Cell& cell : scene.fleet.cells) cell.capacity[1] = 1e9;
  testing::SetForecast(scene.table, 0, SignalKind::kMemory, 9e8, 1e6);
  testing::SetForecast(scene.table, 1, SignalKind::kMemory, 9e8, 1e6);
  const Plan plan = scene.Make();
  EXPECT_TRUE(plan.reliefs.empty());
  ASSERT_EQ(plan.alerts.size(), 1u);
  EXPECT_NE(plan.alerts[0].find("memory does not move with traffic"), std::string::npos);
}

TEST(Plan, BudgetsBind) {
  Scene scene = MakeScene(2, 100, std::vector<double>(40, 4));
  scene.settings.creations_per_tick_max = 3;
  const Plan plan = scene.Make();
  ASSERT_EQ(plan.reliefs.size(), 3u);
  ASSERT_FALSE(plan.reliefs[0].evidence.guard_rails.empty());
  EXPECT_NE(plan.reliefs[0].evidence.guard_rails[0].find("creations_per_tick_max = 3"),
            std::string::npos);
}

// The utilisation of each target with every promise kept, computed here from the quantiles alone.
void CheckInvariants(const Scene& scene, const Plan& plan) {
  std::set<int32_t> shadowed;
  for (const Shadow& shadow : scene.shadows) shadowed.insert(shadow.account);
  std::vector<int> of_source(scene.fleet.cells.size(), 0);
  for (const Shadow& s : scene.shadows) ++of_source[scene.fleet.accounts[s.account].cell];
  std::set<int32_t> targets;
  for (const Relief& relief : plan.reliefs) {
    const Account& account = scene.fleet.accounts[relief.account];
    EXPECT_TRUE(shadowed.insert(relief.account).second) << "two shadows of one account";
    EXPECT_EQ(relief.source, account.cell);
    EXPECT_NE(relief.target, account.cell) << "a shadow in its primary's cell";
    EXPECT_FALSE(account.pinned);
    EXPECT_EQ(scene.fleet.cells[relief.target].state, CellState::kUp);
    EXPECT_TRUE(scene.reachable[relief.target]);
    EXPECT_GE(plan.risks[relief.source].probability, scene.settings.risk_threshold);
    EXPECT_LT(plan.risks[relief.target].probability, scene.settings.target_risk_max);
    EXPECT_GE(relief.evidence.gain, scene.settings.gain_min);
    EXPECT_LE(++of_source[relief.source], scene.settings.shadows_per_source_max);
    targets.insert(relief.target);
  }
  EXPECT_LE(std::ssize(plan.reliefs), scene.settings.creations_per_tick_max);
  const bool any = !plan.reliefs.empty();
  EXPECT_TRUE(!any ||
              std::ssize(plan.reliefs) + std::ssize(scene.shadows) <= scene.settings.shadows_max);

  std::vector<Shadow> all = scene.shadows;
  for (const Relief& relief : plan.reliefs) {
    Shadow shadow;
    shadow.account = relief.account;
    shadow.source = relief.source;
    shadow.target = relief.target;
    shadow.state = ShadowState::kCreating;
    all.push_back(shadow);
  }
  const AccountForecasts moments = MomentsOf(scene.table, std::ssize(scene.fleet.accounts));
  const std::vector<double> largest(all.size(), scene.split_max);
  const auto cells = ForecastCells(scene.fleet, moments, all, largest);
  for (const int32_t target : targets) {
    EXPECT_LE(UtilisationOf(scene.fleet, target, cells[target], scene.errors).expected,
              scene.settings.target_headroom + 1e-9)
        << "a target promised more than it has";
  }
}

TEST(Plan, InvariantsHoldInRandomWorlds) {
  int64_t reliefs = 0;
  for (uint64_t seed = 0; seed < 3'000; ++seed) {
    SCOPED_TRACE(seed);
    const Scene scene = RandomScene(seed);
    const Plan plan = scene.Make();
    CheckInvariants(scene, plan);
    reliefs += std::ssize(plan.reliefs);
    if (::testing::Test::HasFailure()) break;
  }
  EXPECT_GT(reliefs, 1'000);  // the worlds are not all idle ones
}

// What is saved is weighed against what it costs: a cell that is a little over for a moment is left
// alone, the more so the dearer a move is.
TEST(Plan, MovesNothingThatCostsMoreThanItSaves) {
  Scene scene = MakeScene(2, 100, {60, 41});
  scene.settings.unserved_cost = 1;
  Plan plan = scene.Make();
  EXPECT_TRUE(plan.reliefs.empty());
  ASSERT_EQ(plan.alerts.size(), 1u);
  EXPECT_NE(plan.alerts[0].find("less than plan.gain_min"), std::string::npos);
  scene.settings.unserved_cost = 1'000;
  plan = scene.Make();
  ASSERT_EQ(plan.reliefs.size(), 1u);
  EXPECT_FALSE(plan.reliefs[0].evidence.gain < scene.settings.gain_min);
}

TEST(Plan, SaysWhichShadowIsOfUseAtOnce) {
  EXPECT_TRUE(MakeScene(2, 100, {60, 60}).Make().reliefs.at(0).urgent);
  EXPECT_FALSE(MakeScene(2, 100, {60, 60}, /*first=*/8).Make().reliefs.at(0).urgent);
}

TEST(Plan, IsDeterministic) {
  for (uint64_t seed = 0; seed < 100; ++seed) {
    const Scene scene = RandomScene(seed);
    const Plan one = scene.Make();
    const Plan two = scene.Make();
    ASSERT_EQ(one.reliefs.size(), two.reliefs.size());
    for (size_t i = 0; i < one.reliefs.size(); ++i) {
      EXPECT_EQ(one.reliefs[i].account, two.reliefs[i].account);
      EXPECT_EQ(one.reliefs[i].target, two.reliefs[i].target);
    }
  }
}

}  // namespace
}  // namespace foreshadow
