#include "service/rails/rails.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "absl/time/time.h"
#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Optional;

constexpr int64_t kMinute = 60'000;
constexpr int64_t kStep = 5 * kMinute;

int64_t At(const std::string& text) {
  absl::Time time;
  EXPECT_TRUE(absl::ParseTime(absl::RFC3339_full, text, &time, nullptr)) << text;
  return absl::ToUnixMillis(time);
}

struct RailsTest : ::testing::Test {
  RailsTest() {
    fleet = testing::MakeFleet(3, 10);
    for (int a = 0; a < 4; ++a) testing::AddAccount(fleet, a % 3);
  }

  Rails Set() {
    alerts.clear();
    return SetRails({.fleet = fleet,
                     .settings = guard,
                     .mode = Mode::kAct,
                     .now_ms = now_ms,
                     .step_ms = kStep,
                     .last_tick_ms = last_tick_ms,
                     .started = started,
                     .demand = demand,
                     .silent_share = silent_share,
                     .drifted = drifted},
                    memory, alerts);
  }

  Fleet fleet;
  RailSettings guard;
  RailsMemory memory;
  std::vector<std::string> alerts;
  int64_t now_ms = At("2026-11-27T10:00:00Z");  // a Friday
  int64_t last_tick_ms = now_ms - kStep;
  bool started = false;
  std::vector<CellDemand> demand = std::vector<CellDemand>(3);
  double silent_share = 0;
  bool drifted = false;
};

TEST_F(RailsTest, NothingHoldsUpAQuietDay) {
  const Rails rails = Set();
  EXPECT_EQ(BarOf(rails, 0, 1).least, Urgency::kRoutine);
  EXPECT_EQ(rails.creations_max, 100);  // 20 a minute, 5 minutes
  EXPECT_TRUE(alerts.empty());
}

TEST_F(RailsTest, AfterAStartOnlyWhatIsUrgentIsBegunForAWhile) {
  guard.settle_ms = 2 * kStep;
  started = true;
  EXPECT_EQ(BarOf(Set(), 0, 1).least, Urgency::kNow);
  EXPECT_THAT(BarOf(Set(), 0, 1).why, HasSubstr("the server has started"));
  started = false;
  now_ms += kStep, last_tick_ms += kStep;
  EXPECT_EQ(BarOf(Set(), 0, 1).least, Urgency::kNow);
  now_ms += kStep, last_tick_ms += kStep;
  EXPECT_EQ(BarOf(Set(), 0, 1).least, Urgency::kRoutine);
}

TEST_F(RailsTest, TheVeryFirstStartHasNothingToSettle) {
  last_tick_ms = 0;
  started = true;
  EXPECT_EQ(BarOf(Set(), 0, 1).least, Urgency::kRoutine);
}

TEST_F(RailsTest, MissedTicksSettleAndDoNotFillTheBudget) {
  last_tick_ms = now_ms - 100 * kStep;
  const Rails rails = Set();
  EXPECT_EQ(BarOf(rails, 0, 1).least, Urgency::kNow);
  EXPECT_THAT(BarOf(rails, 0, 1).why, HasSubstr("99 ticks were missed"));
  EXPECT_EQ(rails.creations_max, 100);
}

TEST_F(RailsTest, WhileTelemetryIsMissingNothingIsBegun) {
  silent_share = 0.6;
  EXPECT_EQ(BarOf(Set(), 0, 1).least, Urgency::kNever);
  EXPECT_THAT(alerts, Contains(HasSubstr("guard.silent_share_max = 50 %")));
  silent_share = 0;
  now_ms += kMinute;
  EXPECT_EQ(BarOf(Set(), 0, 1).least, Urgency::kNow);
  now_ms += guard.settle_ms, last_tick_ms = now_ms - kStep;
  EXPECT_EQ(BarOf(Set(), 0, 1).least, Urgency::kRoutine);
}

TEST_F(RailsTest, SilentAreThoseWithoutASampleForAWhile) {
  Window window(kMinute, 100);
  window.Grow(4 * kSignals);
  window.AdvanceTo(0);
  const auto write = [&](int32_t account, int64_t minute) {
    const Sample sample{account, SignalKind::kMemory, minute * kMinute, 1};
    window.Write({&sample, 1});
  };
  for (int32_t a = 0; a < 4; ++a) write(a, 0);
  window.AdvanceTo(9 * kMinute);
  EXPECT_EQ(SilentShare(window.view(), 4, 10 * kMinute), 0);
  write(0, 9);
  window.AdvanceTo(10 * kMinute);
  EXPECT_DOUBLE_EQ(SilentShare(window.view(), 4, 10 * kMinute), 0.75);
  // Who was never heard of is not missing.
  EXPECT_DOUBLE_EQ(SilentShare(window.view(), 1, 10 * kMinute), 0);
  window.AdvanceTo(100 * kMinute);
  EXPECT_EQ(SilentShare(window.view(), 4, 10 * kMinute), 0);
}

TEST_F(RailsTest, WhatIsAlwaysAskedForIsNoMatterOfTheMoment) {
  guard.urgency_min = Urgency::kSoon;
  const Rails rails = Set();
  EXPECT_EQ(rails.asked.least, Urgency::kSoon);
  EXPECT_THAT(rails.asked.why, HasSubstr("guard.urgency_min"));
  EXPECT_EQ(BarOf(rails, 0, 1).least, Urgency::kRoutine);
}

TEST_F(RailsTest, DriftLowersTheBudget) {
  drifted = true;
  const Rails rails = Set();
  EXPECT_EQ(rails.creations_max, 10);
  EXPECT_EQ(BarOf(rails, 0, 1).least, Urgency::kNow);
}

TEST_F(RailsTest, ABudgetBelowOneAStepIsSavedUp) {
  guard.creations_per_minute_max = 0.1;  // one every other step of 5 min
  std::vector<int32_t> begun;
  for (int i = 0; i < 6; ++i) {
    begun.push_back(Set().creations_max);
    memory.creations_left -= begun.back();
    now_ms += kStep, last_tick_ms += kStep;
  }
  EXPECT_THAT(begun, ::testing::ElementsAre(0, 1, 0, 1, 0, 1));
  guard.creations_per_minute_max = 0;
  EXPECT_EQ(Set().creations_max, 0);
}

TEST_F(RailsTest, TheMostCautiousModeThatIsSetHolds) {
  fleet.accounts[0].application = "db";
  Rails rails = Set();
  EXPECT_EQ(ModeOf(rails, 0, 1), Mode::kAct);  // none is set: shadow.mode
  rails.mode = Mode::kRecommend;
  EXPECT_EQ(ModeOf(rails, 0, 1), Mode::kRecommend);
  guard.applications["db"].mode = ModeRule::kAct;  // opted in
  EXPECT_EQ(ModeOf(rails, 0, 1), Mode::kAct);
  EXPECT_EQ(ModeOf(rails, 3, 1), Mode::kRecommend);
  guard.cells["cell-1"].mode = ModeRule::kObserve;  // neither from nor to there
  EXPECT_EQ(ModeOf(rails, 0, 1), Mode::kObserve);
  EXPECT_EQ(ModeOf(rails, 0, 2), Mode::kAct);
  EXPECT_EQ(ModeOf(rails, 0, -1), Mode::kAct);
  EXPECT_EQ(ModeOf(rails, 1, -1), Mode::kObserve);
}

TEST_F(RailsTest, RulesSayWhereAShadowMayBe) {
  fleet.cells[0].zone = fleet.cells[1].zone = "a";
  fleet.cells[2].zone = "b";
  fleet.accounts[0].application = "db";
  const Rails rails = Set();
  EXPECT_EQ(WhyNotThere(rails, 0, 1), std::nullopt);
  guard.cells["cell-1"].takes_shadows = false;
  EXPECT_THAT(WhyNotThere(rails, 0, 1), Optional(HasSubstr("takes_shadows = false")));
  guard.cells["cell-2"].drain = true;
  EXPECT_THAT(WhyNotThere(rails, 0, 2), Optional(HasSubstr("drain = true")));
  guard.cells.clear();
  guard.applications["db"].zone = ZoneRule::kSame;
  EXPECT_EQ(WhyNotThere(rails, 0, 1), std::nullopt);
  EXPECT_THAT(WhyNotThere(rails, 0, 2), Optional(HasSubstr("zone = \"same\"")));
  guard.applications["db"].zone = ZoneRule::kOther;
  EXPECT_THAT(WhyNotThere(rails, 0, 1), Optional(HasSubstr("zone = \"other\"")));
  EXPECT_EQ(WhyNotThere(rails, 0, 2), std::nullopt);
  guard.applications["db"].cells = {"cell-1"};
  EXPECT_THAT(WhyNotThere(rails, 0, 2), Optional(HasSubstr("cells = [cell-1]")));
  EXPECT_EQ(WhyNotThere(rails, 3, 1), std::nullopt);  // of no application
}

TEST_F(RailsTest, AnAccountCoolsDownOnceItsShadowIsGone) {
  Shadow shadow;
  shadow.instance_id = "shadow-1";
  shadow.account = 2;
  CoolDownGone({shadow}, {shadow}, now_ms + kStep, memory);
  EXPECT_TRUE(memory.cool_downs.empty());
  CoolDownGone({shadow}, {}, now_ms + kStep, memory);
  EXPECT_EQ(BarOf(Set(), 2, 1).least, Urgency::kNow);
  EXPECT_THAT(BarOf(Set(), 2, 1).why, HasSubstr("is over in 5 min"));
  EXPECT_EQ(BarOf(Set(), 1, 0).least, Urgency::kRoutine);
  shadow.account = 1;
  CoolDownGone({shadow}, {}, now_ms + 3 * kStep, memory);
  shadow.state = ShadowState::kPromoted;
  CoolDownGone({shadow}, {}, now_ms + 2 * kStep, memory);
  EXPECT_EQ(memory.cool_downs,
            (std::vector<CoolDown>{{1, now_ms + 2 * kStep, true}, {2, now_ms + kStep, false}}));
  EXPECT_EQ(BarOf(Set(), 1, 0).least, Urgency::kOverloaded);
  EXPECT_THAT(BarOf(Set(), 1, 0).why, HasSubstr("was moved"));
  now_ms += kStep;
  EXPECT_EQ(BarOf(Set(), 2, 1).least, Urgency::kRoutine);
  EXPECT_EQ(memory.cool_downs, (std::vector<CoolDown>{{1, now_ms + kStep, true}}));
}

TEST_F(RailsTest, AFreezeHoldsForItsCells) {
  guard.freezes["night"] = {{"cell-1"}, {}, "09:00", "11:00", Urgency::kOverloaded};
  const Rails rails = Set();
  EXPECT_EQ(BarOf(rails, 0, 1).least, Urgency::kOverloaded);  // into it
  EXPECT_EQ(BarOf(rails, 1, 2).least, Urgency::kOverloaded);  // out of it
  EXPECT_EQ(BarOf(rails, 0, 2).least, Urgency::kRoutine);
  EXPECT_THAT(BarOf(rails, 0, 1).why, HasSubstr("guard.freeze.night holds until 11:00"));
  guard.freezes["all"] = {{}, {}, "2026-11-27T00:00:00Z", "2026-11-28T00:00:00Z", Urgency::kNever};
  EXPECT_EQ(BarOf(Set(), 0, 2).least, Urgency::kNever);
}

TEST_F(RailsTest, OverloadsThatStandAreFollowed) {
  demand[1].with[0] = 11;
  EXPECT_FALSE(Set().overloaded_long[1]);
  now_ms += guard.react_after_ms - kMinute;
  EXPECT_FALSE(Set().overloaded_long[1]);
  now_ms += kMinute;
  EXPECT_TRUE(Set().overloaded_long[1]);
  EXPECT_FALSE(Set().overloaded_long[0]);
  demand[1].with[0] = 10;  // full, not over
  EXPECT_FALSE(Set().overloaded_long[1]);
  demand[1].with[0] = 11;
  EXPECT_FALSE(Set().overloaded_long[1]);
}

// The trigger of the plain reactive rule: more than half of the last three steps.
TEST_F(RailsTest, NearlyFullIsInTwoOfThreeSteps) {
  for (int pattern = 0; pattern < 1 << 10; ++pattern) {
    SCOPED_TRACE(pattern);
    memory = {};
    int last[3] = {0, 0, 0};
    for (int step = 0; step < 10; ++step, now_ms += kStep) {
      const int over = pattern >> step & 1;
      std::rotate(last, last + 1, last + 3);
      last[2] = over;
      demand[0].with[0] = over ? 8.1 : 7.9;
      EXPECT_EQ(Set().nearly_full[0], over && last[0] + last[1] + last[2] >= 2);
    }
  }
}

TEST_F(RailsTest, NearlyFullIsOneOfManyWithRoom) {
  guard.nearly_full_after_ms = 0;
  demand[0].with[0] = 9;
  demand[1].with[0] = 7;
  demand[2].with[0] = 2;  // 18 of 30
  EXPECT_TRUE(Set().nearly_full[0]);
  EXPECT_FALSE(Set().nearly_full[1]);
  demand[1].with[0] = 7.1;
  EXPECT_FALSE(Set().nearly_full[0]);
  fleet.cells[2].state = CellState::kDown;  // 9 of 20 are left
  demand[1].with[0] = 0;
  EXPECT_TRUE(Set().nearly_full[0]);
  guard.cells["cell-1"].drain = true;  // 9 of 10
  EXPECT_FALSE(Set().nearly_full[0]);
  guard.cells.clear();
  guard.nearly_full_at = 0.95;
  EXPECT_FALSE(Set().nearly_full[0]);
  // No shadow relieves a cell's memory.
  guard.nearly_full_at = 0.8;
  demand[0].with = {0, 9};
  fleet.cells[0].capacity[1] = 10;
  EXPECT_FALSE(Set().nearly_full[0]);
  demand[0].with[1] = 11;
  EXPECT_FALSE(Set().nearly_full[0]);
  demand[0].with = {0, 0, 9};
  fleet.cells[0].capacity[2] = 10;  // its network is 90 % full, and there is no other
  EXPECT_FALSE(Set().nearly_full[0]);
  fleet.cells[1].capacity[2] = 10;
  EXPECT_TRUE(Set().nearly_full[0]);
}

TEST_F(RailsTest, AForecastFarFromThePresentIsDoubted) {
  std::vector<CellForecast> forecasts(3);
  for (CellForecast& f : forecasts) f.steps = 1;
  demand[0].without[0] = 2;
  guard.jump_max = 0.5;
  forecasts[0].mean[0][0] = 7;  // half of 10 above, and no more
  demand[1].without[0] = 9;
  forecasts[1].mean[0][0] = 3;
  forecasts[2].mean[1][0] = 1e12;  // memory is not limited there
  const std::vector<Bar> bars = JumpBars(Set(), demand, forecasts);
  EXPECT_EQ(bars[0].least, Urgency::kRoutine);
  EXPECT_EQ(bars[1].least, Urgency::kOverloaded);
  EXPECT_THAT(bars[1].why, HasSubstr("foreseen at 30 % of capacity in the next step, 90 % now"));
  EXPECT_EQ(bars[2].least, Urgency::kRoutine);
}

struct Time {
  const char* now;
  bool holds;
};

TEST(Freeze, OfTimesOfDay) {
  const Freeze freeze{{}, {"fri", "sat"}, "22:00", "04:00", Urgency::kNever};
  ASSERT_TRUE(CheckFreeze("f", freeze).ok());
  for (const Time& t : {Time{"2026-11-27T21:59:59.999Z", false},
                        {"2026-11-27T22:00:00Z", true},
                        {"2026-11-28T03:59:59.999Z", true},
                        {"2026-11-28T04:00:00Z", false},
                        {"2026-11-28T23:00:00Z", true},
                        {"2026-11-29T03:00:00Z", true},
                        {"2026-11-29T22:30:00Z", false},
                        {"2026-11-27T02:00:00Z", false}}) {
    EXPECT_EQ(Holds(freeze, At(t.now)), t.holds) << t.now;
  }
  const Freeze whole{{}, {"sun"}, "00:00", "00:00", Urgency::kNever};
  EXPECT_TRUE(Holds(whole, At("2026-11-29T00:00:00Z")));
  EXPECT_TRUE(Holds(whole, At("2026-11-29T23:59:00Z")));
  EXPECT_FALSE(Holds(whole, At("2026-11-30T00:00:00Z")));
}

TEST(Freeze, OfDates) {
  const Freeze freeze{{}, {}, "2026-12-24T00:00:00Z", "2026-12-27T00:00:00+01:00"};
  ASSERT_TRUE(CheckFreeze("f", freeze).ok());
  EXPECT_FALSE(Holds(freeze, At("2026-12-23T23:59:59Z")));
  EXPECT_TRUE(Holds(freeze, At("2026-12-24T00:00:00Z")));
  EXPECT_FALSE(Holds(freeze, At("2026-12-26T23:00:00Z")));
}

TEST(Freeze, SaysWhatIsWrong) {
  const auto why = [](const Freeze& freeze) {
    return std::string(CheckFreeze("guard.freeze.x", freeze).message());
  };
  EXPECT_THAT(why({{}, {"friday"}, "22:00", "23:00"}), HasSubstr("guard.freeze.x.days"));
  EXPECT_THAT(why({{}, {}, "22:00", ""}), HasSubstr("until = \"\""));
  EXPECT_THAT(why({{}, {}, "25:00", "26:00"}), HasSubstr("from = \"25:00\""));
  EXPECT_THAT(why({{}, {}, "2026-12-24T00:00:00Z", "04:00"}), HasSubstr("must be two times"));
  EXPECT_THAT(why({{}, {}, "2026-12-24T00:00:00Z", "2026-12-24T00:00:00Z"}), HasSubstr("later"));
  EXPECT_THAT(why({{}, {"mon"}, "2026-12-24T00:00:00Z", "2026-12-25T00:00:00Z"}),
              HasSubstr("not with dates"));
}

}  // namespace
}  // namespace foreshadow
