// A migration step by step: what raises it, what holds it, what calls it off.
#include "service/shadow/migrate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace foreshadow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kTick = 60'000;

class MigrateTest : public ::testing::Test {
 protected:
  MigrateTest() {
    shadow.state = ShadowState::kPromoting;
    shadow.split = 0.1;
    measures.known = true;
    measures.seconds = 60;
    measures.primary = {.requests = 1'000, .p50_ms = 5, .p99_ms = 50};
    measures.shadow = {.requests = 1'000, .p50_ms = 5, .p99_ms = 50};
  }
  void Begin() { BeginMigration(settings, now, shadow); }

  // A tick later, with the split that was wanted in force.
  MigrationDecision Next() {
    shadow.split = shadow.wanted_split;
    now += kTick;
    return Migrate({settings, measures, 400, now, kTick, evacuates}, shadow);
  }
  // The splits until it is over.
  std::vector<double> Splits() {
    std::vector<double> splits = {shadow.wanted_split};
    for (int i = 0; i < 100; ++i) {
      last = Next();
      if (last.turn != MigrationTurn::kGoOn) break;
      if (shadow.wanted_split != splits.back()) splits.push_back(shadow.wanted_split);
    }
    return splits;
  }

  MigrateSettings settings;
  AccountMeasures measures;
  bool evacuates = false;
  Shadow shadow;
  MigrationDecision last;
  int64_t now = 1'000 * kTick;
};

TEST_F(MigrateTest, RaisesInStepsAndHandsOver) {
  Begin();
  EXPECT_THAT(Splits(), ElementsAre(0.25, 0.5, 0.75, 1));
  EXPECT_EQ(last.turn, MigrationTurn::kHandOver);
  EXPECT_EQ(now, 1'004 * kTick) << "each step was held for one tick, and nothing was in flight";
}

TEST_F(MigrateTest, BeginsAboveTheSplitInForce) {
  shadow.split = 0.5;
  Begin();
  EXPECT_THAT(Splits(), ElementsAre(0.75, 1));
  shadow.split = 1;
  Begin();
  EXPECT_THAT(Splits(), ElementsAre(1));
  settings.step = 0.3;
  shadow.split = 0;
  Begin();
  EXPECT_EQ(Splits().size(), 4u);
  EXPECT_EQ(shadow.wanted_split, 1);
}

TEST_F(MigrateTest, HoldsEachStepForItsTime) {
  settings.step_hold_ms = 3 * kTick;
  Begin();
  Next();
  Next();
  EXPECT_EQ(shadow.wanted_split, 0.25);
  Next();
  EXPECT_EQ(shadow.wanted_split, 0.5);
}

TEST_F(MigrateTest, WhereNothingIsMeasuredTimeAloneCounts) {
  measures = {};
  settings.drain_ms = 2 * kTick;
  Begin();
  EXPECT_THAT(Splits(), ElementsAre(0.25, 0.5, 0.75, 1));
  EXPECT_EQ(last.turn, MigrationTurn::kHandOver);
  EXPECT_EQ(now, 1'005 * kTick);
}

TEST_F(MigrateTest, ATickIsWorthAsManyStepsAsItHoldsWhereNothingIsMeasured) {
  settings.step_hold_ms = kTick / 2;
  Begin();
  EXPECT_THAT(Splits(), ElementsAre(0.25, 0.5, 0.75, 1));
  shadow.split = 0.1;
  measures = {};
  Begin();
  EXPECT_THAT(Splits(), ElementsAre(0.25, 0.75, 1));
}

TEST_F(MigrateTest, FailuresCallItOffAtAnyStep) {
  for (const int steps : {1, 2, 3, 4}) {
    shadow.split = 0.1;
    measures.shadow.failed = 0;
    Begin();
    for (int i = 1; i < steps; ++i) EXPECT_EQ(Next().turn, MigrationTurn::kGoOn);
    measures.shadow.failed = 30;
    last = Next();
    EXPECT_EQ(last.turn, MigrationTurn::kCallOff);
    EXPECT_THAT(last.reason, HasSubstr("30 of"));
    CallOffMigration(last.reason, now, shadow);
    EXPECT_EQ(shadow.wanted_split, 0.1);
    EXPECT_EQ(shadow.migration.aborted_ms, now);
    EXPECT_EQ(shadow.migration.step_since_ms, 0);
  }
}

TEST_F(MigrateTest, FailuresThatThePrimaryHasTooDoNot) {
  measures.shadow.failed = measures.primary.failed = 30;
  Begin();
  EXPECT_EQ(Splits().back(), 1);
}

TEST_F(MigrateTest, AFewFailuresHoldButDoNotCallItOff) {
  measures.shadow.failed = 15;  // more than 1 %, but chance explains it
  Begin();
  EXPECT_EQ(Next().turn, MigrationTurn::kGoOn);
  EXPECT_EQ(shadow.wanted_split, 0.25);
}

TEST_F(MigrateTest, ATailBeyondTheSloAndThePrimarysCallsItOff) {
  measures.shadow.p99_ms = 450;
  measures.shadow.slow = 30;
  Begin();
  last = Next();
  EXPECT_EQ(last.turn, MigrationTurn::kCallOff);
  EXPECT_THAT(last.reason, HasSubstr("p99 is 450 ms, the primary's was 50 ms"));
  // The primary is as slow: it is not the shadow's fault.
  measures.primary.p99_ms = 400;
  shadow.split = 0.1;
  Begin();
  EXPECT_EQ(Next().turn, MigrationTurn::kGoOn);
  EXPECT_EQ(shadow.wanted_split, 0.5);
}

TEST_F(MigrateTest, ATailWithinTheSloIsNobodysHarm) {
  measures.shadow.p99_ms = 390;
  Begin();
  EXPECT_EQ(Splits().back(), 1);
}

TEST_F(MigrateTest, TooFewRequestsHoldItUpToALimit) {
  measures.shadow.requests = 15;
  settings.few_hold_ms = 100 * kTick;
  settings.undecided_ms = 5 * kTick;
  Begin();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(Next().turn, MigrationTurn::kGoOn);
    EXPECT_EQ(shadow.wanted_split, 0.25);
  }
  last = Next();
  EXPECT_EQ(last.turn, MigrationTurn::kCallOff);
  EXPECT_THAT(last.reason, HasSubstr("75 requests to the shadow in 300 s"));
  // As many in longer time are enough.
  settings.undecided_ms = 20 * kTick;
  shadow.split = 0.1;
  Begin();
  for (int i = 0; i < 7; ++i) Next();
  EXPECT_EQ(shadow.wanted_split, 0.5);
}

// An account of a drained cell leaves though there is nothing to judge by.
TEST_F(MigrateTest, NobodyNeedAskAnythingWhereACellIsDrained) {
  measures.shadow.requests = measures.primary.requests = 0;
  Begin();
  EXPECT_EQ((Splits(), last.turn), MigrationTurn::kCallOff);
  evacuates = true;
  shadow.split = 0.1;
  Begin();
  EXPECT_THAT(Splits(), ElementsAre(0.25, 0.5, 0.75, 1));
  EXPECT_EQ(last.turn, MigrationTurn::kHandOver);
}

TEST_F(MigrateTest, AFewCleanRequestsDoAfterALongerTime) {
  settings.few_hold_ms = 5 * kTick;
  measures.shadow.requests = 1;
  Begin();
  for (int i = 0; i < 4; ++i) {
    Next();
    EXPECT_EQ(shadow.wanted_split, 0.25);
  }
  Next();
  EXPECT_EQ(shadow.wanted_split, 0.5);
  // None at all say nothing, and one that failed is not clean.
  for (const bool failed : {false, true}) {
    measures.shadow.p50_ms = 5;
    measures.shadow.requests = failed ? 20 : 0;
    measures.shadow.failed = failed ? 1 : 0;
    shadow.split = 0.1;
    Begin();
    EXPECT_EQ(Next().turn, MigrationTurn::kGoOn);
    measures.shadow.requests = failed ? 1 : 0;
    measures.shadow.failed = 0;
    for (int i = 1; i < 9; ++i) EXPECT_EQ(Next().turn, MigrationTurn::kGoOn);
    EXPECT_EQ(shadow.wanted_split, 0.25);
    EXPECT_EQ(Next().turn, MigrationTurn::kCallOff);
  }
}

TEST_F(MigrateTest, MeasuresThatCeaseOrCannotBeHoldIt) {
  Begin();
  Next();
  EXPECT_EQ(shadow.wanted_split, 0.5);
  measures.shadow.p99_ms = 0;  // an answer in no time
  Next();
  EXPECT_EQ(shadow.wanted_split, 0.5);
  measures.shadow.p99_ms = 50;
  measures.age_s = 1'000;
  Next();
  EXPECT_EQ(shadow.wanted_split, 0.5);
  measures.known = false;
  Next();
  EXPECT_EQ(shadow.wanted_split, 0.5);
}

TEST_F(MigrateTest, WaitsForClientsAndCallsInFlightButNotForEver) {
  settings.drain_ms = 5 * kTick;
  shadow.split = 1;
  measures.clients_behind = 1;
  Begin();
  EXPECT_EQ(Next().turn, MigrationTurn::kGoOn);
  measures.clients_behind = 0;
  measures.primary_in_flight = 3;
  EXPECT_EQ(Next().turn, MigrationTurn::kGoOn);
  measures.primary_in_flight = 0;
  EXPECT_EQ(Next().turn, MigrationTurn::kHandOver);

  Begin();
  measures.primary_in_flight = 3;
  const int64_t begun = now;
  while (Next().turn == MigrationTurn::kGoOn) continue;
  EXPECT_EQ(now - begun, 5 * kTick);
}

TEST_F(MigrateTest, WithAnIllPrimaryThereIsNobodyToWaitFor) {
  shadow.split = 1;
  Begin();
  shadow.failed_over = true;
  measures.known = false;
  EXPECT_EQ(Next().turn, MigrationTurn::kHandOver);
}

}  // namespace
}  // namespace foreshadow
