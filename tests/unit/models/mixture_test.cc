// The mixture: weights follow the losses, stretching makes levels honest, and nothing that a model
// says or leaves out can break the answer.
#include "models/mixture/mixture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "models/mixture/rows.h"

namespace foreshadow::models {
namespace {

using testing::Each;

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kStepMs = 300'000;
constexpr int kSteps = 4;
const std::vector<SignalKind> kTwo = {SignalKind::kCpu, SignalKind::kMemory};

// The same quantiles, centre + width * (-4..4), for every series and step.
QuantileBlock Says(float centre, float width, int64_t series = 2) {
  QuantileBlock block;
  block.Resize(series, kSteps);
  for (int64_t s = 0; s < series; ++s) {
    for (int step = 0; step < kSteps; ++step) {
      for (int q = 0; q < kQuantiles; ++q) {
        block.at(s, step)[q] = centre + width * static_cast<float>(q - kMedian);
      }
    }
  }
  return block;
}

QuantileBlock Absent(ForecastStatus status) {
  QuantileBlock block = Says(kMissing, 0);
  std::ranges::fill(block.status, status);
  return block;
}

void MixAt(Mixture& mixture, int64_t time_ms, const std::vector<SignalKind>& signals,
           const std::vector<QuantileBlock>& blocks, QuantileBlock& out,
           const std::vector<int32_t>& applications = {}) {
  History history;
  history.end_ms = time_ms;
  history.step_ms = kStepMs;
  history.signals = signals;
  history.applications = applications;
  Mix(mixture, history, blocks, out);
}

// Mixes and observes `ticks` times while series 0 is always `actual` and series 1 never seen.
QuantileBlock Learn(Mixture& mixture, const std::vector<QuantileBlock>& blocks, float actual,
                    int ticks) {
  QuantileBlock out;
  for (int t = 0; t < ticks; ++t) {
    Observe(mixture, t * kStepMs, std::vector<float>{actual, kMissing});
    MixAt(mixture, t * kStepMs, kTwo, blocks, out);
  }
  return out;
}

TEST(Mixture, TakesTheFirstModelBeforeAnythingWasJudged) {
  Mixture mixture;
  QuantileBlock out;
  MixAt(mixture, 0, kTwo, std::vector{Says(10, 1), Says(50, 1)}, out);
  EXPECT_EQ(out.values, Says(10, 1).values);
  EXPECT_THAT(out.status, Each(ForecastStatus::kOk));
}

TEST(Mixture, WeighsByTheSlopeOfItsLossAsWorkedOutByHand) {
  Mixture mixture;
  QuantileBlock out;
  MixAt(mixture, 0, kTwo, {Says(10, 0), Says(14, 0)}, out);  // the first alone: 10
  Observe(mixture, kStepMs, std::vector<float>{9, kMissing});
  // The actual is below, so at level p the loss grows by 1 - p; 14 is 4 above the mixture, which is
  // the unit as no error was seen before. A part's own mean counts 0.8, that of all levels 0.2.
  double all = 0;
  for (const float level : kQuantileLevels) all += (1 - level) / kQuantiles;
  const double gain = -(0.8 * 0.5 + 0.2 * all);
  const double own = mixture.settings.keep * mixture.settings.own_rate * gain;
  const double other = std::exp(own + mixture.settings.pool_rate * gain);
  const double first = std::exp(mixture.settings.first_start);
  const auto weights = Weights(mixture, 0, 1);
  EXPECT_NEAR(weights[0], first / (first + other), 1e-5);
  EXPECT_NEAR(weights[1], other / (first + other), 1e-5);
}

TEST(Mixture, MixesModelsThatErrOnOppositeSides) {
  // Neither is good alone; half of each is right.
  std::mt19937_64 random(2);
  std::normal_distribution<float> normal(10, 1);
  Mixture mixture;
  QuantileBlock out;
  double sum = 0;
  for (int t = 0; t < 400; ++t) {
    Observe(mixture, t * kStepMs, std::vector<float>{normal(random), kMissing});
    MixAt(mixture, t * kStepMs, kTwo, {Says(8, 0.2f), Says(12, 0.2f)}, out);
    if (t >= 200) sum += out.at(0, 0)[kMedian];
  }
  EXPECT_NEAR(sum / 200, 10, 0.4);
}

TEST(Mixture, FollowsTheBetterModel) {
  Mixture mixture;
  const QuantileBlock out = Learn(mixture, {Says(50, 1), Says(10, 1)}, 10, 60);
  EXPECT_NEAR(out.at(0, 0)[kMedian], 10, 0.5);
  EXPECT_NEAR(out.at(0, kSteps - 1)[kMedian], 10, 0.5);
}

TEST(Mixture, HoldsModelsToTheIntervalOfTheOneThatWeighsMost) {
  // One step; the second model weighs most and says 7 to 13 with 90 %.
  const QuantileBlock far = Says(100, 1, 1), leader = Says(10, 1, 1);
  const auto all = [](float value) {
    PaddedRow row;
    row.fill(value);
    return row;
  };
  const std::vector rows = {far.at(0, 0).data(), leader.at(0, 0).data()};
  const std::vector weights = {all(0.2f), all(0.8f)};
  const std::vector<uint8_t> leaders = {1};
  const std::vector factors = {all(1)};
  const std::vector places = {Between{0, 0, 0}};
  std::vector<PaddedRow> scratch(2);
  std::array<float, kQuantiles> out;
  MixSteps({rows, weights, leaders, factors, places, 1'000}, scratch, out.data());
  for (int q = 0; q < kQuantiles; ++q) {
    const float said = far.at(0, 0)[q];
    const float counts = q <= kMedian ? 13 : said;  // an upper level may be as far up as it is
    EXPECT_NEAR(out[q], 0.2f * counts + 0.8f * leader.at(0, 0)[q], 1e-4) << q;
  }
}

TEST(Mixture, HoldsNothingAgainstAModelThatWasRight) {
  // A series at rest, and a model that says so to the last digit: its median cannot be bettered.
  Mixture mixture;
  Learn(mixture, {Says(0, 0), Says(50, 0)}, 0, 60);
  const double first = std::exp(mixture.settings.first_start);
  EXPECT_GE(Weights(mixture, 0, 1)[0], first / (first + 1));
}

TEST(Mixture, LendsASeriesWithoutAPastWhatItsSignalKnows) {
  Mixture mixture;
  const std::vector<SignalKind> signals = {SignalKind::kCpu, SignalKind::kCpu,
                                           SignalKind::kNetwork};
  QuantileBlock out;
  const std::vector blocks = {Says(50, 1, 3), Says(10, 1, 3)};
  for (int t = 0; t < 60; ++t) {
    Observe(mixture, t * kStepMs, std::vector<float>{10, kMissing, kMissing});
    MixAt(mixture, t * kStepMs, signals, blocks, out);
  }
  EXPECT_NEAR(out.at(1, 0)[kMedian], 10, 1);   // learned from series 0
  EXPECT_FLOAT_EQ(out.at(2, 0)[kMedian], 50);  // no other of its signal: the first model
}

TEST(Mixture, LendsASeriesWithoutAPastWhatItsApplicationKnows) {
  // Many series of two applications, each best served by another model, and one of each without a
  // sample: it takes after its application.
  Mixture mixture;
  constexpr int64_t kPast = 200;
  constexpr int64_t kSeries = kPast + 2;
  const std::vector<SignalKind> signals(kSeries, SignalKind::kCpu);
  std::vector<int32_t> applications(kSeries);
  std::vector<float> samples(kSeries, kMissing);
  for (int64_t s = 0; s < kSeries; ++s) {
    applications[s] = static_cast<int32_t>(s % 2);
    if (s < kPast) samples[s] = s % 2 == 0 ? 10 : 50;
  }
  QuantileBlock out;
  for (int t = 0; t < 60; ++t) {
    Observe(mixture, t * kStepMs, samples);
    MixAt(mixture, t * kStepMs, signals, {Says(50, 1, kSeries), Says(10, 1, kSeries)}, out,
          applications);
  }
  EXPECT_LT(out.at(kPast, 0)[kMedian], 20);
  EXPECT_GT(out.at(kPast + 1, 0)[kMedian], 40);
}

TEST(Mixture, JudgesFarDistancesWithoutKeepingAllThatWait) {
  // An hour of minutes: the last distance has 60 forecasts on the way, of which 12 are kept.
  Mixture mixture;
  QuantileBlock wrong, right, out;
  wrong.Resize(1, 60);
  right.Resize(1, 60);
  std::ranges::fill(wrong.values, 50.0f);
  std::ranges::fill(right.values, 10.0f);
  const std::vector<SignalKind> one = {SignalKind::kCpu};
  for (int t = 0; t < 800; ++t) {
    Observe(mixture, t * kStepMs, std::vector<float>{10});
    MixAt(mixture, t * kStepMs, one, {wrong, right}, out);
  }
  EXPECT_EQ(mixture.waiting[2].size(), 12u);
  EXPECT_NEAR(out.at(0, 59)[kMedian], 10, 1);
}

TEST(Mixture, StretchesUntilLevelsHoldWhatTheySay) {
  // The model's spread is a fifth of the truth's: its 80 % interval holds 20 %.
  std::mt19937_64 random(4);
  std::normal_distribution<float> normal(100, 10);
  Mixture mixture;
  QuantileBlock out;
  const std::vector blocks = {Says(100, 1, 1)};
  const std::vector<SignalKind> one = {SignalKind::kCpu};
  int held = 0;
  int raw = 0;
  for (int t = 0; t < 6'000; ++t) {
    const float actual = normal(random);
    if (t >= 2'000) {
      held += actual >= out.at(0, 0)[1] && actual <= out.at(0, 0)[5];
      raw += actual >= 98 && actual <= 102;
    }
    Observe(mixture, t * kStepMs, std::vector<float>{actual});
    MixAt(mixture, t * kStepMs, one, blocks, out);
    ASSERT_TRUE(std::ranges::is_sorted(out.at(0, 2)));
  }
  EXPECT_LT(raw / 4'000.0, 0.25);
  EXPECT_NEAR(held / 4'000.0, 0.8, 0.02);
}

TEST(Mixture, NamesWhoDidNotAnswer) {
  Mixture mixture;
  QuantileBlock out;
  MixAt(mixture, 0, kTwo, std::vector{Absent(ForecastStatus::kCannot), Says(7, 1)}, out);
  EXPECT_THAT(out.status, Each(ForecastStatus::kFellBack));
  EXPECT_FLOAT_EQ(out.at(0, 0)[kMedian], 7);
  MixAt(mixture, kStepMs, kTwo, std::vector{QuantileBlock(), Says(7, 1)}, out);
  EXPECT_THAT(out.status, Each(ForecastStatus::kFellBack));
  MixAt(mixture, 2 * kStepMs, kTwo,
        std::vector{Absent(ForecastStatus::kNoHistory), Absent(ForecastStatus::kNoHistory)}, out);
  EXPECT_THAT(out.status, Each(ForecastStatus::kNoHistory));
  EXPECT_TRUE(std::isnan(out.at(1, 1)[0]));
  MixAt(mixture, 3 * kStepMs, kTwo,
        std::vector{Absent(ForecastStatus::kNoHistory), Absent(ForecastStatus::kCannot)}, out);
  EXPECT_THAT(out.status, Each(ForecastStatus::kCannot));
}

TEST(Mixture, KeepsWhatItKnowsWhenSeriesAreAdded) {
  Mixture mixture;
  Learn(mixture, {Says(50, 1), Says(10, 1)}, 10, 60);
  const auto before = Weights(mixture, 0, 1);
  QuantileBlock out;
  const std::vector<SignalKind> three = {SignalKind::kCpu, SignalKind::kMemory, SignalKind::kCpu};
  MixAt(mixture, 60 * kStepMs, three, std::vector{Says(50, 1, 3), Says(10, 1, 3)}, out);
  EXPECT_EQ(Weights(mixture, 0, 1), before);
  EXPECT_NEAR(out.at(2, 0)[kMedian], 10, 1);
}

// Of a machine that has just woken a network may say what larger ones came to.
TEST(Mixture, SaysNothingFarBeyondWhatWasEverSeen) {
  const std::vector<QuantileBlock> far = {Says(1, 10)};
  Mixture mixture;
  EXPECT_GT(Learn(mixture, far, 2, 20).at(0, 0).back(), 3) << "too little is known yet";
  const QuantileBlock known = Learn(mixture, far, 2, 20);
  EXPECT_EQ(known.at(0, 0).back(), 3);
  EXPECT_TRUE(std::ranges::is_sorted(known.at(0, 0)));
  EXPECT_GT(known.at(1, 0).back(), 3) << "of that series nothing was seen";
  EXPECT_GT(Learn(mixture, far, 20, 1).at(0, 0).back(), 3) << "it has risen";
}

TEST(Mixture, KnowsTheHighestSampleOfAPastItDidNotJudge) {
  const std::vector<float> past = {50, 1, kMissing, 1, 2, kMissing};
  Mixture mixture;
  QuantileBlock out;
  History history;
  history.step_ms = kStepMs;
  history.signals = kTwo;
  history.values = {past.data(), 3, 2, 2};
  const std::vector<QuantileBlock> far = {Says(1, 100)};
  Mix(mixture, history, far, out);
  EXPECT_EQ(Learn(mixture, far, 2, 40).at(0, 0).back(), 75);
}

TEST(Mixture, StaysInOrderAndBoundedOnWildSamples) {
  std::mt19937_64 random(9);
  std::lognormal_distribution<float> wild(0, 6);
  Mixture mixture;
  QuantileBlock out;
  for (int t = 0; t < 500; ++t) {
    const float sample = t % 5 == 0 ? 0.0f : t % 7 == 0 ? 3e38f : wild(random);
    Observe(mixture, t * kStepMs, std::vector<float>{sample, 0.0f});
    MixAt(mixture, t * kStepMs, kTwo, std::vector{Says(1, 0.2f), Says(0, 0)}, out);
    for (int64_t s = 0; s < 2; ++s) {
      for (int step = 0; step < kSteps; ++step) {
        ASSERT_TRUE(std::ranges::is_sorted(out.at(s, step)));
        ASSERT_THAT(out.at(s, step),
                    Each(testing::AllOf(testing::Ge(0.0f),
                                        testing::Le(std::numeric_limits<float>::max()))));
      }
    }
  }
}

TEST(MixtureRows, ExponentialsAreRightToAFewMillionths) {
  std::vector<float> values(Padded(3'000), kLogWeightMin);
  for (size_t i = 0; i < 3'000; ++i) values[i] = static_cast<float>(i) * 0.05f - 75.0f;
  const std::vector<float> of = values;
  Exponentials(values);
  for (size_t i = 0; i < 3'000; ++i) {
    const double exact = std::exp(static_cast<double>(of[i]));
    ASSERT_NEAR(values[i], exact, 6e-6 * exact) << of[i];
  }
  EXPECT_EQ(values.back(), 0) << "no weight";
}

TEST(MixtureRows, RoundsHalvesAwayFromZeroAndCuts) {
  std::vector<float> values(kPaddedRow);
  const std::vector<float> some = {0, 0.24f, 0.25f, -0.25f, 1.3f, -2.9f, 63.6f, -1e30f};
  std::ranges::copy(some, values.begin());
  std::vector<int8_t> rounded(values.size());
  RoundScaled(values, 2, rounded);
  EXPECT_THAT(std::span(rounded).first(some.size()),
              testing::ElementsAre(0, 0, 1, -1, 3, -6, 127, -127));
}

}  // namespace
}  // namespace foreshadow::models
