// The guard rails of the split, held against a second telling of them.
#include "service/learn/guard.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace foreshadow {
namespace {

using testing::HasSubstr;

SplitObservation Healthy(double split) {
  SplitObservation o;
  o.split = split;
  o.measured = true;
  o.demand_rps = 100;
  o.source_load = o.source_load_next_p50 = 0.8;
  o.ready_rps = 150;
  o.primary = {.requests = 1'000 * (1 - split), .p50_ms = 40, .p99_ms = 200};
  o.shadow = {.requests = 1'000 * split, .p50_ms = 40, .p99_ms = 200};
  if (split == 0) o.shadow = {};
  return o;
}

double Best(const GuardState& state) {
  double best = 0;
  for (int a = 0; a < kSplitActions; ++a) {
    if (state.allowed[a]) best = std::max(best, state.split[a]);
  }
  return best;
}

GuardState Step(const SplitObservation& o, GuardMemory& memory, const GuardSettings& s = {}) {
  return Allow(o, s, memory, Remember(o, s, memory));
}

TEST(Guard, TheFirstSplitIsSmallAndEachNextAtMostDoubles) {
  GuardMemory memory;
  double split = 0;
  std::vector<double> path;
  for (int i = 0; i < 6; ++i) {
    const GuardState state = Step(Healthy(split), memory);
    Moved(split, Best(state), memory);
    split = Best(state);
    path.push_back(split);
  }
  EXPECT_THAT(path, testing::ElementsAre(0.1, testing::DoubleNear(0.2, 1e-9),
                                         testing::DoubleNear(0.4, 1e-9),
                                         testing::DoubleNear(0.8, 1e-9), 1, 1));
}

// Only a fifth of the sessions end in an interval: the split runs ahead, the traffic doubles.
TEST(Guard, WhereSessionsStayTheTrafficDoublesNotTheSplit) {
  constexpr double kFollows = 0.2;
  GuardMemory memory;
  double split = 0;
  double share = 0;
  std::vector<double> splits;
  for (int i = 0; i < 12; ++i) {
    SplitObservation o = Healthy(split);
    o.primary.requests = 1'000 * (1 - share);
    o.shadow.requests = 1'000 * share;
    const GuardState state = Step(o, memory);
    Moved(split, Best(state), memory);
    split = Best(state);
    splits.push_back(split);
    const double next = share + kFollows * (split - share);
    EXPECT_LE(next, std::max(2 * share, 0.1)) << "after " << i;
    if (i == 3) {
      EXPECT_GT(split, 3 * share);  // and so it rises before the share has reached it
    }
    share = next;
  }
  EXPECT_EQ(splits[1], 0.1);  // too few requests yet
  EXPECT_GT(splits[2], 0.1);
  EXPECT_EQ(splits.back(), 1);
  EXPECT_GT(share, 0.75);
}

TEST(Guard, WithoutEnoughRequestsNothingRises) {
  SplitObservation o = Healthy(0.1);
  o.shadow.requests = 29;
  o.demand_rps = 29;
  GuardMemory memory;
  GuardState state = Step(o, memory);
  EXPECT_EQ(state.verdict, ShadowVerdict::kInconclusive);
  EXPECT_EQ(Best(state), 0.1);
  EXPECT_THAT(std::string(state.reason), HasSubstr("too few"));
  // They add up over intervals: low traffic is judged too, only later.
  state = Step(o, memory);
  EXPECT_EQ(state.verdict, ShadowVerdict::kGood);
  EXPECT_GT(Best(state), 0.1);
}

TEST(Guard, AShadowThatFailsFastGetsNothingAtOnce) {
  SplitObservation o = Healthy(0.4);
  o.shadow.failed = 200;
  o.shadow.p50_ms = 1;
  o.shadow.p99_ms = 2;
  EXPECT_EQ(EffectiveP99(o.shadow, o.timeout_ms), o.timeout_ms);
  GuardMemory memory;
  const GuardState state = Step(o, memory);
  EXPECT_EQ(state.verdict, ShadowVerdict::kFailing);
  EXPECT_EQ(Best(state), 0);
  // Or as far as the source has room for what comes back: the rest is the policy's choice.
  SplitObservation full = o;
  full.source_load = 1.2;
  GuardMemory other;
  const GuardState lesser = Step(full, other);
  EXPECT_NEAR(Best(lesser), 0.3, 1e-9);
  EXPECT_NEAR(lesser.floor, 1 - 0.95 / 1.2, 1e-9);
  EXPECT_TRUE(lesser.allowed[static_cast<int>(SplitAction::kZero)]);
  // And stays off for a while, longer each time.
  SplitObservation off = Healthy(0);
  off.primary.requests = 1'000;
  int waited = 0;
  while (Best(Step(off, memory)) == 0) ++waited;
  EXPECT_EQ(waited, 2);  // 30 s of 10 s each: the third is free
  Step(o, memory);
  waited = 0;
  while (Best(Step(off, memory)) == 0) ++waited;
  EXPECT_EQ(waited, 5);
}

// Three ticks of one trial are one time: after it, a second trial waits 30 s, a third 60.
TEST(Guard, CoolingDoublesWithEachTrialNotWithEachTick) {
  SplitObservation worse = Healthy(0.4);
  worse.shadow.slow = 100;
  SplitObservation off = Healthy(0);
  off.primary.requests = 1'000;
  GuardMemory memory;
  for (const int waits : {2, 5, 11}) {
    for (int tick = 0; tick < 3; ++tick) {
      EXPECT_EQ(Step(worse, memory).verdict, ShadowVerdict::kWorse);
    }
    int waited = 0;
    while (Best(Step(off, memory)) == 0) ++waited;
    // Of the first two ticks' 20 s nothing is left below 30 s after the last.
    EXPECT_EQ(waited, std::max(2, waits - 2)) << "of " << waits;
  }
}

TEST(Guard, ReadyIsWhatTheShadowCarriesOfBothButWithinTheRails) {
  SplitObservation o = Healthy(0.4);
  o.source_load = o.source_load_next_p50 = 0.5;  // of 200 requests/s
  o.ready_rps = 120;
  GuardMemory memory;
  GuardState state = Step(o, memory);
  const int ready = static_cast<int>(SplitAction::kReady);
  EXPECT_NEAR(state.ready, 120.0 / 320, 1e-9);
  EXPECT_NEAR(state.split[ready], 120.0 / 320, 1e-9);
  memory.worse_rps = 50;  // where it was worse is more than it carries, whatever is said
  state = Allow(o, {}, memory, ShadowVerdict::kGood);
  EXPECT_NEAR(state.ready, 45.0 / 245, 1e-9);
  o.split = 0.05;
  o.ready_rps = 1'000;
  memory = {};
  state = Allow(o, {}, memory, ShadowVerdict::kGood);
  EXPECT_EQ(state.split[ready], state.ceiling);
}

TEST(Guard, AWorseShadowLosesTraffic) {
  SplitObservation o = Healthy(0.4);
  o.shadow.slow = 40;  // 10 % of 400
  GuardMemory memory;
  const GuardState state = Step(o, memory);
  EXPECT_EQ(state.verdict, ShadowVerdict::kWorse);
  EXPECT_LT(Best(state), 0.4);
  // Where the primary is as bad, it is no reason to go back there.
  o.primary.slow = 60;
  GuardMemory fresh;
  EXPECT_EQ(Step(o, fresh).verdict, ShadowVerdict::kUnproven);
  // And where it is far worse, more may go.
  o.primary.slow = 300;
  GuardMemory lesser_evil;
  EXPECT_EQ(Step(o, lesser_evil).verdict, ShadowVerdict::kGood);
}

// A source at 1.5 of what it carries serves nothing in time. Four tenths of its requests away, it
// serves the rest: less harm even at a shadow that fails half of them.
TEST(Guard, AFullSourceIsRelievedByTheLesserEvil) {
  SplitObservation o = Healthy(0);
  o.source_load = o.source_load_next_p50 = 1.5;
  o.primary.slow = 1'000;
  GuardMemory memory;
  EXPECT_EQ(Best(Step(o, memory)), 0.1) << "the first split, as ever";
  o.split = 0.1;
  o.primary = {.requests = 900, .slow = 900, .p50_ms = 1'000, .p99_ms = 1'900};
  o.shadow = {.requests = 100, .failed = 50, .p50_ms = 40, .p99_ms = 200};
  const GuardState state = Step(o, memory);
  EXPECT_EQ(state.verdict, ShadowVerdict::kFailing);
  EXPECT_NEAR(Best(state), 0.4, 1e-9) << "where the source is loaded by 0.9";
  EXPECT_THAT(std::string(state.reason), HasSubstr("no room"));
  // Even where that is more than the shadow is said to carry: of two that are too small the source
  // is kept whole, and what it has no room for need not fall.
  SplitObservation small = o;
  small.ready_rps = 30;
  GuardMemory of_small;
  GuardState both = Step(small, of_small);
  EXPECT_NEAR(Best(both), 0.4, 1e-9);
  EXPECT_NEAR(both.ready, 0.4, 1e-9);
  small.split = 0.36;
  both = Step(small, of_small);
  EXPECT_GT(small.split, both.limit);
  EXPECT_TRUE(both.allowed[static_cast<int>(SplitAction::kHold)]);
  // Away again, what it did is remembered, and counts as if all of it had failed.
  SplitObservation away = o;
  away.split = 0;
  away.shadow = {};
  EXPECT_EQ(Best(Step(away, memory)), 0.1);
  // Nothing of this where few are harmed, where the source has room, or where nobody knows.
  SplitObservation few = o;
  few.primary.slow = 100;
  GuardMemory of_few;
  EXPECT_EQ(Best(Step(few, of_few)), 0.1);
  SplitObservation room = o;
  room.source_load = room.source_load_next_p50 = 0.9;
  room.split = room.shadow.requests = room.shadow.failed = room.primary.slow = 0;
  GuardMemory of_room;
  Step(o, of_room);
  EXPECT_EQ(Best(Step(room, of_room)), 0);
  SplitObservation unknown = o;
  unknown.shadow.requests = 20;
  unknown.shadow.failed = 0;
  GuardMemory of_unknown;
  EXPECT_EQ(Best(Step(unknown, of_unknown)), 0.1);
}

TEST(Guard, ReadyIsNearlyAllWhereThePrimaryFailsMore) {
  SplitObservation o = Healthy(0.4);
  o.primary.failed = 60;  // of 600
  GuardMemory memory;
  GuardState state = Step(o, memory);
  EXPECT_NEAR(state.ready, 0.98, 1e-9);
  EXPECT_NEAR(state.split[static_cast<int>(SplitAction::kReady)], 0.8, 1e-9) << "in the rails";
  o.primary.failed = 0;  // recovered: what it failed is forgotten by and by, what it is counts
  state = Step(o, memory);
  EXPECT_NEAR(state.ready, 150.0 / (150 + 100 / 0.8), 1e-9);
  o.primary.failed = 60;
  o.shadow.failed = 40;  // of 400: no better
  GuardMemory alike;
  EXPECT_LT(Step(o, alike).ready, 0.9);
}

TEST(Guard, StaleOrImpossibleMeasurementsFreezeTheSplit) {
  const double inf = std::numeric_limits<double>::infinity();
  std::vector<SplitObservation> cases(5, Healthy(0.4));
  cases[0].age_s = 31;
  cases[1].shadow.p99_ms = inf;
  cases[2].shadow.p50_ms = 0;
  cases[3].shadow.failed = 401;  // more than all
  cases[4].measured = false;
  for (const SplitObservation& o : cases) {
    GuardMemory memory;
    const GuardState state = Step(o, memory);
    EXPECT_EQ(state.verdict, ShadowVerdict::kStale);
    for (int a = 0; a < kSplitActions; ++a) {
      EXPECT_EQ(state.allowed[a], a == static_cast<int>(SplitAction::kHold));
      EXPECT_EQ(state.split[a], 0.4);
    }
  }
}

TEST(Guard, WhatTheShadowIsSaidToCarryIsALimitThatFallsWithIt) {
  SplitObservation o = Healthy(0.8);
  o.ready_rps = 60;  // 90 % of it is 54 of 100 requests/s
  GuardMemory memory;
  const GuardState state = Step(o, memory);
  EXPECT_NEAR(state.limit, 0.54, 1e-9);
  EXPECT_LE(Best(state), 0.7 + 1e-9);
  EXPECT_LT(Best(state), 0.8);
  // Both together too small: shares as their capacities, 60 of 60 + 50.
  o.source_load = o.source_load_next_p50 = 2;
  GuardMemory fresh;
  EXPECT_NEAR(Step(o, fresh).limit, 60.0 / 110, 1e-9);
}

// Newcombe (1998), table I: 81 of 263, 15 of 148, 0 of 20.
TEST(Guard, ShareIntervalsAreThoseOfTheLiterature) {
  EXPECT_NEAR(WilsonInterval(81, 263).low, 0.2553, 1e-4);
  EXPECT_NEAR(WilsonInterval(81, 263).high, 0.3662, 1e-4);
  EXPECT_NEAR(WilsonInterval(15, 148).low, 0.0624, 1e-4);
  EXPECT_NEAR(WilsonInterval(15, 148).high, 0.1605, 1e-4);
  EXPECT_NEAR(WilsonInterval(0, 20).high, 0.1611, 1e-4);
}

// A policy that picks anything that is allowed, in a world that does anything: a million steps.
// The rails are told here once more, from the raw measurements and without the guard's words.
TEST(Guard, HoldsInAMillionRandomSteps) {
  const GuardSettings s;
  std::mt19937_64 random(7);
  const auto uniform = [&] { return std::uniform_real_distribution<double>(0, 1)(random); };
  GuardMemory memory;
  double split = 0;
  double share = 0;    // of the requests that the shadow has
  double follows = 1;  // of the way to the split that it goes in a step
  double seen = 0;     // at the shadow since the split last rose or the shadow was worse
  double harmed = 0;
  double best_rps = 0;   // that it ever served well with enough requests, in this episode
  double quiet_s = 1e9;  // since it failed
  double worst = 0;      // share that it harmed when it was last worse
  bool judged = false;   // it was worse in this episode
  int rises = 0;
  int evils = 0;
  int failures = 0;
  int frozen = 0;
  SplitObservation o = Healthy(0);
  for (int step = 0; step < 1'000'000; ++step) {
    if (step % 200 == 0) {
      memory = {};
      split = share = seen = harmed = best_rps = 0;
      follows = uniform() < 0.5 ? 1 : 0.1 + 0.9 * uniform();
      quiet_s = 1e9;
      worst = 0;
      judged = false;
      o = Healthy(0);
      o.demand_rps = 1 + 300 * uniform() * uniform();
      o.ready_rps = 300 * uniform();
    }
    o.split = split;
    o.demand_rps *= 0.9 + 0.2 * uniform();
    o.source_load = 2 * uniform();
    o.source_load_next_p50 = o.source_load;
    o.age_s = uniform() < 0.02 ? 100 : 0;
    o.measured = uniform() > 0.01;
    const auto fill = [&](Measured& m, double requests) {
      m.requests = std::floor(requests);
      m.failed = uniform() < 0.1 ? std::floor(m.requests * uniform()) : 0;
      m.slow = uniform() < 0.2 ? std::floor((m.requests - m.failed) * uniform() * uniform()) : 0;
      m.p50_ms = uniform() < 0.01 ? 0 : 40;
      m.p99_ms = uniform() < 0.01 ? NAN : 200;
    };
    share += follows * (split - share);
    fill(o.primary, o.demand_rps * o.interval_s * (1 - share));
    fill(o.shadow, o.demand_rps * o.interval_s * share);

    const ShadowVerdict verdict = Remember(o, s, memory);
    const GuardState state = Allow(o, s, memory, verdict);
    std::vector<int> options;
    for (int a = 0; a < kSplitActions; ++a) {
      if (state.allowed[a]) options.push_back(a);
    }
    ASSERT_FALSE(options.empty());
    const double next = state.split[options[random() % options.size()]];

    const bool answered = o.shadow.requests > o.shadow.failed;
    const bool primary_answered = o.primary.requests > o.primary.failed;
    const bool readable = (!answered || (o.shadow.p50_ms > 0 && !std::isnan(o.shadow.p99_ms))) &&
                          !std::isnan(o.shadow.p99_ms) && !std::isnan(o.primary.p99_ms) &&
                          (!primary_answered || o.primary.p50_ms > 0);
    const bool fresh = o.measured && o.age_s <= 30 && readable;
    ASSERT_GE(next, 0);
    ASSERT_LE(next, 1);
    if (!fresh) {
      ASSERT_EQ(next, split) << "stale measurements moved the split";
      ++frozen;
      quiet_s += o.interval_s;
      continue;
    }
    seen += o.shadow.requests;
    harmed += o.shadow.failed + o.shadow.slow;
    const double shadow_harm =
        o.shadow.requests > 0 ? (o.shadow.failed + o.shadow.slow) / o.shadow.requests : 0;
    const double primary_harm =
        o.primary.requests > 0 ? (o.primary.failed + o.primary.slow) / o.primary.requests : 0;
    if (primary_harm > 1.5 * worst) quiet_s = 1e9;  // it may be the lesser evil by now
    const bool serves = harmed <= 0.05 * seen && shadow_harm <= 0.05;
    const bool better = 1.5 * std::max(shadow_harm, harmed / std::max(seen, 1.0)) < primary_harm;
    const bool well = seen >= 30 && (serves || better);
    if (well) best_rps = std::max(best_rps, o.shadow.requests / o.interval_s);
    // 30 of 100 failed, where the primary fails nothing: surely more than a tenth.
    if (o.shadow.requests >= 100 && o.shadow.failed >= 0.3 * o.shadow.requests &&
        o.primary.requests >= 100 && o.primary.failed == 0) {
      if (o.source_load < 0.9) {
        ASSERT_EQ(next, 0) << "a failing shadow kept traffic";
        ++failures;
      }
      quiet_s = 0;
      worst = shadow_harm;
      seen = harmed = 0;
      best_rps = 0;
    } else {
      quiet_s += o.interval_s;
    }
    const bool ill = verdict == ShadowVerdict::kWorse || verdict == ShadowVerdict::kFailing;
    if (ill) {
      worst = shadow_harm;
      judged = true;
    }
    // Or the lesser evil: a full source that harms more than the shadow would for its relief.
    const auto harm = [](const Measured& m) {
      return m.requests > 0 ? (2 * m.failed + m.slow) / m.requests : 0;
    };
    const double relief = 1 - 0.9 / o.source_load;
    const bool many = o.shadow.requests >= 30;
    const double at_shadow = many ? harm(o.shadow) : 2 * worst;
    const bool lesser_evil = o.source_load > 1 && next <= relief + 1e-9 && (many || judged) &&
                             (relief - split) * at_shadow < (1 - split) * harm(o.primary);
    if (next > split) {
      ++rises;
      ASSERT_LE(next, split + 0.4 + 1e-9);
      const double at_next = share + follows * (next - share);
      const bool proven = !ill && quiet_s >= 30 &&
                          (next <= 0.1 || at_next * o.demand_rps <= 2 * best_rps * (1 + 1e-9)) &&
                          (well || split < 0.01);
      ASSERT_TRUE(proven || lesser_evil) << "rose without proof, or while it cooled";
      evils += proven ? 0 : 1;
      const double source_rps = o.demand_rps / o.source_load;
      const double fair = o.ready_rps / (o.ready_rps + source_rps);
      ASSERT_TRUE(next <= std::max(0.9 * o.ready_rps / o.demand_rps, fair) + 1e-9 || lesser_evil);
      ASSERT_TRUE(split >= 0.01 || next <= 0.1 + 1e-9) << "the first split is small";
      seen = harmed = 0;
    }
    if (ill) {
      if (split > 0 && o.source_load < 0.9) {
        ASSERT_LT(next, split);
      }
      seen = harmed = 0;
    }
    Moved(split, next, memory);
    split = next;
  }
  // The world was such that each rail was met often.
  EXPECT_GT(rises, 10'000);
  EXPECT_GT(evils, 1'000);
  EXPECT_GT(failures, 100);
  EXPECT_GT(frozen, 10'000);
}

}  // namespace
}  // namespace foreshadow
