// The learn stage: who decides when, and what is left to say of it.
#include "service/learn/learn.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "service/learn/reward.h"
#include "service/route/route.h"
#include "service/tick/decisions_json.h"
#include "tests/unit/service/fixed_policy.h"
#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using testing::PolicyThatWants;

class LearnStage : public ::testing::Test {
 protected:
  LearnStage() {
    fleet = testing::MakeFleet(2, 10);
    testing::AddAccount(fleet, 0);
    plan.risks.resize(2);
    plan.risks_without.resize(2);
    demand.resize(2);
    demand[0].without[0] = 8;
    account_demand = {Resources{4}};
    settings.policy = LearnPolicy::kQ;
    Shadow shadow;
    shadow.instance_id = "shadow-1";
    shadow.target = 1;
    shadow.state = ShadowState::kSharing;
    shadow.split = 0.2;
    shadow.reserved = Resources{6};
    shadows = {shadow};
    AccountMeasures m;
    m.known = true;
    m.seconds = 10;
    m.primary = {.requests = 800, .p50_ms = 40, .p99_ms = 200};
    m.shadow = {.requests = 200, .p50_ms = 40, .p99_ms = 200};
    measures = {m};
  }

  std::vector<SplitRecord> Step() {
    now_ms += 10'000;
    return Learn({.plan = plan,
                  .fleet = fleet,
                  .demand = demand,
                  .account_demand = account_demand,
                  .measures = measures,
                  .settings = settings,
                  .now_ms = now_ms,
                  .step_ms = 10'000},
                 shadows);
  }

  Fleet fleet;
  Plan plan;
  std::vector<CellDemand> demand;
  std::vector<Resources> account_demand;
  std::vector<AccountMeasures> measures;
  LearnSettings settings;
  std::vector<Shadow> shadows;
  int64_t now_ms = 1'000'000;
};

TEST_F(LearnStage, TheKillSwitchIsTheRuleAlone) {
  settings.policy = LearnPolicy::kAimd;
  settings.learned = PolicyThatWants(SplitAction::kZero);
  plan.risks_without[0].probability = 0.9;
  EXPECT_TRUE(Step().empty());
  EXPECT_DOUBLE_EQ(shadows[0].wanted_split, 0.4);
  EXPECT_FALSE(shadows[0].learned.railed);
}

TEST_F(LearnStage, ThePolicyDecidesWithinTheRailsAndSaysSo) {
  settings.learned = PolicyThatWants(SplitAction::kToCeiling);
  const auto records = Step();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].policy, "test-7");
  EXPECT_DOUBLE_EQ(shadows[0].wanted_split, 0.4);  // twice the 20 requests/s that went well
  EXPECT_THAT(shadows[0].learned.reason, HasSubstr("test-7"));
  EXPECT_THAT(shadows[0].learned.reason, HasSubstr("to-ceiling"));
  EXPECT_THAT(shadows[0].learned.reason, HasSubstr("worth 1 more than the rule's"));
  EXPECT_THAT(shadows[0].learned.rail, HasSubstr("shown"));
  // 6 of 4 cores are held for it: 150 of 100 requests/s.
  const auto& names = kSplitFeatureNames;
  const auto at = [&](std::string_view name) {
    return records[0]
        .features[static_cast<size_t>(std::find(names.begin(), names.end(), name) - names.begin())];
  };
  EXPECT_NEAR(at("ready_share"), 1.5, 1e-6);
  EXPECT_NEAR(at("source_load"), 0.8, 1e-6);
  EXPECT_EQ(at("shadow_missing"), 0);
  // Nothing failed or was slow: the tail alone costs, 0.02 times 200 of 400 ms.
  EXPECT_NEAR(records[0].cost, kTailCost * 0.5 + kChurnCost * 0.2, 1e-9);
}

// The source carries 125 requests/s and the shadow is said to carry 150: 0.55 of what both do. It
// has shown to carry 20 of 100.
TEST_F(LearnStage, WithoutAPolicySharesAreByCapacityWithinTheRails) {
  const auto records = Step();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].policy, "rule");
  EXPECT_DOUBLE_EQ(shadows[0].wanted_split, 0.4);
  measures[0].shadow.requests = 600;
  measures[0].primary.requests = 400;
  shadows[0].split = 0.6;
  Step();
  EXPECT_NEAR(shadows[0].wanted_split, 150.0 / 275, 1e-9);
  // Held for long enough, its source safe: home, as the plain rule does it.
  now_ms += settings.hold_ms;
  Step();
  EXPECT_DOUBLE_EQ(shadows[0].wanted_split, 0.3);
  demand[0].without[0] = 12;  // of 10: no room for what would come home
  Step();
  EXPECT_NEAR(shadows[0].wanted_split, 150 / (150 + 100 / 1.2), 1e-9);
}

TEST_F(LearnStage, MeasurementsThatCeaseFreezeTheSplit) {
  settings.learned = PolicyThatWants(SplitAction::kToCeiling);
  Step();
  measures[0].known = false;
  const auto records = Step();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(shadows[0].wanted_split, shadows[0].split);
  EXPECT_EQ(records[0].policy, "rule");
  EXPECT_EQ(records[0].cost, -1);
  EXPECT_THAT(records[0].reason, HasSubstr("stale"));
}

// Its rate is what counts, and a tick that came late saw more requests.
TEST_F(LearnStage, RequestsCountByTheTimeThatTheyAreOf) {
  settings.learned = PolicyThatWants(SplitAction::kToCeiling);
  measures[0].seconds = 20;
  Step();
  EXPECT_DOUBLE_EQ(shadows[0].wanted_split, 0.4);  // twice 10 of 50 requests/s
}

TEST(SplitPolicy, IsToldFromAnotherOfItsVersionByItsFingerprint) {
  EXPECT_EQ(PolicyThatWants(SplitAction::kHold)->fingerprint(),
            PolicyThatWants(SplitAction::kHold)->fingerprint());
  EXPECT_NE(PolicyThatWants(SplitAction::kHold)->fingerprint(),
            PolicyThatWants(SplitAction::kZero)->fingerprint());
  QCard card = testing::FixedCard("test-7");
  card.feature_max[3] = 2;
  const auto other = QPolicy::Create(card, testing::FixedWeights(SplitAction::kHold));
  EXPECT_NE(other->fingerprint(), PolicyThatWants(SplitAction::kHold)->fingerprint());
}

TEST_F(LearnStage, WithoutAnyMeasurementTheRuleDecides) {
  settings.learned = PolicyThatWants(SplitAction::kZero);
  measures.clear();
  plan.risks_without[0].probability = 0.9;
  EXPECT_TRUE(Step().empty());
  EXPECT_DOUBLE_EQ(shadows[0].wanted_split, 0.4);
}

TEST_F(LearnStage, AStateThatThePolicyDoesNotKnowIsTheRulesWithinTheRails) {
  settings.learned = PolicyThatWants(SplitAction::kZero);
  plan.risks_without[0].probability = 0.9;
  measures[0].seconds = 10;
  // Ticks of ten minutes: it has seen a minute at most.
  now_ms += 600'000;
  const auto records = Learn({.plan = plan,
                              .fleet = fleet,
                              .demand = demand,
                              .account_demand = account_demand,
                              .measures = measures,
                              .settings = settings,
                              .now_ms = now_ms,
                              .step_ms = 600'000},
                             shadows);
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].policy, "rule");
  EXPECT_THAT(records[0].reason, HasSubstr("outside"));
  EXPECT_GE(shadows[0].wanted_split, 0.2);
}

TEST_F(LearnStage, TheSameInputGivesTheSameDecisionAndARestartKeepsIt) {
  settings.learned = PolicyThatWants(SplitAction::kMoreTenth);
  settings.explore = 0.2;
  auto before = shadows;
  const auto a = Step();
  std::swap(before, shadows);
  now_ms -= 10'000;
  const auto b = Step();
  EXPECT_EQ(SplitRecordToJson(a[0]), SplitRecordToJson(b[0]));
  Decisions decisions;
  decisions.shadows = shadows;
  std::vector<std::string> dropped;
  const auto back = DecisionsFromJson(DecisionsToJson(decisions, fleet), fleet, dropped);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->shadows[0].learned, shadows[0].learned);
}

// Its source is asked for three times what it has, its shadow carries as much as it.
class Overfull : public LearnStage {
 protected:
  Overfull() {
    settings.can_shed = true;
    demand[0].without[0] = 30;
    account_demand = {Resources{30}};
    shadows[0].split = 0.5;
    shadows[0].reserved = Resources{10};
    measures[0].primary = {
        .requests = 500, .failed = 200, .slow = 140, .p50_ms = 300, .p99_ms = 2'000};
    measures[0].shadow = measures[0].primary;
  }
};

TEST_F(Overfull, WhatIsTooMuchForBothIsRefused) {
  const std::vector<SplitRecord> records = Step();
  EXPECT_NEAR(shadows[0].wanted_shed, 1 - 0.9 * 2 / 3, 1e-9);
  EXPECT_EQ(records[0].shed, shadows[0].wanted_shed);
  settings.shed_max = 0.1;
  Step();
  EXPECT_EQ(shadows[0].wanted_shed, 0.1);
  settings.can_shed = false;
  Step();
  EXPECT_EQ(shadows[0].wanted_shed, 0);
}

// What is refused is seen by nobody but those who refuse: it is not forgotten.
TEST_F(Overfull, WhatIsRefusedIsStillAskedFor) {
  Step();
  const double shed = shadows[0].shed = shadows[0].wanted_shed;
  demand[0].without[0] *= 1 - shed;
  account_demand[0][0] *= 1 - shed;
  const double served = (1 - shed) * 500;
  measures[0].primary = {.requests = served, .failed = 0.1 * served, .p50_ms = 90, .p99_ms = 800};
  measures[0].shadow = measures[0].primary;
  const std::vector<SplitRecord> records = Step();
  EXPECT_NEAR(shadows[0].wanted_shed, 1 - 0.9 * 0.95 * 2 / 3, 1e-9) << "still harmed, so less";
  const double refused = 1'000 - 2 * served;
  EXPECT_GT(records[0].cost, 2 * (refused + 0.2 * served) / 1'000) << "refused is failed";
}

TEST_F(Overfull, AShadowAloneIsAskedForWhatItCarries) {
  shadows[0].failed_over = true;
  shadows[0].split = 1;
  shadows[0].reserved = Resources{20};
  measures[0].primary = {};
  Step();
  EXPECT_NEAR(shadows[0].wanted_shed, 1 - 0.9 * 2 / 3, 1e-9);
}

class RouteStage : public Overfull {
 protected:
  RouteStage() { decisions.shadows = shadows; }

  void Route() {
    const ShadowSettings shadow_settings;
    const Moment moment{fleet, reachable, shadow_settings, now_ms, 10'000, 0};
    const PlanSettings plan_settings;
    const RailSettings guard;
    const Rails rails = testing::RailsOf(fleet, guard);
    changes = {};
    foreshadow::Route({moment, plan, demand, plan_settings, rails, account_demand}, settings,
                      decisions, changes);
  }
  Shadow& shadow() { return decisions.shadows[0]; }

  std::vector<bool> reachable = {true, true};
  Decisions decisions;
  Changes changes;
};

TEST_F(RouteStage, RefusesWhatLearningAsksForAndSaysSo) {
  shadow().learned.railed = true;
  shadow().wanted_split = shadow().split;
  shadow().wanted_shed = 0.25;
  Route();
  EXPECT_EQ(shadow().shed, 0.25);
  ASSERT_EQ(changes.explanations.size(), 1u);
  EXPECT_EQ(changes.explanations[0].action.kind, ActionKind::kSetSplit);
  EXPECT_EQ(changes.explanations[0].action.shed, 0.25);
  EXPECT_THAT(changes.explanations[0].action.reason,
              HasSubstr("25 % of its requests are refused: both instances together cannot carry"));
  EXPECT_THAT(changes.alerts, Contains(HasSubstr("25 % of its requests are refused")));
  Route();
  EXPECT_TRUE(changes.explanations.empty()) << "nothing new";
  EXPECT_EQ(changes.alerts.size(), 1u) << "but it stands";
  decisions.paused = true;
  shadow().wanted_shed = 0;
  Route();
  EXPECT_EQ(shadow().shed, 0.25) << "an operator holds everything";
  decisions.paused = false;
  Route();
  EXPECT_EQ(shadow().shed, 0);
  ASSERT_EQ(changes.explanations.size(), 1u);
  EXPECT_THAT(changes.explanations[0].action.reason, HasSubstr("none of its requests is refused"));
  EXPECT_TRUE(changes.alerts.empty());
}

TEST_F(RouteStage, NothingIsRefusedForAShadowThatIsLost) {
  shadow().shed = shadow().wanted_shed = 0.25;
  reachable[1] = false;
  Route();
  EXPECT_EQ(shadow().shed, 0);
}

TEST_F(RouteStage, WhatIsRefusedOutlivesARestart) {
  shadow().shed = 0.25;
  shadow().wanted_shed = 0.3;
  shadow().learned.guard.carries = 1.1;
  std::vector<std::string> dropped;
  const auto back = DecisionsFromJson(DecisionsToJson(decisions, fleet), fleet, dropped);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->shadows[0].shed, 0.25);
  EXPECT_EQ(back->shadows[0].wanted_shed, 0.3);
  EXPECT_EQ(back->shadows[0].learned, shadow().learned);
}

TEST_F(RouteStage, GivesNothingAtOnceWithinTheRailsAndTellsTheRail) {
  shadows[0].split = 0.2;
  shadows[0].reserved = Resources{6};
  account_demand = {Resources{4}};
  demand[0].without[0] = 8;
  measures[0].primary = {.requests = 800, .p50_ms = 40, .p99_ms = 200};
  measures[0].shadow = {.requests = 200, .p50_ms = 40, .p99_ms = 200};
  settings.learned = PolicyThatWants(SplitAction::kToCeiling);
  Step();
  demand[0].without[0] = 20;  // twice what the source has
  plan.risks_without[0].expected_ms = now_ms;
  decisions.shadows = shadows;
  Route();
  EXPECT_DOUBLE_EQ(decisions.shadows[0].split, 0.4);
  ASSERT_EQ(changes.explanations.size(), 1u);
  EXPECT_THAT(changes.explanations[0].guard_rails, Contains(HasSubstr("shown")));
  EXPECT_THAT(changes.explanations[0].action.reason, HasSubstr("test-7"));
}

}  // namespace
}  // namespace foreshadow
