#include "service/plan/lead.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace foreshadow {
namespace {

constexpr int64_t kStep = 60'000;
constexpr double kNetwork = 125e6;  // bytes/s

struct Creation {
  double bytes = 0;
  double ms = 0;
};

CreationSums Learned(const std::vector<Creation>& creations) {
  CreationSums sums;
  for (const Creation& c : creations) {
    LearnCreation(c.bytes, c.ms + kStep / 2.0, /*expected_ms=*/1e9, kStep, sums);
  }
  return sums;
}

TEST(Lead, OfNothingKnownIsTheCopyOverTheNetwork) {
  const Leads leads = LeadsOf({}, kNetwork);
  EXPECT_DOUBLE_EQ(leads.all.of(1e9), 8'000);
  EXPECT_DOUBLE_EQ(leads.in(7).of(0), 0);
}

// The normal equations of the ridge, uncentred, by Cramer's rule.
CreationLine Reference(const std::vector<Creation>& creations, double prior) {
  double w = 0, x = 0, y = 0, xx = kGib * kGib, xy = kGib * kGib * prior;
  for (size_t i = 0; i < creations.size(); ++i) {
    const double weight = std::pow(0.9, static_cast<double>(creations.size() - 1 - i));
    w += weight;
    x += weight * creations[i].bytes;
    y += weight * creations[i].ms;
    xx += weight * creations[i].bytes * creations[i].bytes;
    xy += weight * creations[i].bytes * creations[i].ms;
  }
  const double determinant = w * xx - x * x;
  return {(y * xx - x * xy) / determinant, (w * xy - x * y) / determinant};
}

TEST(Lead, IsTheRidgeOfLeastSquares) {
  std::mt19937_64 random(3);
  std::uniform_real_distribution<double> gib(0.1, 60);
  std::uniform_real_distribution<double> noise(-5'000, 5'000);
  std::vector<Creation> creations;
  for (int i = 0; i < 30; ++i) {
    const double bytes = gib(random) * kGib;
    creations.push_back({bytes, 40'000 + bytes * 1'000 / 60e6 + noise(random)});
  }
  const CreationLine expected = Reference(creations, 1'000 / kNetwork);
  const CreationLine line = LeadsOf({Learned(creations)}, kNetwork).all;
  EXPECT_NEAR(line.fixed_ms, expected.fixed_ms, 1e-3);
  EXPECT_NEAR(line.ms_per_byte * kGib, expected.ms_per_byte * kGib, 1e-6);
  EXPECT_NEAR(line.fixed_ms, 40'000, 8'000);
  EXPECT_NEAR(1'000 / line.ms_per_byte, 60e6, 2e6);
}

TEST(Lead, StateOfOneSizeTellsASumOnly) {
  const CreationLine line = LeadsOf({Learned({{4e9, 92'000}, {4e9, 92'000}})}, kNetwork).all;
  EXPECT_NEAR(line.fixed_ms, 60'000, 1e-6);
  EXPECT_DOUBLE_EQ(line.ms_per_byte, 1'000 / kNetwork);
}

TEST(Lead, OfACellIsItsOwnAndOfANewOneThatOfAll) {
  const Leads leads = LeadsOf({Learned({{1e9, 20'000}, {50e9, 1'010'000}}), CreationSums{},
                               Learned({{1e9, 10'000}, {50e9, 500'000}})},
                              kNetwork);
  EXPECT_NEAR(leads.in(0).of(100e9), 2'020'000, 20'000);
  EXPECT_NEAR(leads.in(2).of(100e9), 1'000'000, 10'000);
  EXPECT_GT(leads.in(1).of(100e9), leads.in(2).of(100e9));
  EXPECT_LT(leads.in(1).of(100e9), leads.in(0).of(100e9));
  EXPECT_EQ(leads.in(1).of(100e9), leads.all.of(100e9));
}

TEST(Lead, StaysWithinReason) {
  // Larger state that came sooner: as if by the fastest network that is believed in.
  const CreationLine line = LeadsOf({Learned({{1e9, 900'000}, {90e9, 1'000}})}, kNetwork).all;
  EXPECT_DOUBLE_EQ(line.ms_per_byte, 1'000 / kNetwork / 16);
  EXPECT_GE(line.fixed_ms, 0);
  // One that hung for a day where a minute was expected.
  CreationSums sums;
  LearnCreation(1e9, 86'400'000, 60'000, kStep, sums);
  EXPECT_DOUBLE_EQ(sums.ms, 4 * 60'000);
}

// What is seen at the first tick took half a step, as far as anybody knows.
TEST(Lead, InSteps) {
  CreationSums sums;
  LearnCreation(1e9, 300'000, 0, 300'000, sums);
  EXPECT_DOUBLE_EQ(sums.ms, 150'000);
  EXPECT_EQ(LeadSteps(0, 300'000), 1);
  EXPECT_EQ(LeadSteps(150'000, 300'000), 1);
  EXPECT_EQ(LeadSteps(300'000, 300'000), 1);
  EXPECT_EQ(LeadSteps(300'001, 300'000), 2);
  EXPECT_EQ(LeadSteps(1e18, 300'000), kHorizonStepsMax);
}

TEST(Lead, StateThatIsNotMeasuredIsAGib) {
  AccountForecasts forecasts{1, std::vector<Moments>(2 * kResources)};
  forecasts.moments[kResources + 1].mean = 7e9;
  EXPECT_EQ(StateBytes(forecasts, 0), kGib);
  EXPECT_EQ(StateBytes(forecasts, 1), 7e9);
}

}  // namespace
}  // namespace foreshadow
