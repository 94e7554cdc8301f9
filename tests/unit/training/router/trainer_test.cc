#include "training/router/trainer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <random>

#include "models/torch/q_network.h"
#include "service/learn/q_policy.h"
#include "tests/unit/service/fixed_policy.h"
#include "tests/unit/training/io/scratch.h"
#include "training/router/episode.h"
#include "training/router/learned.h"
#include "training/router/study.h"

namespace foreshadow::training::router {
namespace {

using models::Tensor;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A problem whose values are known: every step, whatever is done, the state stays; action a earns
// a / 10 and the best goes on for ever, so that Q(a) = a / 10 + discount * best / (1 - discount).
TEST(QNetwork, FindsTheValuesOfAProblemSolvedByHand) {
  constexpr int kActions = 3;
  constexpr double kDiscount = 0.5;
  auto network = *models::QNetwork::Create({2, 16, kActions}, 1);
  std::mt19937_64 random(1);
  std::vector<float> features, rewards, discounts(64, kDiscount), allowed(64 * kActions, 1);
  std::vector<float> weights(64, 1), errors(64);
  std::vector<int64_t> actions;
  for (int i = 0; i < 64; ++i) {
    features.insert(features.end(), {1.0f, -0.5f});
    actions.push_back(i % kActions);
    rewards.push_back(static_cast<float>(actions.back()) / 10);
    allowed[static_cast<size_t>(i) * kActions + 2] = 0;  // the guard forbids the best afterwards
  }
  const models::QBatch batch{64,      features, actions, rewards, discounts, features,
                             allowed, allowed,  weights, {},      0};
  for (int i = 0; i < 3'000; ++i) ASSERT_TRUE(network->TrainStep(batch, 1e-2, 0.05, errors).ok());
  for (const float error : errors) EXPECT_LT(error, 1e-2);
  const double best = 0.1 / (1 - kDiscount);  // action 1 for ever
  // The dueling head by hand, from the weights.
  const std::vector<Tensor> w = network->Weights();
  const auto layer = [&](const std::string& name, const std::vector<double>& x, bool relu) {
    std::vector<double> y;
    for (const Tensor& t : w) {
      if (t.name != name + ".weight") continue;
      for (int64_t r = 0; r < t.shape[0]; ++r) {
        double sum = 0;
        for (int64_t c = 0; c < t.shape[1]; ++c) sum += t.values[r * t.shape[1] + c] * x[c];
        y.push_back(sum);
      }
    }
    for (const Tensor& t : w) {
      if (t.name != name + ".bias") continue;
      for (size_t r = 0; r < y.size(); ++r) y[r] += t.values[r];
    }
    if (relu) {
      for (double& v : y) v = std::max(v, 0.0);
    }
    return y;
  };
  const auto out = layer("heads", layer("second", layer("first", {1, -0.5}, true), true), false);
  const double mean = (out[1] + out[2] + out[3]) / 3;
  for (int a = 0; a < kActions; ++a) {
    EXPECT_NEAR(out[0] + out[1 + a] - mean, a / 10.0 + kDiscount * best, 0.02) << "action " << a;
  }
}

std::vector<Tensor> RandomWeights(int hidden) {
  return (*models::QNetwork::Create({kSplitFeatures, hidden, kSplitActions}, 5))->Weights();
}

TEST(QPolicy, FilesThatAreWrongAreRefusedByName) {
  QCard card;
  card.hidden = 8;
  EXPECT_TRUE(QPolicy::Create(card, RandomWeights(8)).ok());
  EXPECT_THAT(std::string(QPolicy::Create(card, RandomWeights(9)).status().message()),
              HasSubstr("first.weight"));
  auto weights = RandomWeights(8);
  weights.back().values[0] = NAN;
  EXPECT_THAT(std::string(QPolicy::Create(card, weights).status().message()),
              HasSubstr("not finite"));
  weights.pop_back();
  EXPECT_THAT(std::string(QPolicy::Create(card, weights).status().message()), HasSubstr("missing"));
}

std::vector<Tensor> TwoNetworks(SplitAction first, SplitAction second) {
  std::vector<Tensor> weights;
  AddNetwork(testing::FixedWeights(first), 2, 0, weights);
  AddNetwork(testing::FixedWeights(second), 2, 1, weights);
  return weights;
}

TEST(QPolicy, OfTwoNetworksTheOneThatSaysLeastCounts) {
  QCard card = testing::FixedCard("two");
  card.networks = 2;
  const auto weights = TwoNetworks(SplitAction::kZero, SplitAction::kHold);
  const auto policy = QPolicy::Create(card, weights);
  ASSERT_TRUE(policy.ok()) << policy.status();
  const auto zero = static_cast<size_t>(SplitAction::kZero);
  const auto hold = static_cast<size_t>(SplitAction::kHold);
  const auto halve = static_cast<size_t>(SplitAction::kHalve);
  // Each values its own action 1 more than all others.
  const ActionValues values = policy->Values({});
  EXPECT_NEAR(values[zero], values[hold], 1e-6);
  EXPECT_NEAR(values[zero] - values[halve], 0.5, 1e-6);
  const ActionValues gains = policy->GainsOver(SplitAction::kHalve, {});
  EXPECT_NEAR(gains[halve], 0, 1e-6);
  EXPECT_NEAR(gains[zero], 0, 1e-6);
  EXPECT_NEAR(gains[hold], 0, 1e-6);
  EXPECT_NEAR(policy->GainsOver(SplitAction::kZero, {})[hold], -1, 1e-6);
  const auto agreed = QPolicy::Create(card, TwoNetworks(SplitAction::kZero, SplitAction::kZero));
  EXPECT_NEAR(agreed->GainsOver(SplitAction::kHalve, {})[zero], 1, 1e-6);

  const auto second = NetworkOf(weights, 2, 1);
  ASSERT_EQ(second.size(), testing::FixedWeights(SplitAction::kHold).size());
  EXPECT_EQ(second.back().name, "heads.bias");
  EXPECT_EQ(second.back().values, testing::FixedWeights(SplitAction::kHold).back().values);
  card.networks = 3;
  EXPECT_THAT(std::string(QPolicy::Create(card, weights).status().message()),
              HasSubstr("2.first.weight is missing"));
}

TEST(QPolicy, CardsComeBackAndForeignOnesAreRefused) {
  QCard card;
  card.version = "q-1";
  card.feature_max.fill(1);
  card.scores["x"] = 2.5;
  const std::string text = QCardToJson(card);
  const auto back = QCardFromJson(text);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(QCardToJson(*back), text);
  EXPECT_EQ(back->networks, 1);
  card.networks = 3;
  EXPECT_EQ(QCardFromJson(QCardToJson(card))->networks, 3);
  card.networks = 17;
  EXPECT_THAT(std::string(QCardFromJson(QCardToJson(card)).status().message()),
              HasSubstr("networks is 17"));
  std::string other = text;
  other.replace(other.find("to-ceiling"), 10, "to-nothing");
  EXPECT_THAT(std::string(QCardFromJson(other).status().message()), HasSubstr("actions"));
  EXPECT_TRUE(absl::IsDataLoss(QCardFromJson("[").status()));
}

// In the copy of the world, the action that was taken and what the policy does after it earn what
// they earned; other actions earn something else.
TEST(Trials, EarnWhatTheEpisodeEarnsWhereTheActionIsTheSame) {
  Scenario s = MakeScenario("surge", 7);
  s.duration_s = 400;
  constexpr int kSteps = 3;
  constexpr double kDiscount = 0.9;
  std::vector<std::vector<Transition>> tried;
  const LoggedEpisode episode = PlayEpisode(s, nullptr, {}, 0, 1, {1, kSteps, kDiscount}, &tried);
  const size_t last = episode.steps.size() - 1;
  ASSERT_EQ(tried.size(), last);
  int different = 0;
  for (size_t t = 0; t < last; ++t) {
    const LoggedStep& step = episode.steps[t];
    double earned = 0;
    double factor = 1;
    const size_t end = std::min(t + kSteps, last);
    for (size_t k = t; k < end; ++k, factor *= kDiscount)
      earned += factor * episode.steps[k].reward;
    size_t at = 0;
    for (int a = 0; a < kSplitActions; ++a) {
      if (step.allowed[a] == 0) continue;
      ASSERT_LT(at, tried[t].size());
      const Transition& trial = tried[t][at++];
      EXPECT_EQ(trial.action, a);
      EXPECT_EQ(trial.features, step.features);
      EXPECT_EQ(trial.allowed, step.allowed);
      EXPECT_NEAR(trial.discount, factor, 1e-12);
      if (a != step.action) {
        different += std::abs(trial.reward - earned) > 1e-3 ? 1 : 0;
        continue;
      }
      EXPECT_NEAR(trial.reward, earned, 1e-5) << "decision " << t;
      EXPECT_EQ(trial.features_after, episode.steps[end].features);
      EXPECT_EQ(trial.allowed_after, episode.steps[end].allowed);
    }
  }
  EXPECT_GT(different, 20);
}

TEST(QPolicy, TakesWhatTheRuleDoesUnlessAnotherActionIsWorthTheMargin) {
  GuardState state;
  state.allowed.fill(true);
  ActionValues values{};
  values[static_cast<int>(SplitAction::kReady)] = 0.2f;
  values[static_cast<int>(SplitAction::kZero)] = 0.25f;
  EXPECT_EQ(BestAllowed(values, state, SplitAction::kReady, 0.1), SplitAction::kReady);
  EXPECT_EQ(BestAllowed(values, state, SplitAction::kReady, 0.04), SplitAction::kZero);
  EXPECT_EQ(BestAllowed(values, state, SplitAction::kHalve, 0.3), SplitAction::kHalve);
  // Where the split must fall, what the rule wants may not be among what is left.
  state.allowed.fill(false);
  state.allowed[static_cast<int>(SplitAction::kZero)] = true;
  state.allowed[static_cast<int>(SplitAction::kHalve)] = true;
  EXPECT_EQ(BestAllowed(values, state, SplitAction::kReady, 9), SplitAction::kZero);
}

RouterTrainOptions Tiny(const std::string& out) {
  RouterTrainOptions o;
  o.out = out;
  o.epochs = 4;
  o.episodes = 6;
  o.steps = 40;
  o.hidden = 16;
  o.batch = 16;
  o.replay.capacity = 2'000;
  o.validation_seeds = 1;
  return o;
}

class RouterTraining : public ScratchTest {};

TEST_F(RouterTraining, JoinsPoliciesThatWereTrainedApart) {
  std::vector<std::string> folders;
  for (const uint64_t seed : {1, 2}) {
    RouterTrainOptions o = Tiny(PathOf("of-" + std::to_string(seed)));
    o.epochs = 1;
    o.validation_from = 0;
    o.seed = seed;
    ASSERT_TRUE(TrainRouter(o, [](const RouterProgress&) {}).ok());
    folders.push_back(o.out);
  }
  RouterTrainOptions o = Tiny(PathOf("joined"));
  const auto card = JoinRouters(folders, o);
  ASSERT_TRUE(card.ok()) << card.status();
  const auto joined = LoadQPolicy(o.out);
  ASSERT_TRUE(joined.ok()) << joined.status();
  EXPECT_EQ(joined->card().networks, 2);
  EXPECT_EQ(joined->card().version, "q-1-1+q-2-1");
  const auto one = LoadQPolicy(folders[0]);
  const auto two = LoadQPolicy(folders[1]);
  SplitFeatures features{};
  features.fill(0.3f);
  const ActionValues gains = joined->GainsOver(SplitAction::kReady, features);
  const ActionValues of_one = one->GainsOver(SplitAction::kReady, features);
  const ActionValues of_two = two->GainsOver(SplitAction::kReady, features);
  for (int a = 0; a < kSplitActions; ++a) EXPECT_EQ(gains[a], std::min(of_one[a], of_two[a]));
  for (int f = 0; f < kSplitFeatures; ++f) {
    EXPECT_EQ(joined->card().feature_max[f],
              std::min(one->card().feature_max[f], two->card().feature_max[f]));
  }
  EXPECT_THAT(std::string(JoinRouters({o.out, folders[0]}, o).status().message()),
              AllOf(HasSubstr("joined"), HasSubstr("2 networks")));
  EXPECT_TRUE(absl::IsInvalidArgument(JoinRouters({folders[0]}, o).status()));
  o.intervals_s = {5};
  EXPECT_THAT(std::string(JoinRouters(folders, o).status().message()),
              HasSubstr("interval is 5 s: allowed is"));
}

TEST_F(RouterTraining, KilledAndResumedItMakesTheSamePolicy) {
  const std::string whole = PathOf("whole");
  const std::string cut = PathOf("cut");
  ASSERT_TRUE(TrainRouter(Tiny(whole), [](const auto&) {}).ok());
  struct Killed {};
  EXPECT_THROW((void)TrainRouter(Tiny(cut),
                                 [](const RouterProgress& p) {
                                   if (p.epoch == 2) throw Killed();
                                 }),
               Killed);
  EXPECT_FALSE(std::filesystem::exists(cut + "/card.json"));
  bool resumed = false;
  ASSERT_TRUE(TrainRouter(Tiny(cut), [&](const RouterProgress& p) { resumed = p.resumed; }).ok());
  EXPECT_TRUE(resumed);
  EXPECT_EQ(Get(std::string("cut") + "/weights.safetensors"),
            Get(std::string("whole") + "/weights.safetensors"));
  EXPECT_EQ(Get(std::string("cut") + "/training.csv"), Get(std::string("whole") + "/training.csv"));
  EXPECT_TRUE(LoadQPolicy(cut).ok());

  RouterTrainOptions other = Tiny(cut);
  other.seed = 2;
  EXPECT_TRUE(absl::IsFailedPrecondition(TrainRouter(other, [](const auto&) {}).status()));
  other.batch = 0;
  EXPECT_THAT(std::string(TrainRouter(other, [](const auto&) {}).status().message()),
              HasSubstr("batch is 0"));
}

TEST(Study, CountsRegretAboveTheOracleAndNamesUnknownFamilies) {
  StudyOptions o;
  o.families = {"surge"};
  o.episodes = 2;
  o.threads = 2;
  const auto study = RunStudy(o, nullptr, [](int64_t, int64_t) {});
  ASSERT_TRUE(study.ok()) << study.status();
  EXPECT_EQ(study->policies.back(), "oracle");
  EXPECT_EQ(study->rows.back().regret.value, 0);
  EXPECT_GT(study->rows.front().regret.value, 0);  // without a shadow
  EXPECT_LE(study->rows.front().regret.low, study->rows.front().regret.value);
  o.families = {"serge"};
  EXPECT_THAT(std::string(RunStudy(o, nullptr, [](int64_t, int64_t) {}).status().message()),
              HasSubstr("serge"));
  o.families = {"surge"};
  o.rules = {"none", "ramps"};
  EXPECT_THAT(std::string(RunStudy(o, nullptr, [](int64_t, int64_t) {}).status().message()),
              HasSubstr("ramps"));
  o.rules = {"ready-guarded"};
  o.oracle = false;
  const auto one = RunStudy(o, nullptr, [](int64_t, int64_t) {});
  ASSERT_TRUE(one.ok()) << one.status();
  ASSERT_EQ(one->policies, o.rules);
  EXPECT_LT(one->rows[0].cost.value, study->rows[0].cost.value);  // than none's
}

}  // namespace
}  // namespace foreshadow::training::router
