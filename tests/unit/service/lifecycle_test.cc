#include "service/shadow/lifecycle.h"

#include <gtest/gtest.h>

#include "service/learn/learn.h"
#include "service/route/route.h"
#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

constexpr int64_t kStep = 300'000;
constexpr int64_t kMinute = 60'000;

// One account in cell 0 with a shadow planned for cell 1; time and danger are set by each test.
class Lifecycle : public ::testing::Test {
 protected:
  Lifecycle() {
    fleet = testing::MakeFleet(2, 100);
    testing::AddAccount(fleet, 0);
    settings.mode = Mode::kAct;
    plan.risks.resize(2);
    plan.risks_without.resize(2);
    demand.resize(2);
  }

  // Overload of cell 0 expected in so many minutes; negative = none in sight.
  void Danger(int64_t minutes) {
    plan.risks_without[0].probability = minutes < 0 ? 0 : 0.9;
    plan.risks_without[0].expected_ms = minutes < 0 ? 0 : now + minutes * kMinute;
    plan.risks[0] = plan.risks_without[0];
  }

  void PlanShadow() {
    plan.reliefs = {Relief{0, 0, 1, {1}, {}}};
    plan.reliefs[0].evidence.risk = plan.risks_without[0];
  }

  Changes Tick(std::vector<Outcome> outcomes = {}, std::vector<CellReport> reports = {},
               std::vector<Command> commands = {}) {
    Changes changes;
    Inbox inbox;
    inbox.outcomes = std::move(outcomes);
    inbox.reports = std::move(reports);
    inbox.commands = std::move(commands);
    const Moment moment{fleet, reachable, settings, now, kStep, 0};
    TakeIn(moment, inbox, decisions, changes);
    const Outlook outlook{moment, plan, demand, 0.25};
    Advance(outlook, decisions, changes);
    plan.reliefs.clear();
    Route(outlook, learn, decisions, changes);
    Learn({.plan = plan,
           .fleet = fleet,
           .demand = demand,
           .account_demand = {},
           .measures = {},
           .settings = learn,
           .now_ms = now,
           .step_ms = kStep},
          decisions.shadows);
    now += kStep;
    return changes;
  }

  Outcome Done() const { return {decisions.open.at(0).action.id, true, false, ""}; }
  Outcome Failed(bool final) const {
    return {decisions.open.at(0).action.id, false, final, "no answer"};
  }
  const Shadow& shadow() const { return decisions.shadows.at(0); }

  // Up to a shadow that shares traffic.
  void Share() {
    Danger(20);
    PlanShadow();
    Tick();
    Tick({Done()});
    Danger(20);
    Tick({Done()});
    ASSERT_EQ(shadow().state, ShadowState::kSharing);
  }

  Fleet fleet;
  std::vector<bool> reachable = {true, true};
  ShadowSettings settings;
  LearnSettings learn;
  Plan plan;
  std::vector<CellDemand> demand;
  Decisions decisions;
  int64_t now = 1'000 * kStep;
};

TEST_F(Lifecycle, WalksFromPlanToGone) {
  Danger(50);
  PlanShadow();
  Changes changes = Tick();
  ASSERT_EQ(changes.explanations.size(), 1u);
  EXPECT_EQ(changes.explanations[0].action.kind, ActionKind::kCreate);
  EXPECT_EQ(changes.explanations[0].action.state, ActionState::kIntended);
  EXPECT_EQ(shadow().state, ShadowState::kCreating);

  Danger(45);
  Tick({Done()});
  EXPECT_EQ(shadow().state, ShadowState::kWarm);  // created, but too early to share
  EXPECT_TRUE(decisions.open.empty());
  EXPECT_EQ(decisions.scores.shadows_created, 1u);

  Danger(25);
  Tick();
  ASSERT_EQ(decisions.open.size(), 1u);
  EXPECT_EQ(decisions.open[0].action.kind, ActionKind::kResume);

  Danger(20);
  Tick({Done()});
  EXPECT_EQ(shadow().state, ShadowState::kSharing);
  EXPECT_DOUBLE_EQ(shadow().split, 0.1);

  Danger(15);
  Tick();
  EXPECT_NEAR(shadow().split, 0.3, 1e-12);

  Danger(5);
  Tick();
  EXPECT_DOUBLE_EQ(shadow().split, 1);  // about to happen: at once

  int ticks = 0;
  for (; shadow().state == ShadowState::kSharing && ticks < 20; ++ticks) {
    Danger(-1);
    Tick(decisions.open.empty() ? std::vector<Outcome>{} : std::vector<Outcome>{Done()});
  }
  EXPECT_EQ(shadow().state, ShadowState::kIdle);
  EXPECT_EQ(shadow().split, 0);
  EXPECT_GT(ticks, 4);  // lowered slowly

  ticks = 0;
  while (!decisions.shadows.empty() && ticks < 20) {
    Tick(decisions.open.empty() ? std::vector<Outcome>{} : std::vector<Outcome>{Done()});
    ++ticks;
  }
  EXPECT_EQ(ticks, 7);  // 30 min idle, then one tick to be gone
}

TEST_F(Lifecycle, RecommendWaitsForApproval) {
  settings.mode = Mode::kRecommend;
  Danger(50);
  PlanShadow();
  Tick();
  EXPECT_EQ(shadow().state, ShadowState::kPlanned);
  EXPECT_EQ(decisions.open[0].action.state, ActionState::kWaiting);
  Tick();
  EXPECT_EQ(decisions.open[0].action.state, ActionState::kWaiting);
  Tick({}, {}, {{Command::Kind::kApprove, decisions.open[0].action.id}});
  EXPECT_EQ(shadow().state, ShadowState::kCreating);
  EXPECT_EQ(decisions.open[0].action.state, ActionState::kIntended);
}

TEST_F(Lifecycle, UnapprovedPlansExpire) {
  settings.mode = Mode::kRecommend;
  Danger(50);
  PlanShadow();
  Tick();
  Changes last;
  for (int i = 0; i < 6; ++i) last = Tick();
  EXPECT_TRUE(decisions.shadows.empty());
  EXPECT_TRUE(decisions.open.empty());
  ASSERT_EQ(last.explanations.size(), 1u);
  EXPECT_EQ(last.explanations[0].action.message, "not approved in time");
}

TEST_F(Lifecycle, ObserveNeverActs) {
  settings.mode = Mode::kObserve;
  Danger(5);
  PlanShadow();
  EXPECT_TRUE(Tick().explanations.empty());
  EXPECT_TRUE(decisions.shadows.empty());
}

TEST_F(Lifecycle, RetriesWithBackOffThenGivesUpAndCleansUp) {
  settings.attempts_max = 3;
  Danger(50);
  PlanShadow();
  Tick();
  int64_t before = 0;
  for (int attempt = 1; attempt <= 2; ++attempt) {
    Tick({Failed(false)});
    ASSERT_EQ(decisions.open.size(), 1u);
    const int64_t wait = decisions.open[0].action.retry_at_ms - (now - kStep);
    EXPECT_GT(wait, before);
    before = wait;
  }
  const Changes changes = Tick({Failed(false)});
  EXPECT_EQ(shadow().state, ShadowState::kDecommissioning);  // failed, then told to go
  ASSERT_FALSE(changes.alerts.empty());
  EXPECT_NE(changes.alerts[0].find("no answer"), std::string::npos);
  Tick({Done()});
  EXPECT_TRUE(decisions.shadows.empty());
}

TEST_F(Lifecycle, FinalFailureIsNotRepeated) {
  Danger(50);
  PlanShadow();
  Tick();
  Tick({Failed(true)});
  EXPECT_EQ(shadow().state, ShadowState::kDecommissioning);
}

TEST_F(Lifecycle, DestroyIsRepeatedForEver) {
  Danger(50);
  PlanShadow();
  Tick();
  Tick({Failed(true)});
  for (int i = 0; i < 20; ++i) {
    Tick({Failed(true)});
    ASSERT_EQ(decisions.open.size(), 1u);
    EXPECT_EQ(decisions.open[0].action.kind, ActionKind::kDestroy);
  }
}

TEST_F(Lifecycle, AVanishedInstanceIsNoticed) {
  Share();
  Tick();
  const Changes changes = Tick({}, {{1, true, {}}});
  ASSERT_FALSE(changes.alerts.empty());
  EXPECT_NE(changes.alerts[0].find("no longer has shadow-1"), std::string::npos);
  EXPECT_EQ(shadow().split, 0);
  EXPECT_EQ(shadow().state, ShadowState::kDecommissioning);
}

TEST_F(Lifecycle, OrphansAreReportedAndLeftAlone) {
  const Changes changes = Tick({}, {{1, true, {"shadow-77", "primary-of-somebody"}}});
  ASSERT_EQ(changes.alerts.size(), 1u);
  EXPECT_NE(changes.alerts[0].find("orphan shadow-77"), std::string::npos);
  EXPECT_TRUE(changes.explanations.empty());
}

TEST_F(Lifecycle, PauseHoldsTheSplitAndCreatesNothing) {
  Share();
  const double split = shadow().split;
  Danger(5);
  PlanShadow();
  Tick({}, {}, {{Command::Kind::kPause, 0}});
  EXPECT_EQ(decisions.shadows.size(), 1u);
  EXPECT_EQ(shadow().split, split);
  Danger(5);
  Tick({}, {}, {{Command::Kind::kResume, 0}});
  EXPECT_EQ(shadow().split, 1);
}

TEST_F(Lifecycle, AnUnreachableTargetGetsNoTraffic) {
  Share();
  Danger(5);
  reachable[1] = false;
  Tick();
  EXPECT_EQ(shadow().split, 0);
}

TEST_F(Lifecycle, AnEndangeredTargetIsRelievedByHalf) {
  Share();
  Danger(20);
  Tick();
  const double split = shadow().split;
  plan.risks[1].probability = 0.9;
  Danger(20);
  Tick();  // learning sees it; routed at the next tick
  Danger(20);
  Tick();
  EXPECT_LT(shadow().split, split);
}

TEST_F(Lifecycle, ATargetThatNeedsItsOwnCapacityGivesItBackAtOnce) {
  Share();
  Danger(20);
  Tick();
  ASSERT_GT(shadow().split, 0);
  demand[1].with[0] = 101;
  Danger(20);
  Tick();
  EXPECT_EQ(shadow().split, 0);
}

TEST_F(Lifecycle, WhenBothAreInDangerNothingMoves) {
  Share();
  Danger(20);
  Tick();
  const double split = shadow().split;
  demand[0].without[0] = 101;
  demand[1].with[0] = 101;
  Danger(5);
  Tick();
  EXPECT_EQ(shadow().split, split);
}

// What a cell lists while a destroy is under way is no orphan once the destroy is done.
TEST_F(Lifecycle, AnInstanceJustDestroyedIsNoOrphan) {
  Danger(50);
  PlanShadow();
  Tick();
  Tick({Failed(true)});
  ASSERT_EQ(shadow().state, ShadowState::kDecommissioning);
  const Changes changes = Tick({Done()}, {{1, true, {"shadow-1"}}});
  EXPECT_TRUE(decisions.shadows.empty());
  EXPECT_TRUE(changes.alerts.empty());
}

TEST_F(Lifecycle, ActionIdsAreNeverUsedTwice) {
  Share();
  std::vector<uint64_t> ids;
  for (int i = 0; i < 10; ++i) {
    Danger(i % 3 == 0 ? 20 : -1);
    for (const Explanation& e :
         Tick(decisions.open.empty() ? std::vector<Outcome>{} : std::vector<Outcome>{Done()})
             .explanations) {
      if (e.action.decided_ms == now - kStep) ids.push_back(e.action.id);
    }
  }
  EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
  EXPECT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end());
}

}  // namespace
}  // namespace foreshadow
