#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "models/registry.h"
#include "training/simulate/ledger.h"
#include "training/simulate/study.h"
#include "training/simulate/summary.h"

namespace foreshadow::training {
namespace {

Trace FlatTrace(std::vector<double> cpu, int64_t steps) {
  Trace trace;
  trace.step_ms = 300'000;
  trace.steps = steps;
  for (size_t a = 0; a < cpu.size(); ++a) {
    trace.accounts.push_back({"a" + std::to_string(a), "cell", ""});
  }
  trace.values.assign(static_cast<size_t>(steps * trace.series()), NAN);
  for (int64_t t = 0; t < steps; ++t) {
    for (size_t a = 0; a < cpu.size(); ++a) {
      trace.values[t * trace.series() + static_cast<int64_t>(a) * kSignals] =
          static_cast<float>(cpu[a]);
    }
  }
  return trace;
}

Cell CellOf(const std::string& id, double cores) { return {id, "zone", CellState::kUp, {cores}}; }

absl::StatusOr<std::vector<WorldResult>> Study(const Trace& trace, const StudyOptions& options) {
  return RunStudy(MakeDemand(trace, {}), options, [](int64_t, int64_t, const std::string&) {});
}

// 6 cores are asked of 4 for an hour: 2 core-hours are not served, 12 steps of one of two cells.
TEST(Ledger, CountsWhatIsNotServed) {
  StudyOptions options;
  options.policies = {"none"};
  options.settings = {{}};
  options.own_cells = {CellOf("cell", 4), CellOf("other", 4)};
  const auto results = Study(FlatTrace({3, 3}, 12), options);
  ASSERT_TRUE(results.ok()) << results.status();
  const Metrics& m = (*results)[0].metrics;
  EXPECT_NEAR(m.demand[0], 6, 1e-9);
  EXPECT_NEAR(m.unserved[0], 2, 1e-9);
  EXPECT_NEAR(m.UnservedShare(), 1.0 / 3, 1e-9);
  EXPECT_NEAR(m.overload_minutes, 60, 1e-9);
  EXPECT_NEAR(m.overloaded_core_hours, 4, 1e-9);
  EXPECT_NEAR(m.account_overload_minutes, 120, 1e-9);
  EXPECT_NEAR(m.tail_unserved_share, 1.0 / 3, 1e-9);
  EXPECT_NEAR(m.cost(), 100 * 2 + 0.1 * 4, 1e-9);
  EXPECT_NEAR(m.time_over_full, 1, 1e-9);
  // Two servers at full load and two idle, an hour.
  EXPECT_NEAR(m.energy_kwh, (2 * 135 + 2 * 93.7) / 1'000, 1e-9);
  EXPECT_EQ(m.moves, 0);
  ASSERT_EQ(m.episodes.size(), 1u);
  EXPECT_EQ(m.episodes[0].end_step, 11);
  EXPECT_FALSE(m.episodes[0].covered);
}

// Two cores for a step at a shadow: its own until its cell has made it the primary.
TEST(Ledger, WhatAPrimaryServesIsNoShadows) {
  const Demand demand = MakeDemand(FlatTrace({2}, 1), {});
  WorldOptions options;
  options.cells = {CellOf("cell", 4), CellOf("other", 4)};
  options.cell_of = {0};
  Shadow shadow;
  shadow.instance_id = "shadow";
  shadow.account = 0;
  shadow.source = 0;
  shadow.target = 1;
  shadow.state = ShadowState::kPromoting;
  shadow.split = 1;
  const auto shadow_core_hours = [&](bool is_primary) {
    SimWorld world(options, demand);
    world.Put("shadow",
              {.source = 0, .target = is_primary ? 0 : 1, .exists = true, .running = true});
    Ledger ledger(demand, options, 0);
    ledger.Settle(0, {shadow}, {0}, world);
    return ledger.Finish().shadow_core_hours;
  };
  EXPECT_NEAR(shadow_core_hours(false) - shadow_core_hours(true), 2.0 / 12, 1e-9);
}

// Two accounts double at step 24, more than their cell has. One of them left it long before: in the
// world where nothing is ever done that overload comes all the same, and here it is prevented,
// unless it comes back, or another takes its place.
TEST(Ledger, WhatLeavingPreventsIsSeenInTheWorldWithoutIt) {
  Trace trace = FlatTrace({1.5, 1.5, 1.5}, 48);
  for (int64_t t = 24; t < 48; ++t) {
    for (int64_t a = 0; a < 2; ++a) trace.values[t * trace.series() + a * kSignals] = 3;
  }
  const Demand demand = MakeDemand(trace, {});
  WorldOptions options;
  options.cells = {CellOf("cell", 4), CellOf("other", 4), CellOf("third", 4)};
  options.cell_of = {0, 0, 2};
  const auto metrics = [&](int64_t leaves, int64_t returns, int64_t comes) {
    SimWorld world(options, demand);
    Ledger ledger(demand, options, 0);
    for (int64_t t = 0; t < 48; ++t) {
      ledger.Settle(t, {}, {0, t >= leaves && t < returns ? 1 : 0, t >= comes ? 0 : 2}, world);
    }
    return ledger.Finish();
  };
  const Metrics stays = metrics(48, 48, 48);
  ASSERT_EQ(stays.episodes_of_none.size(), 1u);
  EXPECT_EQ(stays.episodes_of_none[0].onset_step, 24);
  EXPECT_EQ(stays.episodes_of_none[0].end_step, 47);
  EXPECT_FALSE(stays.episodes_of_none[0].prevented);
  EXPECT_EQ(stays.episodes.size(), 1u);

  const Metrics leaves = metrics(5, 48, 48);
  ASSERT_EQ(leaves.episodes_of_none.size(), 1u);
  EXPECT_TRUE(leaves.episodes_of_none[0].prevented);
  EXPECT_FALSE(leaves.episodes_of_none[0].covered);
  EXPECT_EQ(leaves.episodes.size(), 0u);

  EXPECT_FALSE(metrics(5, 40, 48).episodes_of_none.at(0).prevented);
  EXPECT_FALSE(metrics(5, 48, 30).episodes_of_none.at(0).prevented);
}

TEST(Coverage, CountsWhatCameInTime) {
  Coverage coverage;
  coverage.Add({.foreseeable = true}, true);
  coverage.Add({.foreseeable = true}, false);
  coverage.Add({.foreseeable = true}, false);
  coverage.Add({.foreseeable = false}, true);
  EXPECT_DOUBLE_EQ(coverage.percent(), 50);
  EXPECT_DOUBLE_EQ(coverage.foreseeable_percent(), 75);
  EXPECT_DOUBLE_EQ(coverage.of_foreseeable_percent(), 100.0 / 3);
  EXPECT_EQ(Coverage().percent(), 0);
}

TEST(Ledger, PowerIsInterpolated) {
  EXPECT_NEAR(Watts(0, 2), 93.7, 1e-9);
  EXPECT_NEAR(Watts(1, 2), 116, 1e-9);
  EXPECT_NEAR(Watts(1.1, 2), (116 + 121) / 2.0, 1e-9);
  EXPECT_NEAR(Watts(5, 2), 135, 1e-9);
  EXPECT_NEAR(Watts(20, 40), 20 * 116, 1e-9);
  EXPECT_EQ(Watts(1, 0), 0);
}

// The oracle sees the jump an hour ahead, moves one account in time and nothing is lost.
TEST(Study, TheOracleIsInTime) {
  Trace trace = FlatTrace({1, 1}, 48);
  for (int64_t t = 24; t < 48; ++t) {
    trace.values[t * trace.series()] = 3;
    trace.values[t * trace.series() + kSignals] = 3;
  }
  StudyOptions options;
  options.policies = {"none", "reactive", "oracle"};
  options.settings = {{}};
  options.own_cells = {CellOf("cell", 4), CellOf("other", 4)};
  const auto results = Study(trace, options);
  ASSERT_TRUE(results.ok()) << results.status();
  const Metrics& none = (*results)[0].metrics;
  const Metrics& reactive = (*results)[1].metrics;
  const Metrics& oracle = (*results)[2].metrics;
  EXPECT_NEAR(none.unserved[0], 2.0 * 24 / 12, 1e-9);
  EXPECT_EQ(oracle.unserved[0], 0);
  EXPECT_EQ(oracle.moves, 1);
  EXPECT_EQ(oracle.false_shadows, 0);
  EXPECT_TRUE(oracle.episodes.at(0).covered);
  EXPECT_GT(oracle.episodes.at(0).lead_min, 10);
  // Two steps over the threshold, one to create it running: 3 steps of 2 cores, and the CPU that
  // copying takes in both cells while they are full.
  EXPECT_GE(reactive.unserved[0], 2.0 * 3 / 12 - 1e-9);
  EXPECT_LE(reactive.unserved[0], 2.0 * 3 / 12 + 0.01);
  EXPECT_EQ(reactive.broken + oracle.broken, 0);
  const std::vector<double> skill =
      Skills(*results, "none", "reactive", "oracle", [](const Setting&) { return true; });
  ASSERT_EQ(skill.size(), 1u);
  EXPECT_LT(skill[0], 0);
}

// Nobody foresees what rises once for all, here from half of a cell to all of it and more. One that
// stands nearly full is relieved all the same, as the reactive rule would.
TEST(Study, BlindForecastsDoNoWorseThanTheReactiveRule) {
  Trace trace = FlatTrace({1, 1}, 60);
  for (int64_t t = 24; t < 60; ++t) {
    for (int64_t a = 0; a < 2; ++a) {
      trace.values[t * trace.series() + a * kSignals] = t < 32 ? 1.65F : t < 40 ? 1.9F : 2.1F;
    }
  }
  StudyOptions options;
  options.policies = {"reactive", "foreshadow"};
  options.settings = {{}};
  options.own_cells = {CellOf("cell", 4), CellOf("other", 4)};
  options.models = {*models::MakeModel("seasonal-naive", "")};
  const auto unserved = [&](const char* policy) {
    const auto results = Study(trace, options);
    EXPECT_TRUE(results.ok()) << results.status();
    const auto of = [&](const WorldResult& r) { return r.policy == policy; };
    return std::ranges::find_if(*results, of)->metrics.unserved[0];
  };
  EXPECT_EQ(unserved("reactive"), 0);
  EXPECT_EQ(unserved("foreshadow"), 0);
  options.core.guard.nearly_full_fleet_max = 0;
  EXPECT_GT(unserved("foreshadow"), 0);
  EXPECT_EQ(unserved("reactive"), 0);
}

StudyOptions SmallStudy(std::vector<std::string> policies, uint64_t seed) {
  StudyOptions options;
  options.policies = std::move(policies);
  options.settings = {{1.3, kCreateMs, 20, seed}};
  options.cells = 4;
  return options;
}

// Nothing after a step may change what was decided up to it; the oracle shows that this would be
// seen.
TEST(Study, NoPolicySeesTheFuture) {
  constexpr int64_t kCut = 60;
  Trace trace = MakeRegime(Regime::kCrowds, 40, 100, 3);
  Trace scrambled = trace;
  ScrambleAfter(scrambled, kCut, 5);
  StudyOptions options =
      SmallStudy({"reactive", "hpa", "mad", "iqr", "lr", "linear", "holt-winters", "mean-sigma",
                  "median-sigma", "seasonal-naive", "foreshadow", "oracle"},
                 1);
  // Capacity comes from the trace's mean: the same for both.
  options.own_cells = {CellOf("synthetic-cell", 20), CellOf("b", 20), CellOf("c", 20)};
  const auto one = Study(trace, options);
  const auto two = Study(scrambled, options);
  ASSERT_TRUE(one.ok()) << one.status();
  ASSERT_TRUE(two.ok());
  for (size_t i = 0; i < one->size(); ++i) {
    SCOPED_TRACE((*one)[i].policy);
    const bool same = (*one)[i].digests[kCut] == (*two)[i].digests[kCut];
    EXPECT_EQ(same, (*one)[i].policy != "oracle");
    EXPECT_NE((*one)[i].digests.back(), (*two)[i].digests.back());
  }
}

// Forecasts shared by many worlds lead to the decisions of a tick that makes its own.
TEST(Study, SharedForecastsDecideAlike) {
  const Trace trace = MakeRegime(Regime::kCrowds, 40, 60, 4);
  StudyOptions options = SmallStudy({"foreshadow"}, 2);
  const auto shared = Study(trace, options);
  options.live = true;
  const auto live = Study(trace, options);
  ASSERT_TRUE(shared.ok() && live.ok());
  EXPECT_EQ((*shared)[0].digests, (*live)[0].digests);
  EXPECT_GT((*shared)[0].metrics.created, 0);
}

// Crowds on a season of two hours, with models that know the season but no crowd: what an ablation
// takes away is missed.
TEST(Study, EachAblationDecidesOtherwise) {
  Trace trace = MakeRegime(Regime::kCrowds, 40, 240, 7);
  for (int64_t t = 0; t < trace.steps; ++t) {
    for (int64_t a = 0; a < 40; ++a) {
      const int64_t phase = a / 10 * 6;  // of ten accounts together
      const double angle = 2 * M_PI * static_cast<double>(t + phase) / 24;
      trace.values[t * trace.series() + a * kSignals] *= static_cast<float>(1 + 0.6 * sin(angle));
    }
  }
  StudyOptions options =
      SmallStudy({"foreshadow", "no-analysis", "no-calibration", "no-cell-errors", "no-surprises",
                  "no-local-search", "no-advice", "no-hold", "no-early-resume", "no-promotion",
                  "no-cool-down", "no-present"},
                 1);
  options.settings = {{1.1, kCreateMs, 20, 1}, {1.3, kCreateMs, 20, 1}, {1.6, kCreateMs, 20, 1}};
  options.models.clear();
  for (const char* name : {"seasonal-naive", "last-hour-median"}) {
    options.models.push_back(*models::MakeModel(name, ""));
  }
  const auto results = Study(trace, options);
  ASSERT_TRUE(results.ok()) << results.status();
  const size_t worlds = options.settings.size();
  for (size_t first = worlds; first < results->size(); first += worlds) {
    bool otherwise = false;
    for (size_t i = 0; i < worlds; ++i) {
      otherwise |= (*results)[first + i].digests.back() != (*results)[i].digests.back();
    }
    EXPECT_TRUE(otherwise) << (*results)[first].policy;
  }
}

// Small worlds of every kind, with failures, outages and lost samples: one shadow an account, the
// split within bounds, never traffic to what does not run, no more episodes than steps.
TEST(Study, InvariantsHoldInRandomWorlds) {
  int64_t moves = 0;
  const char* kPolicies[] = {"reactive", "lr", "linear", "mean-sigma", "oracle", "last-value"};
  for (uint64_t seed = 0; seed < 10'000; ++seed) {
    SCOPED_TRACE(seed);
    const Trace trace = MakeRegime(seed % 2 == 0 ? Regime::kSteps : Regime::kCrowds,
                                   4 + static_cast<int>(seed % 13), 30, seed);
    StudyOptions options = SmallStudy({kPolicies[seed % 6]}, seed);
    options.cells = 2 + static_cast<int>(seed % 3);
    options.settings[0].headroom = 0.8 + 0.1 * static_cast<double>(seed % 9);
    options.failure_chance = seed % 4 == 0 ? 0.3 : 0;
    Telemetry telemetry{0.05, 0.1, static_cast<int64_t>(seed % 2), seed};
    const auto results = RunStudy(MakeDemand(trace, telemetry), options,
                                  [](int64_t, int64_t, const std::string&) {});
    ASSERT_TRUE(results.ok()) << results.status();
    const Metrics& m = (*results)[0].metrics;
    EXPECT_EQ(m.broken, 0);
    EXPECT_LE(m.unserved[0], m.demand[0]);
    EXPECT_LE(m.ping_pong, m.moves);
    moves += m.moves;
    if (::testing::Test::HasFailure()) break;
  }
  EXPECT_GT(moves, 8'000);
}

TEST(Rules, AreTheTextbookOnes) {
  EXPECT_DOUBLE_EQ(QuantileOf({1, 2, 3, 4}, 0.25), 1.75);  // R: quantile(1:4, 0.25)
  EXPECT_DOUBLE_EQ(MedianOf({5, 1, 3}), 3);
  // A line is regressed to itself, whatever the weights.
  const std::vector<double> line = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  EXPECT_NEAR(LocalRegression(line, 1), 11, 1e-9);
  EXPECT_EQ(MakeRule("no such rule"), nullptr);
}

// M/M/1 in its textbook form at one server: 1 / (1 - u); a queue that grows by half of the step's
// demand makes requests wait a quarter of the step on average.
TEST(Latency, IsThatOfTheQueue) {
  EXPECT_NEAR(Slowdown(0.5, 1, 300'000), 2, 1e-9);
  EXPECT_NEAR(Slowdown(0, 10, 300'000), 1, 1e-9);
  EXPECT_NEAR(Slowdown(1.5, 1, 300'000), 1 + 0.99 / 0.01 + 75'000 / kServiceMs, 1);
}

TEST(Reliability, IsThatOfItsDefinition) {
  Reliability r;
  for (int i = 0; i < 10; ++i) r.Add(0.25, i < 4);
  EXPECT_NEAR(r.ece(), 0.15, 1e-12);
  EXPECT_NEAR(r.brier(), 0.4 * 0.75 * 0.75 + 0.6 * 0.25 * 0.25, 1e-12);
}

TEST(Study, RefusesWhatThereIsNot) {
  StudyOptions options = SmallStudy({"guess"}, 1);
  const auto results = Study(FlatTrace({1, 2}, 12), options);
  EXPECT_EQ(results.status().code(), absl::StatusCode::kInvalidArgument);
  options.policies = {"none"};
  options.own_cells = {CellOf("elsewhere", 4)};
  EXPECT_EQ(Study(FlatTrace({1, 2}, 12), options).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(Bootstrap, HoldsTheMedian) {
  const Interval i = Bootstrap({1, 2, 3, 4, 5, 6, 7, 8, 9}, 1);
  EXPECT_EQ(i.median, 5);
  EXPECT_LT(i.low, 5);
  EXPECT_GT(i.high, 5);
  EXPECT_EQ(Bootstrap({}, 1).count, 0);
}

}  // namespace
}  // namespace foreshadow::training
