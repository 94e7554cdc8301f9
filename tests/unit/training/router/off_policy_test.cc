// Judging a policy by another's decisions, held against playing it.
#include "training/router/off_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <random>

#include "models/torch/q_network.h"
#include "tests/unit/training/io/scratch.h"

namespace foreshadow::training::router {
namespace {

using testing::HasSubstr;

// Linear in nothing but biases: it always values one action most.
std::vector<models::Tensor> Wants(SplitAction action) {
  auto weights = (*models::QNetwork::Create({kSplitFeatures, 4, kSplitActions}, 1))->Weights();
  for (models::Tensor& t : weights) {
    std::fill(t.values.begin(), t.values.end(), 0.0f);
    if (t.name == "heads.bias") t.values[1 + static_cast<size_t>(action)] = 1;
  }
  return weights;
}

QPolicy PolicyThatWants(SplitAction action) {
  QCard card;
  card.hidden = 4;
  card.feature_min.fill(-10);
  card.feature_max.fill(10);
  return *QPolicy::Create(card, Wants(action));
}

// Two states in turn, two actions, tried evenly. Holding earns 1, halving 0: always holding is
// worth 1 / (1 - discount).
std::vector<LoggedEpisode> CoinTosses(int count) {
  std::mt19937_64 random(3);
  std::vector<LoggedEpisode> episodes(static_cast<size_t>(count));
  for (LoggedEpisode& e : episodes) {
    for (int t = 0; t < 60; ++t) {
      LoggedStep step;
      step.features[0] = static_cast<float>(t % 2);
      step.allowed[static_cast<int>(SplitAction::kHold)] = 1;
      step.allowed[static_cast<int>(SplitAction::kHalve)] = 1;
      const bool hold = random() % 2 == 0;
      step.action = static_cast<uint8_t>(hold ? SplitAction::kHold : SplitAction::kHalve);
      step.propensity = 0.5f;
      step.reward = hold ? 1.0f : 0.0f;
      e.steps.push_back(step);
    }
  }
  return episodes;
}

TEST(OffPolicy, FindsTheValueOfAPolicyThatWasNeverPlayed) {
  OffPolicyOptions o;
  o.discount = 0.8;
  o.steps = 1'500;
  const auto episodes = CoinTosses(60);
  const auto hold = EvaluateOffPolicy(episodes, PolicyThatWants(SplitAction::kHold), o);
  ASSERT_TRUE(hold.ok()) << hold.status();
  EXPECT_NEAR(hold->policy.value, 1 / (1 - 0.8), 0.25);
  EXPECT_NEAR(hold->behaviour.value, 0.5 / (1 - 0.8), 0.25);
  EXPECT_GT(hold->gain.low, 0);
  EXPECT_NEAR(hold->followed, 0.5, 0.05);
  const auto halve = EvaluateOffPolicy(episodes, PolicyThatWants(SplitAction::kHalve), o);
  ASSERT_TRUE(halve.ok());
  EXPECT_NEAR(halve->policy.value, 0, 0.25);
  EXPECT_LT(halve->gain.high, 0);
}

TEST(OffPolicy, TooFewEpisodesAreNoEvidence) {
  const auto episodes = CoinTosses(5);
  EXPECT_THAT(
      std::string(
          EvaluateOffPolicy(episodes, PolicyThatWants(SplitAction::kHold), {}).status().message()),
      HasSubstr("5 episodes"));
}

SplitRecord Record(const std::string& instance, int64_t time_ms, double cost) {
  SplitRecord r;
  r.time_ms = time_ms;
  r.account = "a";
  r.instance_id = instance;
  r.policy = "aimd";
  r.interval_s = 10;
  r.allowed[3] = 1;
  r.action = 3;
  r.propensity = 0.9;
  r.cost = cost;
  return r;
}

class SplitLog : public ScratchTest {};

TEST_F(SplitLog, ComesBackAndBecomesEpisodes) {
  const std::string path = PathOf("log");
  const std::vector<SplitRecord> first = {Record("x", 10'000, -1), Record("y", 10'000, -1)};
  const std::vector<SplitRecord> second = {Record("x", 20'000, 0.5), Record("y", 50'000, 0.25),
                                           Record("x", 30'000, 0.75), Record("y", 60'000, 0.125)};
  ASSERT_TRUE(AppendSplitLog(path, first).ok());
  ASSERT_TRUE(AppendSplitLog(path, second).ok());
  const auto records = ReadSplitLog(path);
  ASSERT_TRUE(records.ok()) << records.status();
  ASSERT_EQ(records->size(), 6u);
  EXPECT_EQ(SplitRecordToJson((*records)[0]), SplitRecordToJson(first[0]));
  const auto episodes = EpisodesOfLog(*records);
  ASSERT_EQ(episodes.size(), 2u);  // y's first decision stands alone: the next is missing
  EXPECT_EQ(episodes[0].steps.size(), 3u);
  EXPECT_EQ(episodes[0].steps[0].reward, -0.5f);
  EXPECT_EQ(episodes[0].steps[1].reward, -0.75f);
  EXPECT_EQ(episodes[1].steps[0].reward, -0.125f);
}

TEST_F(SplitLog, WrongLinesAreNamedAndACutOneIsLeftOut) {
  const std::string good = SplitRecordToJson(Record("x", 1, 0));
  const std::string bad = Put("bad", good + "\n{\"time_ms\": 1}\n" + good + "\n");
  EXPECT_THAT(std::string(ReadSplitLog(bad).status().message()), HasSubstr("bad:2: account"));
  const std::string cut = Put("cut", good + "\n" + good.substr(0, 40));
  ASSERT_TRUE(ReadSplitLog(cut).ok());
  EXPECT_EQ(ReadSplitLog(cut)->size(), 1u);
  EXPECT_TRUE(absl::IsNotFound(ReadSplitLog(PathOf("none")).status()));
}

TEST_F(SplitLog, ANewPolicyActsOnlyWhenTheLogShowsThatItEarnsMore) {
  QCard card;
  card.hidden = 4;
  card.feature_max.fill(1);
  const std::string start = PathOf("start");
  ASSERT_TRUE(SaveQPolicy(start, card, Wants(SplitAction::kHalve)).ok());
  OnlineOptions o;
  o.start = start;
  o.out = PathOf("new");
  o.steps = 500;
  o.learning_rate = 1e-2;
  o.judge.discount = 0.8;
  o.judge.steps = 1'500;
  auto episodes = CoinTosses(90);
  const auto learned = LearnFromLog(episodes, o);
  ASSERT_TRUE(learned.ok()) << learned.status();
  EXPECT_GT(learned->estimate.gain.low, 0);
  EXPECT_TRUE(LoadQPolicy(o.out).ok());
  // Where nothing earns more than anything else, nothing is shown and nothing is written.
  for (LoggedEpisode& e : episodes) {
    for (LoggedStep& step : e.steps) step.reward = 0.5f;
  }
  o.out = PathOf("other");
  const auto refused = LearnFromLog(episodes, o);
  EXPECT_TRUE(absl::IsFailedPrecondition(refused.status())) << refused.status();
  EXPECT_FALSE(std::filesystem::exists(o.out));
}

// A primary that flaps, under the rule within the rails, which tries things: which of two policies
// costs more there is told from it, as playing them tells.
TEST(OffPolicy, RanksPoliciesAsPlayingThemDoes) {
  OffPolicyOptions o;
  o.discount = 0.9;
  o.steps = 1'000;
  o.start_every = 1'000;  // from the beginning only
  AgentSettings trying;
  trying.explore = 0.2;
  const QPolicy policies[] = {PolicyThatWants(SplitAction::kZero),
                              PolicyThatWants(SplitAction::kToCeiling)};
  std::vector<LoggedEpisode> logged;
  double played[2] = {0, 0};
  for (uint64_t e = 0; e < 60; ++e) {
    Scenario s = MakeScenario("flapping-primary", 100 + e);
    s.duration_s = 300;
    logged.push_back(PlayEpisode(s, nullptr, trying, 0, e));
    for (int p = 0; p < 2; ++p) {
      double factor = 1;
      for (const LoggedStep& step : PlayEpisode(s, &policies[p], {}, 0, e).steps) {
        played[p] += factor * step.reward;
        factor *= o.discount;
      }
    }
  }
  const auto zero = EvaluateOffPolicy(logged, policies[0], o);
  const auto most = EvaluateOffPolicy(logged, policies[1], o);
  ASSERT_TRUE(zero.ok() && most.ok());
  EXPECT_LT(played[0], played[1]);
  EXPECT_LT(zero->policy.value, most->policy.value);
}

}  // namespace
}  // namespace foreshadow::training::router
