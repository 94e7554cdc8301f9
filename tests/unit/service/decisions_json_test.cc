#include "service/tick/decisions_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

Decisions Some(const Fleet& fleet) {
  Decisions d;
  Shadow shadow;
  shadow.instance_id = "shadow-3";
  shadow.account = 1;
  shadow.source = 0;
  shadow.target = 1;
  shadow.state = ShadowState::kSharing;
  shadow.split = 0.3;
  shadow.wanted_split = 1.0 / 3;
  shadow.shed = 1.0 / 9;
  shadow.wanted_shed = 1.0 / 11;
  shadow.reserved = {1, 2, 3, 4};
  shadow.migration = {0.5, 10, 20, true, 100, 1, 50, 2, 1.0 / 7, 30, "it failed"};
  shadow.learned.railed = true;
  shadow.learned.guard = {1, 2, 3,        4.5,          5,        6,        0.07,
                          8, 9, {10, 11}, {0.12, 0.13}, 1.0 / 14, 1.0 / 15, 1.0 / 16};
  shadow.learned.reason = "why";
  d.shadows = {shadow};
  Explanation e;
  e.action.id = 9;
  e.action.kind = ActionKind::kPause;
  e.action.account = fleet.accounts[1].id;
  e.action.epoch = 3;
  e.action.reason = "quotes \" and \n lines";
  e.risk.steps = 3;
  e.risk.p50 = {1, 2, 3};
  e.alternatives = {{"a", "b", "c"}};
  e.guard_rails = {"rail"};
  e.state_bytes = 1e9 / 3;
  e.lead_ms = 1.0 / 7;
  d.open = {e};
  d.epochs = {{0, 3}, {1, 1ull << 60}};
  d.watches.resize(2);
  d.watches[1].warned_since_ms = 5;
  d.scores.lead_minutes = {5, 10};
  d.scores.scaled_error_sum = 0.1;
  d.evaluation.candidate = "lstm@2";
  d.evaluation.scored = 12;
  d.evaluation.actual_sum[3] = 0.1;
  d.evaluation.of_against.pinball_sum[1] = 1.0 / 3;
  d.evaluation.difference = {24, {0.1, -1.0 / 7}, 0.3, 5};
  d.drift[1].usual_loss = 0.7;
  d.drift[4].loss.sums = {1, 2.5, 1e9};
  d.drift[4].loss.since_ms = 66;
  d.rails = {
      77, "the server has started", {{0, 500}, {1, 600}}, {0, 44}, 2.5, 1.0 / 3, {{}, {44, 55}}};
  d.changes = {{"guard.shadows_max", "3", "a \"test\"", 70}};
  d.within_60.Learn(0.3, true);
  d.creations = {{}, {2.5, 1e9, 1.0 / 3, 1e18, 7e9}};
  d.next_action_id = 10;
  d.last_tick_ms = 77;
  d.paused = true;
  return d;
}

Fleet TwoCells() {
  Fleet fleet = testing::MakeFleet(2, 10);
  testing::AddAccount(fleet, 0);
  testing::AddAccount(fleet, 0);
  return fleet;
}

TEST(DecisionsJson, RoundTripsBitForBit) {
  const Fleet fleet = TwoCells();
  const std::string text = DecisionsToJson(Some(fleet), fleet);
  std::vector<std::string> dropped;
  const auto read = DecisionsFromJson(text, fleet, dropped);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_TRUE(dropped.empty());
  EXPECT_EQ(DecisionsToJson(*read, fleet), text);
  EXPECT_EQ(read->shadows[0].wanted_split, 1.0 / 3);
  EXPECT_EQ(read->evaluation.difference.means[1], -1.0 / 7);
  EXPECT_EQ(read->evaluation.of_against.pinball_sum[1], 1.0 / 3);
  EXPECT_EQ(read->drift[4].loss.sums[2], 1e9);
  EXPECT_EQ(read->open[0].action.kind, ActionKind::kPause);
  EXPECT_EQ(read->rails, Some(fleet).rails);
  EXPECT_EQ(read->creations, Some(fleet).creations);
  EXPECT_EQ(read->open[0].state_bytes, 1e9 / 3);
  EXPECT_EQ(read->open[0].lead_ms, 1.0 / 7);
  EXPECT_EQ(read->changes, Some(fleet).changes);
  EXPECT_EQ(read->within_60, Some(fleet).within_60);
  EXPECT_EQ(read->within_15, Calibration());
  EXPECT_EQ(read->open[0].action.epoch, 3u);
  EXPECT_EQ(read->shadows[0].learned, Some(fleet).shadows[0].learned);
  EXPECT_EQ(read->shadows[0].migration, Some(fleet).shadows[0].migration);
  EXPECT_EQ(read->epochs, Some(fleet).epochs);
}

TEST(DecisionsJson, NamesWhatNoLongerExists) {
  const Fleet fleet = TwoCells();
  const std::string text = DecisionsToJson(Some(fleet), fleet);
  Fleet smaller = testing::MakeFleet(2, 10);
  testing::AddAccount(smaller, 0);
  std::vector<std::string> dropped;
  const auto read = DecisionsFromJson(text, smaller, dropped);
  ASSERT_TRUE(read.ok());
  EXPECT_TRUE(read->shadows.empty());
  ASSERT_EQ(dropped.size(), 1u);
  EXPECT_EQ(dropped[0], "shadow shadow-3: account account-1");
}

TEST(DecisionsJson, OfAnEarlierProgramLackWhatItDidNotKnow) {
  const Fleet fleet = TwoCells();
  auto json = nlohmann::json::parse(DecisionsToJson(Some(fleet), fleet));
  json.erase("evaluation");
  json.erase("drift");
  json.erase("origins");
  json.erase("creations");
  json["rails"].erase("nearly_full");
  auto& guard = json["shadows"][0]["learned"]["guard"];
  guard.erase(15);
  json["shadows"][0].erase("shed");
  json["shadows"][0].erase("wanted_shed");
  std::vector<std::string> dropped;
  const auto read = DecisionsFromJson(json.dump(), fleet, dropped);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->evaluation.candidate, "");
  EXPECT_EQ(read->rails.nearly_full, std::vector<Stretch>(2));
  EXPECT_EQ(read->shadows[0].learned.guard.success[1], 0.13);
  EXPECT_EQ(read->shadows[0].learned.guard.carries, 1);
  EXPECT_EQ(read->shadows[0].shed, 0);
  EXPECT_EQ(read->next_action_id, 10u);
  guard.erase(14);
  guard.erase(13);
  const auto older = DecisionsFromJson(json.dump(), fleet, dropped);
  ASSERT_TRUE(older.ok()) << older.status();
  EXPECT_EQ(older->shadows[0].learned.guard.success[1], 0.13);
  EXPECT_EQ(older->shadows[0].learned.guard.share, 0);
  EXPECT_EQ(older->shadows[0].learned.guard.follows, 1);
}

TEST(DecisionsJson, KeepWherePromotedAccountsCameFrom) {
  const Fleet fleet = TwoCells();
  Decisions decisions = Some(fleet);
  decisions.origins = {{1, 0}};
  std::vector<std::string> dropped;
  const auto read = DecisionsFromJson(DecisionsToJson(decisions, fleet), fleet, dropped);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->origins, decisions.origins);
}

TEST(DecisionsJson, CorruptTextIsAnError) {
  const Fleet fleet = TwoCells();
  const std::string text = DecisionsToJson(Some(fleet), fleet);
  for (const std::string& bad :
       {std::string(), text.substr(0, text.size() / 2), std::string("{}"), std::string("[1]")}) {
    std::vector<std::string> dropped;
    const auto read = DecisionsFromJson(bad, fleet, dropped);
    EXPECT_EQ(read.status().code(), absl::StatusCode::kDataLoss) << bad;
  }
}

TEST(Words, TellsWhatWhyAndWhatElse) {
  Explanation e;
  e.action.id = 4;
  e.action.account = "a-1";
  e.action.source_cell = "c-1";
  e.action.target_cell = "c-2";
  e.action.reason = "cell c-1 is 80 % likely to run out of cpu in 15 min";
  e.risk.steps = 1;
  e.risk.probability = 0.8;
  e.risk.capacity = 100;
  e.risk.expected_ms = 15 * 60'000;
  e.probability_after = 0.04;
  e.model = "lstm";
  e.alternatives = {{"a-2", "c-3", "no room"}};
  const std::string words = Words(e);
  for (const char* part :
       {"a-1", "c-1", "c-2", "80 %", "15 min ahead", "to 4 %", "lstm", "Not a-2 to c-3: no room"}) {
    EXPECT_NE(words.find(part), std::string::npos) << part << " in: " << words;
  }
}

}  // namespace
}  // namespace foreshadow
