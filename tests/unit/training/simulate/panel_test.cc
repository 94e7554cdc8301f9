#include "training/simulate/panel.h"

#include <gtest/gtest.h>

#include <cmath>

#include "training/simulate/study.h"

namespace foreshadow::training {
namespace {

constexpr int64_t kDay = 288;

// Loads of an hour about a level, a core to each side.
std::vector<double> About(double level) {
  std::vector<double> loads(12, level + 1);
  for (size_t t = 1; t < loads.size(); t += 2) loads[t] = level - 1;
  return loads;
}

// Near the capacity 30 of 40 were followed by overload, far from it 4 of 40; that of 10 in between
// all were is no evidence.
TEST(Panel, AChanceIsHowOftenItCame) {
  Panel panel(90, 1);
  const auto look = [&](int64_t step, double level, bool came) {
    const std::vector<double> past = About(level);
    panel.Look(step, 0, {past, {}, 12, 10}, came);
  };
  for (int64_t t = 0; t < 40; ++t) look(t, 9, t % 4 != 0);
  for (int64_t t = 40; t < 80; ++t) look(t, 4, t % 10 == 0);
  for (int64_t t = 80; t < 90; ++t) look(t, 6.5, true);
  EXPECT_DOUBLE_EQ(panel.Chance(0, 0), 0.75);
  EXPECT_DOUBLE_EQ(panel.Chance(79, 0), 0.1);
  EXPECT_EQ(panel.Chance(85, 0), 0);
}

TEST(Panel, WhoWasNotAskedSaysNothing) {
  Panel panel(2, 3);
  const std::vector<double> past = About(9);
  panel.Look(0, 1, {past, {}, 12, 10}, true);
  EXPECT_EQ(panel.Chance(0, 0), 0);
  EXPECT_EQ(panel.Chance(1, 1), 0);
}

// One account of a core in a cell of two, that takes three at the steps told.
std::vector<Episode> EpisodesOf(int64_t days, const std::vector<int64_t>& bursts) {
  Trace trace;
  trace.step_ms = 300'000;
  trace.steps = days * kDay;
  trace.accounts.push_back({"a", "cell", ""});
  trace.values.assign(static_cast<size_t>(trace.steps * trace.series()), NAN);
  for (int64_t t = 0; t < trace.steps; ++t) trace.values[t * trace.series()] = 1;
  for (const int64_t t : bursts) trace.values[t * trace.series()] = 3;
  StudyOptions options;
  options.policies = {"none"};
  options.settings = {{}};
  options.own_cells = {{"cell", "zone", CellState::kUp, {2}}};
  const auto results =
      RunStudy(MakeDemand(trace, {}), options, [](int64_t, int64_t, const std::string&) {});
  return results.ok() ? (*results)[0].metrics.episodes : std::vector<Episode>();
}

TEST(Panel, WhatComesEveryDayIsForeseenFromTheSecondOn) {
  std::vector<int64_t> bursts;
  for (int64_t day = 0; day < 6; ++day) bursts.push_back(day * kDay + 120);
  const std::vector<Episode> episodes = EpisodesOf(6, bursts);
  ASSERT_EQ(episodes.size(), 6u);
  for (size_t day = 0; day < 6; ++day) EXPECT_EQ(episodes[day].foreseeable, day > 0) << day;
}

// That a day before there was a burst as well says nothing where they come at any time.
TEST(Panel, WhatComesAtAnyTimeIsNot) {
  std::vector<int64_t> bursts;
  uint64_t x = 1;
  for (int64_t third = 1; third < 60; ++third) {
    x = x * 6'364'136'223'846'793'005 + 1'442'695'040'888'963'407;
    bursts.push_back(third * kDay / 3 + static_cast<int64_t>((x >> 33) % 90));
  }
  const std::vector<Episode> episodes = EpisodesOf(20, bursts);
  ASSERT_GT(episodes.size(), 50u);
  for (const Episode& e : episodes) EXPECT_FALSE(e.foreseeable) << e.onset_step;
}

}  // namespace
}  // namespace foreshadow::training
