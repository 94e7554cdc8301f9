#include "training/router/world.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <set>

#include "training/router/episode.h"
#include "training/router/policy.h"

namespace foreshadow::training::router {
namespace {

// Chance that a request of M/M/c has to wait (Erlang 1917), offered load a = rate * service.
double ErlangC(int servers, double a) {
  double term = 1;
  double sum = 1;
  for (int k = 1; k < servers; ++k) sum += term *= a / k;
  const double last = term * a / servers / (1 - a / servers);
  return last / (sum + last);
}

Scenario Steady(double load, double timeout_ms) {
  Scenario s;
  s.duration_s = 20'000;
  s.timeout_ms = timeout_ms;
  s.demand_rps = s.foreseen_rps = Profile(load * s.primary_rps());
  s.seed = 3;
  return s;
}

// The simulator draws; the formulas of M/M/c do not.
TEST(SplitWorld, WaitsLikeErlangsFormula) {
  for (const double load : {0.5, 0.8, 0.9}) {
    const Scenario s = Steady(load, 1e9);
    SplitWorld world(s);
    std::vector<float> latencies_ms;
    world.KeepLatencies(&latencies_ms);
    while (!world.over()) world.Advance(0);
    const double mean =
        std::accumulate(latencies_ms.begin(), latencies_ms.end(), 0.0) / latencies_ms.size();
    const int c = s.primary_servers;
    const double expected = s.service_ms + ErlangC(c, load * c) * s.service_ms / (c * (1 - load));
    EXPECT_NEAR(mean, expected, 0.03 * expected) << "load " << load;
  }
}

// A split of a Poisson stream is two of them: each side is an M/M/c queue of its own.
TEST(SplitWorld, EachSideHasItsShare) {
  Scenario s = Steady(1.2, 1e9);
  SplitWorld world(s);
  double primary = 0;
  double shadow = 0;
  while (!world.over()) {
    const Interval i = world.Advance(0.4);
    primary += i.primary.requests;
    shadow += i.shadow.requests;
  }
  EXPECT_NEAR(shadow / (primary + shadow), 0.4, 0.002);
}

// What is refused failed, and never waited: both sides are M/M/c queues of what is left.
TEST(SplitWorld, ARefusedShareReachesNobody) {
  SplitWorld world(Steady(2, 1e9));
  double served = 0;
  double refused = 0;
  Interval last;
  while (!world.over()) {
    last = world.Advance(0.5, 0.25);
    served += last.primary.requests + last.shadow.requests;
    refused += last.refused;
  }
  EXPECT_NEAR(refused / (served + refused), 0.25, 0.002);
  EXPECT_LT(last.primary.p50_ms, 1'000) << "three quarters of what both carry";
  EXPECT_EQ(last.p99_ms, 1e9) << "a refused request is a failed one";
  EXPECT_GT(last.cost, 2 * 0.2);
  EXPECT_EQ(world.Observe().shed, 0.25);
  EXPECT_EQ(world.Observe().demand_rps, world.scenario().demand_rps.At(0))
      << "asked for, all of it";
}

TEST(SplitWorld, SameSeedSameEpisodeAndACopyGoesOnAlike) {
  const Scenario s = MakeScenario("cold-shadow", 5);
  SplitWorld world(s);
  for (int i = 0; i < 20; ++i) world.Advance(0.3);
  SplitWorld copy = world;
  for (int i = 0; i < 20; ++i) {
    const Interval a = world.Advance(0.5);
    const Interval b = copy.Advance(0.5);
    ASSERT_EQ(a.cost, b.cost);
    ASSERT_EQ(a.p99_ms, b.p99_ms);
  }
  EXPECT_NE(MakeScenario("surge", 1).demand_rps.At(400),
            MakeScenario("surge", 2).demand_rps.At(400));
}

TEST(SplitWorld, AColdShadowWarmsByWhatItServes) {
  Scenario s = Steady(0.5, 2'000);
  s.cold_extra = 3;
  s.cold_requests = 500;
  SplitWorld world(s);
  const double cold_ms = world.Advance(0.5).shadow.p50_ms;
  for (int i = 0; i < 50; ++i) world.Advance(0.5);
  const Interval warm = world.Advance(0.5);
  EXPECT_GT(cold_ms, 2 * warm.shadow.p50_ms);
  EXPECT_NEAR(warm.shadow.p50_ms, s.service_ms * std::log(2.0), 6);
}

TEST(SplitWorld, AFailingFastShadowLooksFastAndCosts) {
  const Scenario s = MakeScenario("failing-fast", 3);
  SplitWorld world(s);
  Interval i;
  for (int k = 0; k < 5; ++k) i = world.Advance(0.5);
  EXPECT_GT(i.shadow.failed, 0.1 * i.shadow.requests);
  EXPECT_GT(i.p99_ms, s.timeout_ms - 1);
  SplitWorld other(s);
  Interval without;
  for (int k = 0; k < 5; ++k) without = other.Advance(0);
  EXPECT_GT(i.cost, without.cost);
}

TEST(SplitWorld, StaleMeasurementsAgeAndStay) {
  Scenario s = Steady(0.5, 2'000);
  s.stale_from_s = 50;
  s.stale_to_s = 100;
  SplitWorld world(s);
  for (int i = 0; i < 5; ++i) world.Advance(0.2);
  const SplitObservation before = world.Observe();
  for (int i = 0; i < 4; ++i) world.Advance(0.2);
  const SplitObservation stale = world.Observe();
  EXPECT_EQ(stale.age_s, 40);
  EXPECT_EQ(stale.shadow.requests, before.shadow.requests);
  world.Advance(0.2);
  world.Advance(0.2);
  EXPECT_EQ(world.Observe().age_s, 0);
}

TEST(SplitWorld, StickySessionsFollowLate) {
  Scenario s = Steady(0.5, 2'000);
  s.sticky_s = 60;
  SplitWorld world(s);
  const double first = world.Advance(1).share;
  EXPECT_LT(first, 0.2);
  for (int i = 0; i < 30; ++i) world.Advance(1);
  EXPECT_GT(world.Advance(1).share, 0.95);
}

TEST(SplitWorld, ADeadPrimaryFailsOverWhoeverDecides) {
  Scenario s = Steady(0.5, 2'000);
  s.primary_failed.Set(25, 1e6, 1, 0);
  SplitWorld world(s);
  world.Advance(0);
  world.Advance(0);
  const Interval crossing = world.Advance(0);
  EXPECT_LE(crossing.primary.failed, 1);
  EXPECT_EQ(world.Advance(0).share, 1);
}

TEST(Rules, TwentyFamiliesAtLeastAndEveryRulePlaysThem) {
  EXPECT_GE(ScenarioFamilies().size(), 20u);
  const std::set<std::string_view> names(ScenarioFamilies().begin(), ScenarioFamilies().end());
  EXPECT_EQ(names.size(), ScenarioFamilies().size());
  for (const std::string_view family : ScenarioFamilies()) {
    for (const std::string_view rule : RuleNames()) {
      Scenario s = MakeScenario(family, 11);
      s.duration_s = 200;
      const auto policy = MakeRule(rule);
      ASSERT_NE(policy, nullptr);
      const EpisodeResult r = RunEpisode(s, *policy);
      EXPECT_GT(r.requests, 0) << family << " " << rule;
      EXPECT_GE(r.cost, 0) << family << " " << rule;
      EXPECT_LE(r.p99_ms, s.timeout_ms) << family << " " << rule;
    }
  }
}

TEST(Rules, ShadowsHelpInASurgeAndTheOracleMost) {
  const Scenario s = MakeScenario("surge", 21);
  const double none = RunEpisode(s, *MakeRule("none")).cost;
  const double proportional = RunEpisode(s, *MakeRule("proportional")).cost;
  EXPECT_LT(proportional, 0.5 * none);
  const double oracle = RunOracle(s, false).cost;
  EXPECT_LE(oracle, proportional * 1.02);
  const double railed = RunOracle(s, true).cost;
  EXPECT_GE(railed, oracle * 0.98);
  EXPECT_LE(railed, 1.02 * RunEpisode(s, *MakeRule("proportional-guarded")).cost);
}

TEST(Rules, WithinTheRailsAWishIsFollowedAsFarAsTheyGo) {
  SplitObservation o;
  o.split = 0.3;
  o.measured = true;
  o.demand_rps = 100;
  o.source_load = o.source_load_next_p50 = 0.8;
  o.ready_rps = 200;
  o.primary = {.requests = 700, .p50_ms = 40, .p99_ms = 200};
  o.shadow = {.requests = 300, .p50_ms = 40, .p99_ms = 200};
  const auto within = [&](double wanted) {
    GuardMemory memory;
    const ShadowVerdict verdict = Remember(o, {}, memory);
    return WithinRails(Allow(o, {}, memory, verdict), o.split, wanted);
  };
  EXPECT_EQ(within(0.37), 0.37);
  EXPECT_NEAR(within(1), 0.6, 1e-9) << "twice what was shown";
  EXPECT_EQ(within(0.05), 0.05);
  o.age_s = 100;
  EXPECT_EQ(within(1), 0.3);
  EXPECT_EQ(within(0), 0.3);
  o.age_s = 0;
  o.shadow.slow = 60;
  EXPECT_NEAR(within(1), 0.2, 1e-9) << "it is worse: it falls, whatever is wanted";
  o.shadow.failed = 150;
  EXPECT_EQ(within(1), 0);
}

}  // namespace
}  // namespace foreshadow::training::router
