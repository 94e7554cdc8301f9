#include "service/shadow/lifecycle.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

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
    settings.promote_after_ms = 15 * kMinute;
    plan.risks.resize(2);
    plan.risks_without.resize(2);
    demand.resize(2);
  }

  // Overload of cell 0 expected in so many minutes; negative = none in sight.
  void Danger(int64_t minutes) {
    plan.risks_without[0].probability = minutes < 0 ? 0 : 0.9;
    plan.risks_without[0].expected_ms = minutes < 0 ? 0 : now + minutes * kMinute;
    plan.risks[0] = plan.risks_without[0];
    // What the plan makes of it.
    const bool soon = minutes >= 0 && minutes <= 30;
    const bool next = minutes >= 0 && minutes <= 5;
    plan.advice["shadow-1"] = {next ? 1.0 : 0, next ? 1.0 : 0, soon ? 1.0 : 0, soon ? 1.0 : 0};
  }

  void PlanShadow() {
    plan.reliefs = {Relief{0, 0, 1, {1}, "cell-0 is in danger", {}}};
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
    if (!changes.moved.empty()) fleet.accounts[0] = changes.moved[0];
    Rails rails = testing::RailsOf(fleet, guard, settings.mode);
    const std::vector<Resources> account_demand(fleet.accounts.size(), Resources{cores});
    rails.asked.least = guard.urgency_min;
    rails.all = bar;
    const Outlook outlook{moment,  plan,     demand, plan_settings, rails, account_demand,
                          migrate, measures, 400};
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

  // Up to its promotion, intended.
  void BeginPromotion() {
    Share();
    Danger(5);
    plan.advice["shadow-1"].better_there = true;
    for (int i = 0; i < 10 && decisions.open.empty(); ++i) Tick();
    ASSERT_EQ(decisions.open.at(0).action.kind, ActionKind::kPromote);
  }

  Fleet fleet;
  std::vector<bool> reachable = {true, true};
  ShadowSettings settings;
  LearnSettings learn;
  PlanSettings plan_settings;
  RailSettings guard;
  Bar bar;
  double cores = 4;  // that each account uses now
  MigrateSettings migrate;
  std::vector<AccountMeasures> measures;
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
  EXPECT_GT(ticks, 10);  // not before it was held for an hour

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

TEST_F(Lifecycle, RejectedPlansAreWithdrawn) {
  settings.mode = Mode::kRecommend;
  Danger(50);
  PlanShadow();
  Tick();
  const uint64_t id = decisions.open.at(0).action.id;
  Command reject{.kind = Command::Kind::kReject, .action_id = id + 7, .reason = "not tonight"};
  EXPECT_TRUE(Tick({}, {}, {reject}).explanations.empty());
  reject.action_id = id;
  const Changes changes = Tick({}, {}, {reject});
  ASSERT_EQ(changes.explanations.size(), 1u);
  EXPECT_EQ(changes.explanations[0].action.state, ActionState::kFailed);
  EXPECT_EQ(changes.explanations[0].action.message, "rejected: not tonight");
  EXPECT_TRUE(decisions.open.empty());
  EXPECT_TRUE(decisions.shadows.empty());
}

TEST_F(Lifecycle, ChangesOfSettingsAreKeptByKeyUntilTakenBack) {
  const auto set = [&](const char* key, const char* value) {
    Tick({}, {}, {{.kind = Command::Kind::kSet, .reason = "why", .key = key, .value = value}});
  };
  set("plan.gain_min", "1");
  set("guard.shadows_max", "3");
  set("plan.gain_min", "2");
  ASSERT_EQ(decisions.changes.size(), 2u);
  EXPECT_EQ(decisions.changes[0].key, "guard.shadows_max");
  EXPECT_EQ(decisions.changes[1].value, "2");
  EXPECT_EQ(decisions.changes[1].changed_ms, now - kStep);
  set("guard.shadows_max", "");
  ASSERT_EQ(decisions.changes.size(), 1u);
  EXPECT_EQ(decisions.changes[0].key, "plan.gain_min");
}

TEST_F(Lifecycle, NothingIsPromotedBelowTheBarOrByRecommendation) {
  Share();
  Danger(5);
  plan.advice["shadow-1"].better_there = true;
  bar = {Urgency::kSoon, "a test asks for it"};
  for (int i = 0; i < 10; ++i) Tick();
  EXPECT_EQ(shadow().state, ShadowState::kSharing);
  bar = {};
  guard.applications["app"].mode = ModeRule::kRecommend;
  for (int i = 0; i < 10; ++i) Tick();
  EXPECT_EQ(shadow().state, ShadowState::kSharing);
  guard.applications.clear();
  guard.urgency_min = Urgency::kNever;
  for (int i = 0; i < 10; ++i) Tick();
  EXPECT_EQ(shadow().state, ShadowState::kSharing);
  guard.urgency_min = Urgency::kOverloaded;  // of new shadows
  Tick();
  EXPECT_EQ(shadow().state, ShadowState::kPromoting);
}

TEST_F(Lifecycle, TrafficIsShiftedNoFasterThanTheBudgetAllows) {
  Share();  // a split of 0.1
  guard.cores_shifted_per_minute_max = 1;
  decisions.rails.cores_left = 2;  // half of the account's
  Danger(5);
  Changes changes = Tick();
  EXPECT_DOUBLE_EQ(shadow().split, 0.6);
  EXPECT_EQ(decisions.rails.cores_left, 0);
  EXPECT_NE(changes.explanations.at(0).action.reason.find("cores_shifted_per_minute_max = 1"),
            std::string::npos);
  EXPECT_TRUE(Tick().explanations.empty());  // spent
  EXPECT_DOUBLE_EQ(shadow().split, 0.6);
  reachable[1] = false;  // what is lost leaves at once
  Tick();
  EXPECT_EQ(shadow().split, 0);
}

TEST_F(Lifecycle, ASplitIsLoweredInSteps) {
  learn.hold_ms = 0;
  Share();
  Danger(5);
  Tick();
  ASSERT_EQ(shadow().split, 1);
  Danger(-1);
  plan.advice["shadow-1"] = {};
  std::vector<double> splits;
  for (int i = 0; i < 6; ++i) {
    Tick();
    splits.push_back(shadow().split);
  }
  EXPECT_EQ(splits, (std::vector<double>{0.5, 0.25, 0.125, 0.0625, 0, 0}));
}

TEST_F(Lifecycle, TrafficThatMovedStaysForAWhile) {
  learn.hold_ms = 6 * kStep;
  Share();
  Danger(-1);
  plan.advice["shadow-1"] = {};
  for (int i = 0; i < 12; ++i) {
    const int64_t moved_ms_ago = now - shadow().moved_ms;
    Tick();
    EXPECT_EQ(shadow().split > 0, moved_ms_ago < learn.hold_ms) << moved_ms_ago;
  }
}

// From the moment that it may be begun, not from when it was proposed.
TEST_F(Lifecycle, WhatACreationTookIsLearned) {
  settings.mode = Mode::kRecommend;
  Danger(20);
  PlanShadow();
  plan.reliefs[0].evidence.state_bytes = 3e9;
  plan.reliefs[0].evidence.lead_ms = 10 * kStep;
  Tick();
  for (int i = 0; i < 4; ++i) Tick();
  Tick({}, {}, {{Command::Kind::kApprove, decisions.open.at(0).action.id}});
  Tick();
  Tick({Done()});
  ASSERT_EQ(decisions.creations.size(), 2u);
  EXPECT_EQ(decisions.creations[0], CreationSums());
  EXPECT_EQ(decisions.creations[1].weight, 1);
  EXPECT_EQ(decisions.creations[1].bytes, 3e9);
  EXPECT_EQ(decisions.creations[1].ms, 1.5 * kStep);  // seen after two steps
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

TEST_F(Lifecycle, TheSplitOfTheComingStepHoldsAtOnce) {
  Share();
  Danger(5);
  plan.advice["shadow-1"].split = 0.35;
  Tick();
  EXPECT_DOUBLE_EQ(shadow().split, 0.35);
  plan.advice["shadow-1"].split = 0;  // the target needs its own capacity
  Tick();
  EXPECT_EQ(shadow().split, 0);
}

TEST_F(Lifecycle, AnUrgentShadowIsCreatedRunning) {
  Danger(5);
  PlanShadow();
  plan.reliefs[0].evidence.urgency = Urgency::kNow;
  EXPECT_TRUE(Tick().explanations.at(0).action.run);
  Danger(5);
  Tick({Done()});
  EXPECT_EQ(shadow().state, ShadowState::kSharing);
  EXPECT_EQ(shadow().split, 1);
}

// Served for a quarter of an hour and better off there: all traffic, then the roles are swapped,
// and the primary that was is retired in the cell where it is.
TEST_F(Lifecycle, PromotionSwapsTheRoles) {
  migrate.drain_ms = 2 * kStep;
  Share();
  Danger(5);
  Tick();
  ASSERT_EQ(shadow().split, 1);
  plan.advice["shadow-1"].better_there = true;
  Tick();
  EXPECT_EQ(shadow().state, ShadowState::kSharing) << "too early";
  Tick();
  ASSERT_EQ(shadow().state, ShadowState::kPromoting);
  EXPECT_EQ(shadow().split, 1);
  Tick();
  EXPECT_TRUE(decisions.open.empty()) << "the old primary still answers";
  Tick();
  ASSERT_EQ(decisions.open.size(), 1u);
  EXPECT_EQ(decisions.open[0].action.kind, ActionKind::kPromote);
  EXPECT_EQ(decisions.open[0].action.epoch, 0u) << "a stateless account needs no fence";
  EXPECT_EQ(fleet.accounts[0].cell, 0);
  Changes changes = Tick({Done()}, {{1, true, {}}});  // no longer listed as a shadow
  ASSERT_EQ(changes.moved.size(), 1u);
  EXPECT_EQ(changes.moved[0].cell, 1);
  EXPECT_TRUE(changes.alerts.empty());
  EXPECT_EQ(shadow().state, ShadowState::kPromoted);
  ASSERT_EQ(decisions.open.size(), 1u);
  EXPECT_EQ(decisions.open[0].action.kind, ActionKind::kRetire);
  EXPECT_EQ(decisions.open[0].action.source_cell, "cell-0");
  Tick({Failed(true)});  // repeated until it is done
  ASSERT_EQ(decisions.open.size(), 1u);
  Tick({Done()});
  EXPECT_TRUE(decisions.shadows.empty());
  EXPECT_EQ(fleet.accounts[0].cell, 1);
}

// A quarter at a time, whatever the plan would give; what the shadow then does badly sends all
// back.
TEST_F(Lifecycle, AMigrationGoesStepByStepAndBackToWhereItBegan) {
  AccountMeasures m;
  m.known = true;
  m.seconds = 300;
  m.primary = m.shadow = {.requests = 1'000, .p50_ms = 5, .p99_ms = 20};
  measures = {m};
  Share();
  plan.advice["shadow-1"].better_there = true;
  for (int i = 0; i < 10 && shadow().state != ShadowState::kPromoting; ++i) {
    decisions.shadows[0].wanted_split = 0.1;  // what learning asks for
    Tick();
  }
  ASSERT_EQ(shadow().state, ShadowState::kPromoting);
  EXPECT_EQ(shadow().split, 0.25);
  EXPECT_DOUBLE_EQ(shadow().migration.from, 0.1);
  Tick();
  EXPECT_EQ(shadow().split, 0.5);
  measures[0].shadow.failed = 100;
  const Changes changes = Tick();
  EXPECT_EQ(shadow().state, ShadowState::kSharing);
  EXPECT_DOUBLE_EQ(shadow().split, 0.1);
  ASSERT_EQ(changes.alerts.size(), 1u);
  EXPECT_NE(changes.alerts[0].find("account-0 stays in cell cell-0: 100 of"), std::string::npos)
      << changes.alerts[0];
  ASSERT_EQ(changes.explanations.size(), 1u);
  EXPECT_NE(changes.explanations[0].action.reason.find("called off: 100 of"), std::string::npos);
  // The plan alone does not see it and would give all; it is not forgotten.
  Danger(5);
  plan.advice["shadow-1"].better_there = true;
  Tick();
  EXPECT_DOUBLE_EQ(shadow().split, 0.1);
  // A primary that is ill leaves no choice.
  Tick({}, {}, {{Command::Kind::kFailedOver, 0, fleet.accounts[0].id, "its primary has ended"}});
  EXPECT_EQ(shadow().split, 1);
}

// What is at stake in the coming step does not wait for the next one of a migration.
TEST_F(Lifecycle, AMigrationGoesAtOnceWhereTheNextStepIsAtStake) {
  Share();
  plan.advice["shadow-1"].better_there = true;
  for (int i = 0; i < 10 && shadow().state != ShadowState::kPromoting; ++i) Tick();
  ASSERT_LT(shadow().split, 1);
  Danger(5);
  plan.advice["shadow-1"].better_there = true;
  Tick();
  EXPECT_EQ(shadow().state, ShadowState::kPromoting);
  EXPECT_EQ(shadow().split, 1);
}

// The shadow did nothing wrong: it keeps its share, and may be given more at once.
TEST_F(Lifecycle, AMigrationThatIsNoLongerOfUseLeavesTheSplit) {
  Share();
  plan.advice["shadow-1"].better_there = true;
  for (int i = 0; i < 10 && shadow().state != ShadowState::kPromoting; ++i) Tick();
  Tick();
  const double split = shadow().split;
  ASSERT_GE(split, 0.5);
  plan.advice["shadow-1"].better_there = false;
  const Changes changes = Tick();
  EXPECT_EQ(shadow().state, ShadowState::kSharing);
  EXPECT_EQ(shadow().split, split);
  EXPECT_TRUE(changes.alerts.empty());
  Danger(5);
  Tick();
  EXPECT_EQ(shadow().split, 1);
}

TEST_F(Lifecycle, AStatefulAccountIsHandedOverWithTheNextEpoch) {
  fleet.accounts[0].stateful = true;
  decisions.epochs = {{0, 4}};
  BeginPromotion();
  EXPECT_EQ(decisions.open[0].action.epoch, 5u);
  EXPECT_EQ(decisions.epochs[0].epoch, 4u) << "until it is done";
  Tick({Done()});
  EXPECT_EQ(decisions.epochs[0].epoch, 5u);
}

// The primary is fenced and stays it: lifting is an action that is repeated until it is done, every
// step, and no other hand-over meets it.
TEST_F(Lifecycle, AFencedPromotionThatIsGivenUpLiftsTheFence) {
  fleet.accounts[0].stateful = true;
  decisions.epochs = {{0, 4}};
  settings.promote_after_ms = kStep;
  BeginPromotion();
  const Changes changes = Tick({Failed(true)});
  EXPECT_EQ(shadow().state, ShadowState::kSharing);
  ASSERT_EQ(decisions.open.size(), 1u);
  const Action lift = decisions.open[0].action;
  EXPECT_EQ(lift.kind, ActionKind::kLiftFence);
  EXPECT_TRUE(AtSource(lift.kind));
  EXPECT_EQ(lift.epoch, 5u);
  EXPECT_EQ(lift.source_cell, "cell-0");
  EXPECT_TRUE(std::ranges::any_of(changes.explanations, [&](const Explanation& e) {
    return e.action.id == lift.id;
  })) << "durable before it is carried out";
  for (int i = 0; i < 10; ++i) {
    Danger(5);
    plan.advice["shadow-1"].better_there = true;
    Tick({Failed(true)});
    ASSERT_EQ(decisions.open.size(), 1u) << "nothing is handed over meanwhile";
    EXPECT_EQ(decisions.open[0].action.retry_at_ms, now) << "at the next step";
  }
  EXPECT_EQ(shadow().state, ShadowState::kPromoting);
  Tick({Done()});
  ASSERT_EQ(decisions.open.size(), 1u);
  EXPECT_EQ(decisions.open[0].action.kind, ActionKind::kPromote) << "it may again";
}

TEST_F(Lifecycle, AMigrationWhosePrimaryDiesIsHandedOverAtOnce) {
  fleet.accounts[0].stateful = true;
  Share();
  plan.advice["shadow-1"].better_there = true;
  for (int i = 0; i < 10 && shadow().state != ShadowState::kPromoting; ++i) Tick();
  ASSERT_LT(shadow().split, 1);
  Tick({}, {}, {{Command::Kind::kFailedOver, 0, fleet.accounts[0].id, "its primary has ended"}});
  EXPECT_EQ(shadow().split, 1);
  ASSERT_EQ(decisions.open.size(), 1u);
  EXPECT_EQ(decisions.open[0].action.kind, ActionKind::kPromote);
  EXPECT_EQ(decisions.open[0].action.epoch, 0u) << "nobody is there to be fenced";
}

TEST_F(Lifecycle, APromotionThatFailsLeavesAShadowThatServes) {
  settings.attempts_max = 1;
  BeginPromotion();
  const Changes changes = Tick({Failed(true)});
  EXPECT_TRUE(changes.moved.empty());
  EXPECT_EQ(fleet.accounts[0].cell, 0);
  EXPECT_EQ(shadow().split, 1);
}

TEST_F(Lifecycle, PromotionIsCalledOffWhenTheTargetIsLost) {
  Share();
  Danger(5);
  plan.advice["shadow-1"].better_there = true;
  for (int i = 0; i < 10 && shadow().state != ShadowState::kPromoting; ++i) Tick();
  ASSERT_EQ(shadow().state, ShadowState::kPromoting);
  reachable[1] = false;
  Tick();
  EXPECT_EQ(shadow().state, ShadowState::kSharing);
  EXPECT_EQ(shadow().split, 0);
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

// A long walk at random: every edge of the table is taken, and no other.
TEST(LifecycleTable, EveryEdgeIsWalkedAndNoOther) {
  std::mt19937_64 random(7);
  const auto chance = [&](double p) {
    return std::uniform_real_distribution<double>()(random) < p;
  };
  Fleet fleet = testing::MakeFleet(2, 100);
  for (int a = 0; a < 4; ++a) testing::AddAccount(fleet, 0);
  ShadowSettings settings;
  settings.idle_ms = 2 * kStep;
  settings.promote_after_ms = kStep;
  settings.attempts_max = 2;
  LearnSettings learn;
  learn.hold_ms = kStep;
  const PlanSettings plan_settings;
  const RailSettings guard;
  Decisions decisions;
  std::set<std::pair<ShadowState, ShadowState>> walked;
  std::map<std::string, ShadowState> states;
  const auto observe = [&] {
    std::map<std::string, ShadowState> now;
    for (const Shadow& s : decisions.shadows) now[s.instance_id] = s.state;
    for (const auto& [id, before] : states) {
      const auto it = now.find(id);
      const ShadowState after = it == now.end() ? ShadowState::kGone : it->second;
      if (before != after) walked.emplace(before, after);
    }
    states = now;
  };
  for (int64_t tick = 1; tick < 60'000; ++tick) {
    settings.mode = chance(0.5) ? Mode::kAct : Mode::kRecommend;
    std::vector<bool> reachable = {chance(0.9), chance(0.9)};
    Plan plan;
    plan.risks.resize(2);
    plan.risks_without.resize(2);
    for (const Shadow& s : decisions.shadows) {
      plan.advice[s.instance_id] = {chance(0.5) ? 1.0 : 0, chance(0.5) ? 2.0 : 0,
                                    chance(0.5) ? 1.0 : 0, chance(0.5) ? 2.0 : 0, chance(0.7)};
    }
    for (int a = 0; a < 4; ++a) {
      const bool has =
          std::ranges::any_of(decisions.shadows, [&](const Shadow& s) { return s.account == a; });
      if (has || !chance(0.3)) continue;
      const int32_t home = fleet.accounts[a].cell;
      Relief relief{a, home, 1 - home, {1}, "in danger", {}};
      relief.evidence.urgency = chance(0.5) ? Urgency::kNow : Urgency::kRoutine;
      plan.reliefs.push_back(std::move(relief));
    }
    Inbox inbox;
    CellReport report{static_cast<int32_t>(random() % 2), true, {}};
    for (const Shadow& s : decisions.shadows) {
      if (chance(0.98)) report.instances.push_back(s.instance_id);
    }
    if (chance(0.3)) inbox.reports.push_back(report);
    for (const Explanation& e : decisions.open) {
      if (e.action.state == ActionState::kWaiting && chance(0.3)) {
        inbox.commands.push_back({Command::Kind::kApprove, e.action.id});
      } else if (chance(0.5)) {
        inbox.outcomes.push_back({e.action.id, chance(0.7), chance(0.5), "no"});
      }
    }
    inbox.commands.push_back({chance(0.3) ? Command::Kind::kPause : Command::Kind::kResume, 0});
    if (chance(0.02)) fleet.accounts[random() % 4].cell = static_cast<int32_t>(random() % 2);

    const std::vector<CellDemand> demand(2);
    const Moment moment{fleet, reachable, settings, tick * kStep, kStep, 0};
    Changes changes;
    TakeIn(moment, inbox, decisions, changes);
    observe();
    for (const Account& account : changes.moved) {
      *std::ranges::find(fleet.accounts, account.id, &Account::id) = account;
    }
    const Rails rails = testing::RailsOf(fleet, guard, settings.mode);
    const std::vector<Resources> account_demand(fleet.accounts.size());
    std::vector<AccountMeasures> measures(4);
    for (AccountMeasures& m : measures) {
      m.known = chance(0.5);
      m.primary = {.requests = 500, .p50_ms = 5, .p99_ms = 20};
      m.shadow = {.requests = 500, .failed = chance(0.1) ? 100.0 : 0, .p50_ms = 5, .p99_ms = 20};
    }
    const Outlook outlook{moment, plan,     demand, plan_settings, rails, account_demand,
                          {},     measures, 400};
    Advance(outlook, decisions, changes);
    Route(outlook, learn, decisions, changes);
    observe();
    for (const Shadow& s : decisions.shadows) {
      ASSERT_TRUE(s.split >= 0 && s.split <= 1);
      const bool serves = s.state == ShadowState::kSharing || s.state == ShadowState::kPromoting;
      ASSERT_TRUE(s.split == 0 || serves) << Name(s.state);
    }
  }
  for (int from = 0; from < kShadowStates; ++from) {
    for (int to = 0; to < kShadowStates; ++to) {
      const std::pair edge{static_cast<ShadowState>(from), static_cast<ShadowState>(to)};
      if (from == to) continue;
      EXPECT_EQ(walked.contains(edge), Follows(edge.first, edge.second))
          << Name(edge.first) << " -> " << Name(edge.second);
    }
  }
}

}  // namespace
}  // namespace foreshadow
