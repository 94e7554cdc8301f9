// From what instances say to what is known of an account: who is believed, and who is not.
#include "service/monitor/measures.h"

#include <gtest/gtest.h>

#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

class Measures : public ::testing::Test {
 protected:
  Measures() {
    fleet = testing::MakeFleet(2, 10);
    for (int a = 0; a < 3; ++a) {
      testing::AddAccount(fleet, 0);
      index[fleet.accounts[a].id] = a;
    }
    Shadow shadow;
    shadow.instance_id = "shadow-1";
    shadow.account = 1;
    shadow.target = 1;
    shadow.state = ShadowState::kSharing;
    shadows = {shadow};
  }

  SideMeasure Side(const std::string& instance, int account, bool shadow) const {
    SideMeasure side;
    side.instance_id = instance;
    side.account = fleet.accounts[account].id;
    side.shadow = shadow;
    side.age_ms = shadow ? 300 : 800;
    side.seconds = shadow ? 9.5 : 10;
    side.requests = shadow ? 100 : 900;
    side.failed = shadow ? 1 : 9;
    side.slow = shadow ? 2 : 18;
    side.p50_ms = shadow ? 4 : 5;
    side.p99_ms = shadow ? 40 : 50;
    side.warmth = shadow ? 0.7 : 1;
    side.in_flight = shadow ? 1 : 7;
    return side;
  }
  std::vector<AccountMeasures> Of(const std::vector<SideMeasure>& sides) const {
    return MeasuresOf(fleet, index, shadows, sides);
  }

  Fleet fleet;
  std::unordered_map<std::string, int32_t> index;
  std::vector<Shadow> shadows;
};

TEST_F(Measures, BothSidesOfAnAccountComeTogether) {
  const auto measures = Of({Side("p", 1, false), Side("shadow-1", 1, true), Side("q", 2, false)});
  ASSERT_EQ(measures.size(), 3u);
  EXPECT_FALSE(measures[0].known);
  EXPECT_FALSE(measures[2].known) << "it has no shadow";
  const AccountMeasures& m = measures[1];
  EXPECT_TRUE(m.known);
  EXPECT_EQ(m.age_s, 0.8);
  EXPECT_EQ(m.seconds, 10);
  EXPECT_EQ(m.warmth, 0.7);
  EXPECT_EQ(m.primary_in_flight, 7);
  EXPECT_EQ(m.primary.requests, 900);
  EXPECT_EQ(m.primary.failed, 9);
  EXPECT_EQ(m.primary.slow, 18);
  EXPECT_EQ(m.primary.p50_ms, 5);
  EXPECT_EQ(m.primary.p99_ms, 50);
  EXPECT_EQ(m.shadow.requests, 100);
  EXPECT_EQ(m.shadow.failed, 1);
  EXPECT_EQ(m.shadow.p99_ms, 40);
}

TEST_F(Measures, NothingIsMeasuredWhereNobodyTells) { EXPECT_TRUE(Of({}).empty()); }

TEST_F(Measures, OneSideAloneOrTotalsOfNoKnownTimeAreNotEnough) {
  EXPECT_FALSE(Of({Side("p", 1, false)})[1].known);
  EXPECT_FALSE(Of({Side("shadow-1", 1, true)})[1].known);
  SideMeasure first = Side("shadow-1", 1, true);
  first.seconds = 0;
  EXPECT_FALSE(Of({Side("p", 1, false), first})[1].known);
}

TEST_F(Measures, AfterAFailOverTheShadowAloneCounts) {
  shadows[0].failed_over = true;
  for (const bool primary_tells : {false, true}) {
    std::vector<SideMeasure> sides = {Side("shadow-1", 1, true)};
    if (primary_tells) sides.push_back(Side("p", 1, false));
    const AccountMeasures m = Of(sides)[1];
    EXPECT_TRUE(m.known);
    EXPECT_EQ(m.seconds, 9.5);
    EXPECT_EQ(m.age_s, 0.3);
    EXPECT_EQ(m.primary.requests, 0);
    EXPECT_EQ(m.shadow.requests, 100);
  }
}

TEST_F(Measures, WhatIsNotThePlansIsNotBelieved) {
  const SideMeasure p = Side("p", 1, false);
  const SideMeasure s = Side("shadow-1", 1, true);
  EXPECT_FALSE(Of({p, Side("p2", 1, false), s})[1].known) << "two claim to be the primary";
  EXPECT_FALSE(Of({p, Side("shadow-9", 1, true)})[1].known) << "a shadow that nobody decided";
  EXPECT_FALSE(Of({p, Side("shadow-1", 1, false)})[1].known) << "it says that it is the primary";
  EXPECT_FALSE(Of({p, Side("shadow-1", 2, true)})[1].known) << "it serves another account";
  SideMeasure stranger = p;
  stranger.account = "nobody";
  EXPECT_FALSE(Of({stranger, s})[1].known);
  shadows[0].state = ShadowState::kIdle;
  EXPECT_FALSE(Of({p, s})[1].known) << "it is paused";
}

}  // namespace
}  // namespace foreshadow
