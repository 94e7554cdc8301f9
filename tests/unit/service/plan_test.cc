#include "service/plan/plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

using testing::ForecastAll;
using testing::MakeScene;
using testing::RailsOf;
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
  scene.guard.creations_per_minute_max = 3;
  const Plan plan = scene.Make();
  ASSERT_EQ(plan.reliefs.size(), 3u);
  ASSERT_FALSE(plan.reliefs[0].evidence.guard_rails.empty());
  EXPECT_NE(plan.reliefs[0].evidence.guard_rails[0].find("creations_per_minute_max = 3"),
            std::string::npos);
}

// The utilisation of each target with every promise kept, computed here from the quantiles alone.
void CheckInvariants(const Scene& scene, const Rails& rails, const Plan& plan) {
  std::set<int32_t> shadowed;
  for (const Shadow& shadow : scene.shadows) shadowed.insert(shadow.account);
  std::vector<int> of_source(scene.fleet.cells.size(), 0);
  for (const Shadow& s : scene.shadows) ++of_source[scene.fleet.accounts[s.account].cell];
  std::set<int32_t> targets;
  bool reacted = false;
  std::map<std::pair<std::string, int32_t>, int> beside;  // accounts of an application in a cell
  for (const Account& a : scene.fleet.accounts) ++beside[{a.application, a.cell}];
  std::vector<int> in_target(scene.fleet.cells.size(), 0);
  for (const Shadow& s : scene.shadows) {
    ++beside[{scene.fleet.accounts[s.account].application, s.target}];
    ++in_target[s.target];
  }
  for (const Relief& relief : plan.reliefs) {
    const Account& account = scene.fleet.accounts[relief.account];
    EXPECT_TRUE(shadowed.insert(relief.account).second) << "two shadows of one account";
    EXPECT_EQ(relief.source, account.cell);
    EXPECT_NE(relief.target, account.cell) << "a shadow in its primary's cell";
    EXPECT_FALSE(account.pinned);
    EXPECT_EQ(scene.fleet.cells[relief.target].state, CellState::kUp);
    EXPECT_TRUE(scene.reachable[relief.target]);
    const bool reacts = relief.evidence.urgency == Urgency::kOverloaded;
    reacted = reacted || reacts;
    EXPECT_TRUE(reacts || scene.guard.cells.contains(scene.fleet.cells[relief.source].id) ||
                plan.risks[relief.source].probability >= scene.settings.risk_threshold);
    EXPECT_GE(relief.evidence.urgency, rails.all.least);
    EXPECT_EQ(WhyNotThere(rails, relief.account, relief.target), std::nullopt);
    EXPECT_NE(ModeOf(rails, relief.account, relief.target), Mode::kObserve);
    if (!account.application.empty() && scene.guard.applications.contains(account.application)) {
      const int32_t most = scene.guard.applications.at(account.application).accounts_per_cell_max;
      const int accounts = ++beside[std::pair(account.application, relief.target)];
      EXPECT_TRUE(most == 0 || accounts <= most);
    }
    EXPECT_LE(++in_target[relief.target], scene.guard.shadows_per_target_max);
    EXPECT_LT(plan.risks[relief.target].probability, scene.settings.target_risk_max);
    const bool drained = Drains(rails, relief.source) && !reacts;
    EXPECT_TRUE(drained || relief.evidence.gain >= scene.settings.gain_min);
    EXPECT_LE(++of_source[relief.source], scene.guard.shadows_per_source_max);
    targets.insert(relief.target);
  }
  EXPECT_LE(std::ssize(plan.reliefs), scene.guard.creations_per_minute_max);
  const bool any = !plan.reliefs.empty();
  EXPECT_TRUE(!any ||
              std::ssize(plan.reliefs) + std::ssize(scene.shadows) <= scene.guard.shadows_max);

  std::vector<Shadow> all = scene.shadows;
  for (const Relief& relief : plan.reliefs) {
    Shadow shadow;
    shadow.account = relief.account;
    shadow.source = relief.source;
    shadow.target = relief.target;
    shadow.state = ShadowState::kCreating;
    all.push_back(shadow);
  }
  if (reacted) return;  // by what is there now, whatever is foreseen
  const AccountForecasts moments = MomentsOf(scene.table, std::ssize(scene.fleet.accounts));
  const std::vector<double> largest(all.size(), scene.split_max);
  const auto cells = ForecastAll(scene.fleet, moments, all, largest);
  for (const int32_t target : targets) {
    EXPECT_LE(UtilisationOf(scene.fleet.cells, target, cells[target], scene.errors).expected,
              scene.settings.target_headroom + 1e-9)
        << "a target promised more than it has";
  }
}

TEST(Plan, InvariantsHoldInRandomWorlds) {
  int64_t reliefs = 0;
  for (uint64_t seed = 0; seed < 10'000; ++seed) {
    SCOPED_TRACE(seed);
    const Scene scene = RandomScene(seed);
    Rails rails = RailsOf(scene.fleet, scene.guard);
    rails.all.least = static_cast<Urgency>(seed % 7 == 0 ? 2 : 0);
    const Plan plan = scene.Make(rails);
    CheckInvariants(scene, rails, plan);
    reliefs += std::ssize(plan.reliefs);
    if (::testing::Test::HasFailure()) break;
  }
  EXPECT_GT(reliefs, 3'000);  // the worlds are not all idle ones
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
  const auto urgency = [](int first) {
    return MakeScene(2, 100, {60, 60}, first).Make().reliefs.at(0).evidence.urgency;
  };
  EXPECT_EQ(urgency(0), Urgency::kNow);
  EXPECT_EQ(urgency(5), Urgency::kSoon);
  EXPECT_EQ(urgency(8), Urgency::kRoutine);
}

TEST(Plan, RelievesWhatIsOverloadedWhereForecastsAreNotToBeTrusted) {
  Scene scene = MakeScene(2, 100, {5, 5});
  scene.guard.jump_max = 10;  // not for that reason
  scene.demand = {{80}, {60}};
  EXPECT_TRUE(scene.Make().reliefs.empty());
  Rails rails = RailsOf(scene.fleet, scene.guard);
  rails.overloaded_long[0] = true;
  Plan plan = scene.Make(rails);
  ASSERT_EQ(plan.reliefs.size(), 1u);
  EXPECT_EQ(plan.reliefs[0].evidence.urgency, Urgency::kOverloaded);
  EXPECT_EQ(plan.reliefs[0].reason, "cell cell-0 is asked for 140 % of its cpu already");
  EXPECT_LT(plan.risks[0].probability, 0.1);
  scene.demand = {{60}, {40}};  // full, not over
  EXPECT_TRUE(scene.Make(rails).reliefs.empty());
  // A shadow that is there already, and could take it, is enough.
  scene.demand = {{80}, {60}};
  Shadow shadow;
  shadow.account = 1;
  shadow.target = 1;
  shadow.state = ShadowState::kIdle;
  scene.shadows = {shadow};
  EXPECT_TRUE(scene.Make(rails).reliefs.empty());
  rails.overloaded_long[0] = false;
  rails.drifted = true;
  scene.shadows.clear();
  EXPECT_EQ(scene.Make(rails).reliefs.size(), 1u);
  // A forecast that is far from the present is no reason to wait.
  scene.shadows.clear();
  scene.guard.jump_max = 0.5;
  EXPECT_EQ(scene.Make().reliefs.size(), 1u);
  scene.parts.present = false;
  EXPECT_TRUE(scene.Make().reliefs.empty());
}

// Forecasts that see nothing do not let a cell stand nearly full.
TEST(Plan, RelievesWhatIsNearlyFullForLong) {
  Scene scene = MakeScene(2, 100, {5, 5, 5});
  scene.demand = {{30}, {30}, {30}};
  Rails rails = RailsOf(scene.fleet, scene.guard);
  rails.nearly_full_at[0] = 0.8;
  EXPECT_TRUE(scene.Make(rails).reliefs.empty());
  rails.nearly_full[0] = true;
  Plan plan = scene.Make(rails);
  ASSERT_EQ(plan.reliefs.size(), 1u);  // 60 stay
  const Relief& relief = plan.reliefs[0];
  EXPECT_EQ(relief.reason,
            "cell cell-0 is asked for 90 % of its cpu already, over guard.nearly_full_at = 80 %");
  EXPECT_EQ(relief.evidence.urgency, Urgency::kNow);
  EXPECT_EQ(relief.evidence.probability_after, 0);
  EXPECT_EQ(relief.evidence.target_utilisation_after, 0.3);
  EXPECT_EQ(relief.reserved[0], 30);
  // That it stays nearly full is no alert: nothing goes unserved.
  rails.creations_max = 0;
  plan = scene.Make(rails);
  EXPECT_TRUE(plan.reliefs.empty());
  EXPECT_TRUE(plan.alerts.empty());
  // It is not what an hour of overload alone may break.
  rails.creations_max = 1;
  rails.all = {Urgency::kOverloaded, "a test asks for it"};
  EXPECT_TRUE(scene.Make(rails).reliefs.empty());
}

TEST(Plan, BelowTheBarNothingIsBegunAndTheBarIsNamed) {
  const Scene scene = MakeScene(2, 100, {60, 60}, /*first=*/8);
  Rails rails = RailsOf(scene.fleet, scene.guard);
  rails.all = {Urgency::kSoon, "a test asks for it"};
  const Plan plan = scene.Make(rails);
  EXPECT_TRUE(plan.reliefs.empty());
  ASSERT_EQ(plan.alerts.size(), 1u);
  EXPECT_NE(plan.alerts[0].find("its urgency is routine, and soon is asked for: a test asks"),
            std::string::npos);
  std::swap(rails.all, rails.asked);
  EXPECT_TRUE(scene.Make(rails).reliefs.empty());
}

TEST(Plan, WhatIsOnlyObservedStaysWhereItIs) {
  Scene scene = MakeScene(3, 100, {60, 60});
  scene.guard.cells["cell-0"].mode = ModeRule::kObserve;
  EXPECT_TRUE(scene.Make().reliefs.empty());
  scene.guard.cells = {};
  scene.guard.cells["cell-1"].mode = ModeRule::kObserve;
  ASSERT_EQ(scene.Make().reliefs.size(), 1u);
  EXPECT_EQ(scene.Make().reliefs[0].target, 2);
}

TEST(Plan, AnApplicationsAccountsStayApart) {
  Scene scene = MakeScene(3, 100, {60, 60});
  testing::AddAccount(scene.fleet, 1);
  scene.table = testing::EmptyTable(scene.fleet, 12);
  for (const int64_t a : {0, 1}) testing::SetForecast(scene.table, a, SignalKind::kCpu, 60, 1);
  scene.guard.applications["app"].accounts_per_cell_max = 1;
  ASSERT_EQ(scene.Make().reliefs.size(), 1u);
  EXPECT_EQ(scene.Make().reliefs[0].target, 2);
  scene.fleet.accounts[2].cell = 2;
  EXPECT_EQ(scene.Make().reliefs.at(0).target, 1);
}

TEST(Plan, ShadowsTakeNoMoreOfWhatIsFreeThanAllowed) {
  Scene scene = MakeScene(2, 100, {60, 60});
  scene.guard.target_free_share_max = 0.5;
  const Plan plan = scene.Make();
  EXPECT_TRUE(plan.reliefs.empty());
  EXPECT_NE(plan.alerts.at(0).find("guard.target_free_share_max = 50 %"), std::string::npos);
  scene.guard.target_free_share_max = 0.7;
  EXPECT_EQ(scene.Make().reliefs.size(), 1u);
}

TEST(Plan, BudgetsOfTargetsAndZonesBind) {
  Scene scene = MakeScene(3, 100, std::vector<double>(8, 30));
  for (int c : {1, 2}) scene.fleet.cells[static_cast<size_t>(c)].zone = "z" + std::to_string(c);
  scene.guard.shadows_per_target_max = 2;
  scene.guard.shadows_per_zone_max = 1;
  const Plan plan = scene.Make();
  ASSERT_EQ(plan.reliefs.size(), 2u);
  EXPECT_NE(plan.reliefs[0].target, plan.reliefs[1].target);
  EXPECT_NE(plan.alerts.at(0).find("shadows_per_zone_max = 1 is reached in zone z"),
            std::string::npos);
}

// Everything that uses cores leaves, as far as budgets go, for wherever there is room.
TEST(Plan, ADrainedCellIsEmptied) {
  Scene scene = MakeScene(3, 100, {20, 15, 10});
  scene.guard.cells["cell-0"].drain = true;
  const Plan plan = scene.Make();
  ASSERT_EQ(plan.reliefs.size(), 3u);
  for (const Relief& relief : plan.reliefs) {
    EXPECT_EQ(relief.reason, "cell cell-0 is being drained");
    EXPECT_EQ(relief.evidence.urgency, Urgency::kNow);
  }
  EXPECT_LT(plan.risks[0].probability, 0.1);  // of running out: it does not
  scene.guard.creations_per_minute_max = 1;
  EXPECT_EQ(scene.Make().reliefs.size(), 1u);
}

// Even those of whom nothing is measured, and whose leaving saves nothing.
TEST(Plan, ADrainedCellKeepsOnlyWhoIsPinned) {
  Scene scene = MakeScene(3, 100, {20, 0.001});
  testing::AddAccount(scene.fleet, 0);  // without a forecast
  testing::AddAccount(scene.fleet, 0, /*priority=*/0, /*pinned=*/true);
  scene.table = testing::EmptyTable(scene.fleet, 12);
  testing::SetForecast(scene.table, 0, SignalKind::kCpu, 20, 0.4);
  testing::SetForecast(scene.table, 1, SignalKind::kCpu, 0.001, 0);
  scene.guard.cells["cell-0"].drain = true;
  Plan plan = scene.Make();
  std::set<int32_t> leave;
  for (const Relief& relief : plan.reliefs) {
    leave.insert(relief.account);
    EXPECT_EQ(relief.evidence.urgency, Urgency::kNow);
    EXPECT_FALSE(std::isnan(relief.evidence.account_p50));
  }
  EXPECT_EQ(leave, (std::set<int32_t>{0, 1, 2}));
  ASSERT_EQ(plan.alerts.size(), 1u);
  EXPECT_NE(plan.alerts[0].find("1 accounts stay for now: they are pinned"), std::string::npos);

  // Once they have shadows, all of their traffic goes there, and they with it.
  Shadow shadow;
  shadow.instance_id = "shadow-1";
  shadow.account = 2;
  shadow.target = 1;
  shadow.state = ShadowState::kSharing;
  scene.shadows = {shadow};
  const Advice advice = AdviceFor(scene.Make(), shadow);
  EXPECT_TRUE(advice.evacuates);
  EXPECT_TRUE(advice.better_there);
  EXPECT_EQ(advice.split, 1);
  scene.guard.cells["cell-1"].drain = true;
  EXPECT_FALSE(AdviceFor(scene.Make(), shadow).evacuates);  // from one drained cell to another
}

// 120 of 100 cores for certain; either account's shadow would be enough. 4 GiB of state are copied
// for it, which takes half a minute in one cell and 40 min in the other.
TEST(Plan, StateThatIsCopiedSlowlyCostsTimeAndMoney) {
  Scene scene = MakeScene(3, 100, {60, 60});
  const double bytes = 4 * 1'073'741'824.0;
  for (int account = 0; account < 2; ++account) {
    testing::SetForecast(scene.table, account, SignalKind::kCpu, 60, 0);
    testing::SetForecast(scene.table, account, SignalKind::kMemory, bytes, 0);
  }
  testing::AddAccount(scene.fleet, 2);  // so that cell-1 has more room
  scene.table.block.Resize(scene.fleet.series_count(), 12);
  testing::SetForecast(scene.table, 2, SignalKind::kCpu, 10, 0);
  const auto gain = [&](double lead_h, double copy_h, int first) {
    const double spared = (12 - first) * (100 * 20 + 0.1 * 100) / 12;
    return spared - 0.5 - 4 * (1 + lead_h) / 7.5 - 60 * (0.5 + 2 * 0.1 * copy_h);
  };
  const CreationLine quick{60'000, 30'000 / bytes};
  const CreationLine slow{60'000, 2'400'000 / bytes};
  scene.leads = {quick, {quick, slow, quick}};
  Plan plan = scene.Make();
  ASSERT_EQ(plan.reliefs.size(), 1u);
  EXPECT_EQ(plan.reliefs[0].target, 2);
  EXPECT_NEAR(plan.reliefs[0].evidence.lead_ms, 90'000, 1e-3);
  EXPECT_NEAR(plan.reliefs[0].evidence.state_bytes, bytes, 1);
  EXPECT_NEAR(plan.reliefs[0].evidence.gain, gain(90 / 3'600.0, 30 / 3'600.0, 1), 1e-3);
  EXPECT_EQ(plan.reliefs[0].evidence.urgency, Urgency::kNow);

  scene.leads = {quick, {quick, slow, slow}};
  plan = scene.Make();
  ASSERT_EQ(plan.reliefs.size(), 1u);
  EXPECT_EQ(plan.reliefs[0].target, 1);
  EXPECT_NEAR(plan.reliefs[0].evidence.gain, gain(2'460 / 3'600.0, 2'400 / 3'600.0, 9), 1e-3);
}

// Found one by one, the shadow that saves most comes first, and stays though the next makes it one
// too many.
TEST(Plan, WithoutLocalSearchWhatWasFoundFirstStays) {
  int otherwise = 0;
  for (uint64_t seed = 0; seed < 500; ++seed) {
    Scene scene = RandomScene(seed);
    const Plan searched = scene.Make();
    scene.parts.local_search = false;
    const Plan greedy = scene.Make();
    const auto same = [](const Relief& a, const Relief& b) {
      return a.account == b.account && a.target == b.target;
    };
    otherwise += !std::ranges::equal(searched.reliefs, greedy.reliefs, same);
  }
  EXPECT_GT(otherwise, 10);
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
