// Load shedding: when requests are refused, how many, and what is learned of it.
#include "service/learn/shed.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace foreshadow {
namespace {

GuardSettings Settings() {
  GuardSettings settings;
  settings.shed_max = 0.5;
  return settings;
}

// Asked for 300 requests/s where source and shadow carry 100 each: a third is too much.
SplitObservation TooMuch() {
  SplitObservation o;
  o.split = 0.5;
  o.measured = true;
  o.demand_rps = 300;
  o.source_load = o.source_load_next_p50 = 3;
  o.ready_rps = 100;
  o.primary = {.requests = 1'500, .failed = 500, .slow = 900, .p50_ms = 1'900, .p99_ms = 2'000};
  o.shadow = o.primary;
  return o;
}

// What is not refused is served well.
SplitObservation Refusing(double shed) {
  SplitObservation o = TooMuch();
  o.shed = shed;
  o.primary = {.requests = 900, .p50_ms = 60, .p99_ms = 300};
  o.shadow = o.primary;
  return o;
}

double Shed(const SplitObservation& o, GuardMemory& memory, const GuardSettings& s = Settings()) {
  return ShedShare(o, s, Remember(o, s, memory), memory);
}
double Shed(const SplitObservation& o, const GuardSettings& s = Settings()) {
  GuardMemory memory;
  return Shed(o, memory, s);
}

TEST(Shed, BringsWhatIsServedToWhatIsCarried) {
  EXPECT_NEAR(Shed(TooMuch()), 1 - 0.9 * 200 / 300, 1e-12);
  SplitObservation alone = TooMuch();
  alone.failed_over = true;
  alone.split = 1;
  alone.demand_rps = 150;
  alone.primary = {};
  EXPECT_NEAR(Shed(alone), 1 - 0.9 * 100 / 150, 1e-12) << "the source carries nothing";
  SplitObservation growing = TooMuch();
  growing.source_load_next_p50 = 3.3;
  EXPECT_NEAR(Shed(growing), 1 - 0.9 * 200 / 330, 1e-12) << "what comes next counts";
}

TEST(Shed, NothingIsRefusedWithoutNeed) {
  SplitObservation fits = TooMuch();
  fits.ready_rps = 200;
  fits.primary.p50_ms = fits.shadow.p50_ms = 40;
  EXPECT_EQ(Shed(fits), 0) << "both together carry it, though now they fail";
  SplitObservation serves = TooMuch();
  serves.primary.failed = serves.shadow.failed = 0;
  EXPECT_EQ(Shed(serves), 0) << "slow, but nothing fails";
  SplitObservation few = TooMuch();
  few.primary.failed = few.shadow.failed = 120;
  few.primary.slow = few.shadow.slow = 200;
  EXPECT_EQ(Shed(few), 0) << "40 in 100 would be refused, where 8 fail and 13 are slow";
  SplitObservation unsure = TooMuch();
  unsure.primary =
      unsure.shadow = {.requests = 5, .failed = 2, .slow = 2, .p50_ms = 900, .p99_ms = 900};
  EXPECT_EQ(Shed(unsure), 0) << "10 requests show nothing for sure";
  EXPECT_EQ(Shed(TooMuch(), GuardSettings()), 0) << "it is not allowed";
}

// An instance that is full shows what it carries, whatever is said of it.
TEST(Shed, WhatIsServedIsBelievedWhereAllAreFull) {
  SplitObservation said_too_large = TooMuch();
  said_too_large.ready_rps = 300;
  EXPECT_NEAR(Shed(said_too_large), 1 - 0.9 * 200 / 300, 1e-12) << "200 are served";
  said_too_large.measured_s = 9;
  EXPECT_NEAR(Shed(said_too_large), 1 - 0.9 * 2'000.0 / 9 / 300, 1e-12);
  said_too_large.measured_s = 0;
  SplitObservation one_has_room = said_too_large;
  one_has_room.primary.failed = 0;
  EXPECT_EQ(Shed(one_has_room), 0) << "the split is what helps";
  SplitObservation broken = said_too_large;
  broken.shadow.p50_ms = 30;
  EXPECT_EQ(Shed(broken), 0) << "it fails, but not for its load";
  SplitObservation alone = said_too_large;
  alone.failed_over = true;
  alone.primary = {};
  alone.demand_rps = 150;
  EXPECT_NEAR(Shed(alone), 1 - 0.9 * 100 / 150, 1e-12);
}

TEST(Shed, NoMoreThanAllowed) {
  SplitObservation flood = TooMuch();
  flood.demand_rps = 3'000;
  flood.source_load = flood.source_load_next_p50 = 30;
  EXPECT_EQ(Shed(flood), 0.5);
  GuardSettings little = Settings();
  little.shed_max = 0.2;
  EXPECT_EQ(Shed(TooMuch(), little), 0.2);
}

// What is said is a start only: while the rest is served well more is let in, else less.
TEST(Shed, LearnsWhatIsCarried) {
  GuardMemory memory;
  double shed = Shed(TooMuch(), memory);
  for (int i = 1; i <= 8; ++i) {
    const double next = Shed(Refusing(shed), memory);
    EXPECT_NEAR(next, 1 - std::pow(1.03, i) * 0.9 * 200 / 300, 1e-12);
    shed = next;
  }
  SplitObservation harmed = TooMuch();
  harmed.shed = shed;
  EXPECT_GT(Shed(harmed, memory), shed + 0.02);
  for (int i = 0; i < 50; ++i) shed = Shed(harmed, memory);
  EXPECT_NEAR(shed, 0.5, 1e-12);
  EXPECT_EQ(memory.carries, 0.3) << "no less than that is believed";
}

TEST(Shed, EndsWithItsCauseAndIsForgotten) {
  GuardMemory memory;
  const double shed = Shed(TooMuch(), memory);
  Shed(Refusing(shed), memory);
  EXPECT_GT(memory.carries, 1);
  SplitObservation over = Refusing(shed);
  over.demand_rps = 180;
  over.source_load = over.source_load_next_p50 = 1.8;
  EXPECT_EQ(Shed(over, memory), 0);
  over.shed = 0;
  EXPECT_EQ(Shed(over, memory), 0);
  EXPECT_EQ(memory.carries, 1);
}

TEST(Shed, StaysWhereMeasurementsCease) {
  GuardMemory memory;
  SplitObservation stale = Refusing(0.3);
  stale.measured = false;
  EXPECT_EQ(Shed(stale, memory), 0.3);
  EXPECT_EQ(memory.carries, 1) << "nothing was learned";
  stale = TooMuch();
  stale.age_s = 1'000;
  EXPECT_EQ(Shed(stale, memory), 0);
}

TEST(Shed, SmallChangesAreNotWorthTelling) {
  GuardMemory memory;
  const double shed = Shed(TooMuch(), memory);
  SplitObservation wavers = Refusing(shed);
  wavers.primary.requests = wavers.shadow.requests = 10;  // too few to learn from
  wavers.demand_rps *= 1.01;
  EXPECT_EQ(Shed(wavers, memory), shed);
  wavers.demand_rps *= 1.05;
  EXPECT_GT(Shed(wavers, memory), shed + 0.01);
}

TEST(Shed, WhatIsLeftIsWhatTheSplitIsOf) {
  const SplitObservation left = Admitted(TooMuch(), 0.4);
  EXPECT_NEAR(left.demand_rps, 180, 1e-9);
  EXPECT_NEAR(left.source_load, 1.8, 1e-9);
  EXPECT_NEAR(SourceRps(left), 100, 1e-9) << "what the source carries is the same";
  EXPECT_NEAR(ComingRps(left), 180, 1e-9);
  EXPECT_EQ(left.ready_rps, 100);
}

// The rule told once more, from raw counts, over a million states that may be anything.
TEST(Shed, HoldsInAMillionRandomSteps) {
  std::mt19937_64 random(11);
  const auto uniform = [&] { return std::uniform_real_distribution<double>(0, 1)(random); };
  GuardMemory memory;
  SplitObservation o = TooMuch();
  int begun = 0, ended = 0, frozen = 0;
  for (int step = 0; step < 1'000'000; ++step) {
    if (step % 100 == 0) {
      memory = {};
      o.shed = 0;
      o.demand_rps = 1 + 500 * uniform();
    }
    o.split = uniform();
    o.demand_rps *= 0.8 + 0.4 * uniform();
    o.source_load = o.source_load_next_p50 = 3 * uniform();
    o.ready_rps = 300 * uniform();
    o.failed_over = uniform() < 0.1;
    o.age_s = uniform() < 0.02 ? 1'000 : 0;
    const auto fill = [&](Measured& m, double share) {
      m = {.p50_ms = 40, .p99_ms = 200};
      m.requests = std::floor((1 - o.shed) * o.demand_rps * o.interval_s * share);
      m.failed = uniform() < 0.6 ? std::floor(m.requests * uniform()) : 0;
      m.slow = std::floor((m.requests - m.failed) * uniform());
    };
    fill(o.primary, o.failed_over ? 0 : 1 - o.split);
    fill(o.shadow, o.failed_over ? 1 : o.split);
    const double before = o.shed;
    const double shed = Shed(o, memory);
    ASSERT_GE(shed, 0);
    ASSERT_LE(shed, 0.5);
    o.shed = shed;
    if (o.age_s > 100) {
      ASSERT_EQ(shed, before) << "nothing is known, nothing changes";
      ++frozen;
      continue;
    }
    const double requests = o.primary.requests + o.shadow.requests;
    const double failed = o.primary.failed + o.shadow.failed;
    const double harm = 2 * failed + o.primary.slow + o.shadow.slow;
    const double source_rps = o.failed_over ? 0 : o.demand_rps / o.source_load;
    if (before == 0 && shed > 0) {
      ++begun;
      ASSERT_GT(failed, 0.05 * requests);
      ASSERT_GT(harm, 2 * shed * requests) << "more would be refused than comes to harm";
      const double served_rps = (requests - failed) / o.interval_s;
      ASSERT_GT(o.demand_rps, std::min(source_rps + o.ready_rps, served_rps));
    }
    ASSERT_TRUE(shed == 0 || o.demand_rps > 0.3 * (source_rps + o.ready_rps))
        << "what is asked for is surely carried";
    if (before > 0 && shed == 0) ++ended;
  }
  EXPECT_GT(begun, 10'000);
  EXPECT_GT(ended, 10'000);
  EXPECT_GT(frozen, 10'000);
}

}  // namespace
}  // namespace foreshadow
