#include "service/plan/splits.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "service/plan/calibration.h"
#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

using testing::ForecastAll;
using testing::MakeScene;
using testing::Scene;

// E[max(0, X - c)] by summing the tail, against the closed form.
TEST(Cost, ExpectedExcessIsTheIntegralOfTheTail) {
  for (const double z : {-3.0, -1.0, 0.0, 0.5, 2.0, 4.0}) {
    const double mean = 10, deviation = 2.5, capacity = mean + z * deviation;
    double sum = 0;
    constexpr double kStep = 1e-4;
    for (double x = capacity; x < mean + 12 * deviation; x += kStep) {
      sum += kStep * 0.5 * std::erfc((x + kStep / 2 - mean) / (deviation * std::sqrt(2.0)));
    }
    EXPECT_NEAR(TailOf(capacity, mean, deviation).excess, sum, 1e-5) << z;
  }
  EXPECT_EQ(TailOf(10, 12, 0).excess, 2);
  EXPECT_EQ(TailOf(10, 8, 0).excess, 0);
  EXPECT_EQ(TailOf(0, 8, 1).excess, 0);  // not limited
}

Shadow Sharing(int32_t account, int32_t target) {
  Shadow shadow;
  shadow.instance_id = "shadow-" + std::to_string(account);
  shadow.account = account;
  shadow.target = target;
  shadow.state = ShadowState::kSharing;
  return shadow;
}

// 120 of 100 in the source, an account of 60 of them shadowed: a third of it must go, and not more
// than serving it elsewhere is worth.
TEST(Splits, TakesWhatIsTooMuchAndLittleMore) {
  Scene scene = MakeScene(2, 100, {60, 60});
  scene.shadows = {Sharing(0, 1)};
  const Plan plan = scene.Make();
  const Advice advice = AdviceFor(plan, scene.shadows[0]);
  EXPECT_GE(advice.split, 20.0 / 60);
  EXPECT_LE(advice.split, 20.0 / 60 + 0.11);
  // 20 cores for 5 minutes at 100, and a tenth of 100 cores, less what serving them costs.
  EXPECT_NEAR(advice.gain_next, (100 * 20 + 0.1 * 100 - 22) / 12, 5);
  EXPECT_TRUE(advice.better_there);
}

TEST(Splits, ATargetThatNeedsItsOwnCapacityGetsNothing) {
  Scene scene = MakeScene(2, 100, {60, 60});
  testing::AddAccount(scene.fleet, 1);
  scene.table.block.Resize(scene.fleet.series_count(), 12);
  std::ranges::fill(scene.table.block.values, testing::kNan);
  scene.table.model_of.assign(static_cast<size_t>(scene.fleet.series_count()), 0);
  for (int a = 0; a < 2; ++a) testing::SetForecast(scene.table, a, SignalKind::kCpu, 60, 1);
  testing::SetForecast(scene.table, 2, SignalKind::kCpu, 130, 1);
  scene.shadows = {Sharing(0, 1)};
  EXPECT_EQ(AdviceFor(scene.Make(), scene.shadows[0]).split, 0);
}

// Forecasts that see nothing do not keep the present from being relieved.
TEST(Splits, ThePresentAloneIsEnough) {
  Scene scene = MakeScene(2, 100, {10, 10});
  scene.shadows = {Sharing(0, 1)};
  EXPECT_EQ(AdviceFor(scene.Make(), scene.shadows[0]).split, 0);
  scene.demand = {{60}, {60}};
  const Advice advice = AdviceFor(scene.Make(), scene.shadows[0]);
  EXPECT_GE(advice.split, 20.0 / 60 - 1e-9);
  EXPECT_GT(advice.gain_next, 0);
  scene.parts.present = false;
  EXPECT_EQ(AdviceFor(scene.Make(), scene.shadows[0]).split, 0);
}

TEST(Splits, AShadowRelievesWhatIsNearlyFullForLong) {
  Scene scene = MakeScene(2, 100, {10, 10});
  scene.shadows = {Sharing(0, 1)};
  scene.demand = {{45}, {45}};
  Rails rails = testing::RailsOf(scene.fleet, scene.guard);
  rails.nearly_full_at[0] = 0.8;
  EXPECT_EQ(AdviceFor(scene.Make(rails), scene.shadows[0]).split, 0);
  rails.nearly_full[0] = true;
  EXPECT_GE(AdviceFor(scene.Make(rails), scene.shadows[0]).split, 10.0 / 45 - 1e-9);
}

TEST(Splits, WithoutAdviceAllLeavesACellInDangerAndNothingAnother) {
  Scene scene = MakeScene(2, 100, {60, 60});
  scene.shadows = {Sharing(0, 1)};
  scene.parts.advice = false;
  const Advice advice = AdviceFor(scene.Make(), scene.shadows[0]);
  EXPECT_EQ(advice.split, 1);
  EXPECT_EQ(advice.planned, 1);
  EXPECT_TRUE(advice.better_there);
  scene.fleet.cells[0].capacity[0] = 150;
  const Advice quiet = AdviceFor(scene.Make(), scene.shadows[0]);
  EXPECT_EQ(quiet.split, 0);
  EXPECT_EQ(quiet.gain, 0);
}

// Against every combination of splits on the same grid: two shadows, two targets.
TEST(Splits, AreAsGoodAsTheBestOfAll) {
  std::mt19937_64 random(5);
  const auto uniform = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  for (int round = 0; round < 30; ++round) {
    SCOPED_TRACE(round);
    Scene scene = MakeScene(3, 100, {uniform(20, 70), uniform(20, 70), uniform(10, 40)});
    scene.fleet.accounts[2].cell = 1;
    scene.shadows = {Sharing(0, 1), Sharing(1, 2)};
    const AccountForecasts forecasts = MomentsOf(scene.table, 3);
    const CostModel model{scene.fleet.cells, scene.errors, scene.settings, 1.0 / 12};
    const auto cost = [&](double x, double y) {
      const std::vector<double> splits = {x, y};
      const auto cells = ForecastAll(scene.fleet, forecasts, scene.shadows, splits);
      double sum = 0;
      for (int c = 0; c < 3; ++c) sum += StepCost(model, c, cells[c], 0);
      return sum +
             model.step_hours * (x * forecasts.at(0, 0, 0).mean + y * forecasts.at(1, 0, 0).mean);
    };
    double best = 1e300;
    for (int x = 0; x <= 20; ++x) {
      for (int y = 0; y <= 20; ++y) best = std::min(best, cost(x / 20.0, y / 20.0));
    }
    const Plan plan = scene.Make();
    const double found =
        cost(AdviceFor(plan, scene.shadows[0]).split, AdviceFor(plan, scene.shadows[1]).split);
    EXPECT_LE(found, best * 1.02 + 0.05);
  }
}

// What shadows change is summed anew in the order in which all is summed.
TEST(Demand, OfSomeCellsIsThatOfAllBitForBit) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const Scene scene = testing::RandomScene(seed);
    const AccountForecasts forecasts = MomentsOf(scene.table, std::ssize(scene.fleet.accounts));
    std::vector<double> splits;
    for (const Shadow& shadow : scene.shadows) splits.push_back(shadow.split);
    const auto all = ForecastAll(scene.fleet, forecasts, scene.shadows, splits);
    const auto without = ForecastCells(scene.fleet, forecasts);
    const std::vector<int32_t> cells = CellsOf(scene.fleet, scene.shadows);
    const auto some =
        ForecastSome(scene.fleet, AccountsOf(scene.fleet), forecasts, scene.shadows, splits, cells);
    size_t next = 0;
    for (size_t c = 0; c < all.size(); ++c) {
      const bool touched = next < cells.size() && cells[next] == static_cast<int32_t>(c);
      const CellForecast& cell = touched ? some[next++] : without[c];
      EXPECT_EQ(cell.mean, all[c].mean);
      EXPECT_EQ(cell.variance, all[c].variance);
    }
    EXPECT_EQ(next, cells.size());
  }
}

// Chances that are said twice as sure as they are (logits of twice the size) are set right.
TEST(Calibration, LearnsHowFarChancesAreMeant) {
  std::mt19937_64 random(11);
  std::uniform_real_distribution<double> uniform;
  Calibration calibration;
  for (int i = 0; i < 40'000; ++i) {
    const double logit = 6 * (uniform(random) - 0.5);
    const double said = 1 / (1 + std::exp(-2 * logit));
    calibration.Learn(said, uniform(random) < 1 / (1 + std::exp(-logit)));
  }
  EXPECT_NEAR(calibration.Of(1 / (1 + std::exp(-2.0))), 1 / (1 + std::exp(-1.0)), 0.03);
  EXPECT_NEAR(calibration.Of(0.5), 0.5, 0.03);
  EXPECT_EQ(calibration.Of(0), 0);
}

// What comes unforeseen, of which next to nothing is said, does not dull what is likely.
TEST(Calibration, LearnsWhatIsUnlikelyApartFromWhatIsLikely) {
  std::mt19937_64 random(12);
  std::uniform_real_distribution<double> uniform;
  const auto meant = [](double said) {
    return 1 / (1 + std::exp(1.5 - 0.3 * std::log(said) + 4 * std::log1p(-said)));
  };
  Calibration calibration;
  for (int i = 0; i < 200'000; ++i) {
    const double said = 0.001 + 0.998 * uniform(random) * uniform(random);
    calibration.Forget(30'000);
    calibration.Learn(said, uniform(random) < meant(said));
  }
  for (const double said : {0.01, 0.1, 0.3, 0.5, 0.7}) {
    EXPECT_NEAR(calibration.Of(said), meant(said), 0.03) << said;
  }
}

// Chances that mean nothing until they are even and all beyond: no curve of the first stage follows
// that, and what came in each tenth does.
TEST(Calibration, FollowsWhatNoCurveDoes) {
  std::mt19937_64 random(13);
  std::uniform_real_distribution<double> uniform;
  const auto meant = [](double said) { return said < 0.35 ? 0.3 : said < 0.65 ? 0.35 : 0.4; };
  Calibration calibration;
  for (int i = 0; i < 200'000; ++i) {
    const double said = uniform(random);
    calibration.Learn(said, uniform(random) < meant(said));
  }
  double before = 0;
  for (double said = 0.001; said < 1; said += 0.001) {
    EXPECT_GE(calibration.Of(said), before) << said;
    before = calibration.Of(said);
  }
  for (const double said : {0.1, 0.25, 0.5, 0.75, 0.9}) {
    EXPECT_NEAR(calibration.Of(said), meant(said), 0.02) << said;
  }
}

// The bins forget within days what the curve remembers for weeks.
TEST(Calibration, TheLastDaysCountMost) {
  std::mt19937_64 random(14);
  std::uniform_real_distribution<double> uniform;
  Calibration calibration;
  const auto live = [&](int days, double share) {
    for (int step = 0; step < 288 * days; ++step) {
      calibration.Forget(300'000);
      for (int cell = 0; cell < 20; ++cell) {
        const double said = uniform(random);
        calibration.Learn(said, uniform(random) < share * said);
      }
    }
  };
  live(30, 1);
  EXPECT_NEAR(calibration.Of(0.8), 0.8, 0.05);
  live(2, 0.5);
  EXPECT_NEAR(calibration.Of(0.8), 0.4, 0.1);
}

// What was said of a cell is held against the accounts that lived in it then, moved or not.
TEST(Calibration, JudgesByWhereAccountsWere) {
  auto before = std::make_shared<Fleet>(testing::MakeFleet(2, 100));
  testing::AddAccount(*before, 0);
  auto after = std::make_shared<Fleet>(*before);
  after->accounts[0].cell = 1;
  std::vector<CellRisk> said(2);
  said[0].within_15 = said[0].probability = 0.5;
  RiskCalibration calibration;
  constexpr int64_t kStep = 300'000;
  const std::vector<Resources> quiet = {{10}};
  HomeDemand then(quiet);
  LearnRisk(said, before, then, 100 * kStep, kStep, calibration);
  said[0].within_15 = said[0].probability = 0;
  for (int64_t tick = 101; tick <= 112; ++tick) {
    const std::vector<Resources> accounts = {{120}};
    HomeDemand now(accounts);
    LearnRisk(said, after, now, tick * kStep, kStep, calibration);
  }
  EXPECT_GT(calibration.within_15.Of(0.5), 0.5);
  EXPECT_GT(calibration.within_60.Of(0.5), 0.5);
}

}  // namespace
}  // namespace foreshadow
