#include "service/router/choose.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace foreshadow::router {
namespace {

using ::testing::HasSubstr;

class ChooseTest : public ::testing::Test {
 protected:
  ChooseTest() {
    fleet_.cells = {{"a", "one"}, {"b", "two"}};
    fleet_.accounts = {{"acme", 0, "app"}};
    primary_ = {"p", "acme", 0, false, InstanceState::kRunning, true, {"127.0.0.1", 1, 0}, {}};
    shadow_ = {"s", "acme", 1, true, InstanceState::kRunning, true, {"127.0.0.1", 2, 0}, {}};
    in_.account = &fleet_.accounts[0];
    in_.fleet = &fleet_;
    in_.primaries = {{&primary_, false}};
    in_.shadow = {&shadow_, false};
    in_.split = 0.3;
  }

  Fleet fleet_;
  Instance primary_, shadow_;
  Situation in_;
};

TEST_F(ChooseTest, SplitsAsDecidedWhenBothAreWell) {
  const Choice choice = Choose(in_);
  ASSERT_TRUE(choice.route.has_value());
  EXPECT_EQ(choice.route->split, 0.3);
  EXPECT_EQ(choice.route->primary.zone, "one");
  EXPECT_EQ(choice.route->shadow.cell, "b");
  EXPECT_FALSE(choice.failed_over);
  EXPECT_EQ(choice.alert, "");
}

TEST_F(ChooseTest, AShadowThatDoesNotServeTakesNothing) {
  shadow_.serving = false;
  EXPECT_EQ(Choose(in_).route->split, 0);
  shadow_.serving = true;
  shadow_.state = InstanceState::kPaused;
  EXPECT_EQ(Choose(in_).route->split, 0);
  in_.shadow = {};
  EXPECT_EQ(Choose(in_).route->split, 0);
}

TEST_F(ChooseTest, RequestsAreRefusedAsDecidedWhereAShadowServes) {
  in_.shed = 0.2;
  EXPECT_EQ(Choose(in_).route->shed, 0.2);
  primary_.state = InstanceState::kExited;
  EXPECT_EQ(Choose(in_).route->shed, 0.2) << "the plan knows better at its next step";
  primary_.state = InstanceState::kRunning;
  shadow_.serving = false;
  EXPECT_EQ(Choose(in_).route->shed, 0) << "it was decided for two";
}

TEST_F(ChooseTest, AnIllPrimaryGivesAll) {
  for (const InstanceState state : {InstanceState::kExited, InstanceState::kPaused}) {
    primary_.state = state;
    const Choice choice = Choose(in_);
    EXPECT_TRUE(choice.failed_over);
    EXPECT_EQ(choice.route->split, 1);
    EXPECT_THAT(choice.why, HasSubstr("primary p"));
  }
  primary_.state = InstanceState::kRunning;
  in_.primaries[0].ill = true;
  EXPECT_TRUE(Choose(in_).failed_over);
}

TEST_F(ChooseTest, WhenBothAreIllNothingMoves) {
  in_.primaries[0].ill = true;
  in_.shadow.ill = true;
  const Choice choice = Choose(in_);
  EXPECT_FALSE(choice.route.has_value());
  EXPECT_FALSE(choice.failed_over);
  EXPECT_THAT(choice.alert, HasSubstr("no shadow serves"));
}

TEST_F(ChooseTest, APausedShadowIsWantedWhenThePrimaryIsIll) {
  primary_.state = InstanceState::kExited;
  shadow_.state = InstanceState::kPaused;
  EXPECT_TRUE(Choose(in_).wants_shadow);
  primary_.state = InstanceState::kRunning;
  EXPECT_FALSE(Choose(in_).wants_shadow);
}

TEST_F(ChooseTest, HeldTrafficStaysThoughThePrimaryIsWell) {
  in_.held = true;
  const Choice choice = Choose(in_);
  EXPECT_EQ(choice.route->split, 1);
  EXPECT_FALSE(choice.failed_over);
}

TEST_F(ChooseTest, TwoPrimariesAreSettledByTheCellOrNotAtAll) {
  Instance other = primary_;
  other.id = "q";
  other.cell = 1;
  in_.primaries.push_back({&other, false});
  EXPECT_EQ(Choose(in_).route->primary.instance_id, "p");
  other.cell = 0;
  const Choice choice = Choose(in_);
  EXPECT_FALSE(choice.route.has_value());
  EXPECT_THAT(choice.alert, HasSubstr("2 instances claim to be the primary of account acme"));
}

TEST_F(ChooseTest, NobodyThereIsNoRoute) {
  in_.primaries.clear();
  in_.shadow = {};
  EXPECT_FALSE(Choose(in_).route.has_value());
}

}  // namespace
}  // namespace foreshadow::router
