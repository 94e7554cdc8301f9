// The parts of `foreshadow bench` that do not depend on how fast the machine is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "tests/unit/training/io/scratch.h"
#include "training/bench/growth.h"
#include "training/bench/print.h"

namespace foreshadow::training {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr Shape kSmall{.series = 20, .steps = 96, .period = 12};

TEST(Bench, MedianIsTheMiddleOrTheMeanOfTwo) {
  EXPECT_TRUE(std::isnan(Median({})));
  EXPECT_EQ(Median(std::vector<double>{3, 1, 2}), 2);
  EXPECT_EQ(Median(std::vector<double>{9, 1, 2, 4}), 3);
}

TEST(Bench, FindsTheExponentOfAPowerLaw) {
  const std::vector<double> x = {1, 3, 10, 50};
  std::vector<double> y;
  for (const double each : x) y.push_back(0.25 * std::pow(each, 1.5));
  const PowerLaw law = FitPowerLaw(x, y);
  EXPECT_NEAR(law.exponent, 1.5, 1e-12);
  EXPECT_NEAR(law.factor, 0.25, 1e-12);

  // By hand: log x = 0, 1, 2 and log y = 0, 0, 1 have the slope 1/2.
  const double e = std::exp(1.0);
  EXPECT_NEAR(FitPowerLaw(std::vector<double>{1, e, e * e}, std::vector<double>{1, 1, e}).exponent,
              0.5, 1e-12);
  EXPECT_TRUE(
      std::isnan(FitPowerLaw(std::vector<double>{2, 2}, std::vector<double>{1, 3}).exponent));
}

TEST(Bench, SeriesFollowFromTheSeedAndNotFromTheirNumber) {
  const SeriesSet set = MakeSeries(kSmall, 1);
  EXPECT_EQ(set.stride, 32);
  EXPECT_EQ(set.observed, MakeSeries(kSmall, 1).observed);
  EXPECT_NE(set.observed, MakeSeries(kSmall, 2).observed);
  Shape fewer = kSmall;
  fewer.series = 3;
  const SeriesSet few = MakeSeries(fewer, 1);
  for (int64_t i = 0; i < kSmall.steps; ++i) {
    EXPECT_EQ(few.view(few.observed).at(i, 2), set.view(set.observed).at(i, 2));
  }
}

TEST(Bench, LeaderRunsAhead) {
  const Shape shape{.series = 4, .steps = 2000, .period = 100};
  const SeriesSet set = MakeSeries(shape, 3);
  const Case& lags = *FindCase("lags");
  kernels::LagArgs args;
  args.leader = set.view(set.leader);
  args.follower = set.view(set.remainder);
  std::vector<int32_t> lag(4);
  std::vector<float> correlation(4), p_value(4);
  std::vector<kernels::SeriesStatus> status(4);
  args.lag = lag;
  args.correlation = correlation;
  args.p_value = p_value;
  args.status = status;
  const kernels::Ops& ops = kernels::CpuOps();
  Memory memory(ops);
  args.workspace = memory.Make<std::byte>(ops.lags_workspace_bytes(args));
  ops.lags(args);
  EXPECT_EQ(lags.check(ops, lags, shape), "");
  EXPECT_THAT(lag, ElementsAre(kLeadSteps, kLeadSteps, kLeadSteps, kLeadSteps));
}

TEST(Bench, EveryCaseRunsOnOneCoreAndOnSeveral) {
  const kernels::Ops& ops = kernels::CpuOps();
  const Shape shape{.series = 37, .steps = 200, .period = 12};
  Memory memory(ops);
  const Inputs inputs = CopyIn(MakeSeries(shape, 1), memory);
  int ran = 0;
  for (const Case& which : Cases()) {
    if (!which.check(ops, which, shape).empty()) continue;
    for (const int cores : {1, 2, 5}) {
      const Timing timing =
          Measure(ops, which, shape, inputs, {.cores = cores, .repetitions = 1, .least_s = 0});
      EXPECT_GT(timing.wall_s, 0) << which.name;
      EXPECT_GT(timing.cpu_s, 0) << which.name;
      EXPECT_EQ(timing.failed, 0) << which.name;
    }
    ++ran;
  }
  EXPECT_GE(ran, 12);
}

TEST(Bench, ColumnsOfABatchDecomposeAsTheWhole) {
  const kernels::Ops& ops = kernels::CpuOps();
  Memory memory(ops);
  const Inputs inputs = CopyIn(MakeSeries(kSmall, 1), memory);
  const Case& stl = *FindCase("stl");
  const Job whole = stl.prepare(ops, stl, kSmall, inputs);
  const Job part = stl.prepare(ops, stl, kSmall, Columns(inputs, 16, 4));
  whole.run();
  part.run();
  for (int64_t s = 0; s < 4; ++s) {
    EXPECT_NEAR(part.parts[0].at(40, s), whole.parts[0].at(40, 16 + s), 1e-5);
  }
}

TEST(Bench, ReadsWhatAPeerPrints) {
  const auto ran = ParsePeerOutput("a warning\nversion R 4.2.2\npass 10 2\npass 8 1\npass 12 4 \n");
  ASSERT_TRUE(ran.ok()) << ran.status();
  EXPECT_EQ(ran->state, PeerReport::State::kRan);
  EXPECT_EQ(ran->version, "R 4.2.2");
  EXPECT_EQ(ran->series_per_s, 5);  // the median of 5, 8 and 3
  EXPECT_EQ(ran->series, 10);

  const auto missing = ParsePeerOutput("missing No module named 'statsmodels'\n");
  ASSERT_TRUE(missing.ok());
  EXPECT_EQ(missing->state, PeerReport::State::kMissing);
  EXPECT_EQ(missing->why, "No module named 'statsmodels'");
  EXPECT_EQ(ParsePeerOutput("unfit one season\n")->state, PeerReport::State::kUnfit);

  for (const char* text : {"", "version R\n", "pass\n", "pass 3\n", "pass x 1\n", "pass 3 0\n",
                           "pass 0 1\n", "pass 3 1 2\n", "pass 3 nan\n"}) {
    EXPECT_EQ(ParsePeerOutput(text).status().code(), absl::StatusCode::kInternal) << text;
  }
  EXPECT_THAT(std::string(ParsePeerOutput("first\nError: no memory\n").status().message()),
              HasSubstr("Error: no memory"));
}

TEST(Bench, TellsPeersEveryParameter) {
  const std::string stl = PeerParameters(*FindCase("stl"), Shape());
  EXPECT_THAT(stl, AllOf(HasSubstr("steps=2016 iterations=1"), HasSubstr(" period=288"),
                         HasSubstr(" periodic=1"), HasSubstr(" seasonal_window=20161"),
                         HasSubstr(" seasonal_jump=2017"), HasSubstr(" trend_window=433"),
                         HasSubstr(" trend_jump=44"), HasSubstr(" low_pass_window=289"),
                         HasSubstr(" low_pass_jump=29"), HasSubstr(" inner=2 outer=0")));
  EXPECT_THAT(PeerParameters(*FindCase("stl-robust"), Shape()), HasSubstr(" inner=1 outer=15"));
  EXPECT_THAT(
      PeerParameters(*FindCase("stl-7-exact"), Shape()),
      AllOf(HasSubstr(" periodic=0"), HasSubstr(" seasonal_window=7"), HasSubstr(" trend_jump=1")));
  EXPECT_THAT(PeerParameters(*FindCase("mstl-exact"), Shape()),
              AllOf(HasSubstr("iterations=2"), HasSubstr(" period=48,336"),
                    HasSubstr(" seasonal_window=11,15"), HasSubstr(" inner=5,5")));
}

TEST(Bench, DifferenceIsTheLargestOverTheRange) {
  std::vector<float> observed = {0, 10, 4, 10, 2, 20};  // ranges 4 and 10
  std::vector<float> season = {1, 2, 3, 4, 5, 6};
  const std::vector<kernels::StepMajor<const float>> ours = {{season.data(), 3, 2, 2}};
  const kernels::StepMajor<const float> view{observed.data(), 3, 2, 2};
  EXPECT_EQ(*Difference(ours, view, {1, 3, 5, 2, 4, 6}, 2), 0);
  EXPECT_EQ(*Difference(ours, view, {1, 3, 6, 2, 2, 6}, 2), 0.25);
  EXPECT_EQ(*Difference(ours, view, {1, 3, 6}, 1), 0.25);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isinf(*Difference(ours, view, {1, nan, 5, 2, 4, 6}, 2)));
  EXPECT_EQ(Difference(ours, view, {1, 3}, 1).status().code(), absl::StatusCode::kInternal);
}

TEST(Bench, SweepsKeepToWhatTheOperationTakes) {
  const kernels::Ops& ops = kernels::CpuOps();
  const auto sweeps = Sweeps(ops, *FindCase("stl"), Shape());
  ASSERT_EQ(sweeps.size(), 4u);
  EXPECT_THAT(sweeps[1].sizes, ElementsAre(1008, 2016, 4032, 8064, 16128));
  EXPECT_EQ(sweeps[2].with, "period");
  EXPECT_THAT(sweeps[2].sizes, ElementsAre(24, 48, 96, 192, 384, 768));
  EXPECT_EQ(sweeps[3].with, "trend window");
  for (const Sweep& sweep : sweeps) {
    for (const Shape& shape : sweep.shapes) {
      EXPECT_EQ(FindCase("stl")->check(ops, *FindCase("stl"), shape), "");
    }
  }
  EXPECT_EQ(Sweeps(ops, *FindCase("events"), Shape()).size(), 2u);
}

class BenchPeers : public ScratchTest {};

// A peer that gives 1 for every season and 2 for every trend, in the shape of a script.
TEST_F(BenchPeers, RunsAScriptAndHoldsItAgainstOurs) {
  Put("stl.py",
      "import struct, sys\n"
      "given = dict(each.split('=') for each in sys.argv[3:])\n"
      "steps, series = int(given['steps']), int(given['series'])\n"
      "values = open(sys.argv[1], 'rb').read()\n"
      "assert len(values) == 4 * steps * series and given['peer'] == 'statsmodels'\n"
      "one = struct.pack('<f', 1) * steps + struct.pack('<f', 2) * steps\n"
      "open(sys.argv[2], 'wb').write(one * 2)\n"
      "print('version fake 1')\n"
      "print('pass 2 0.5')\n");
  PeerOptions options;
  options.scripts = folder_.string();
  Peers peers(options);
  const SeriesSet set = MakeSeries(kSmall, 1);
  const auto report = peers.Run("statsmodels", kernels::CpuOps(), *FindCase("stl"), kSmall, set);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->version, "fake 1");
  EXPECT_EQ(report->series_per_s, 4);
  EXPECT_GT(report->difference, 0.01);
}

TEST_F(BenchPeers, TellsMissingFromBroken) {
  PeerOptions options;
  options.scripts = folder_.string();
  options.python = PathOf("no python");
  const SeriesSet set = MakeSeries(kSmall, 1);
  const Case& stl = *FindCase("stl");
  {
    Peers peers(options);
    EXPECT_EQ(peers.Run("statsmodels", kernels::CpuOps(), stl, kSmall, set)->state,
              PeerReport::State::kMissing);
    const auto stl_cpp = peers.Run("stl-cpp", kernels::CpuOps(), stl, kSmall, set);
    EXPECT_EQ(stl_cpp->state, PeerReport::State::kMissing);
    EXPECT_THAT(stl_cpp->why, HasSubstr("--stl-cpp"));
  }
  options.python = "python3";
  options.stl_cpp = PathOf("nowhere");
  Put("stl.py", "raise ValueError('out of order')\n");
  Peers peers(options);
  EXPECT_EQ(peers.Run("stl-cpp", kernels::CpuOps(), stl, kSmall, set)->state,
            PeerReport::State::kMissing);
  const auto broken = peers.Run("statsmodels", kernels::CpuOps(), stl, kSmall, set);
  EXPECT_EQ(broken.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(broken.status().message()), HasSubstr("ValueError: out of order"));
}

BenchResults Results() {
  BenchResults results;
  results.machine = {"a CPU", 2, "cpu AVX3", "GCC 12", 0.5};
  results.options.cores = 2;
  CaseResult stl;
  stl.which = FindCase("stl");
  stl.timing = {0.5, 0.8, 3};
  PeerReport ran;
  ran.version = "R 4.2.2";
  ran.series_per_s = 250;
  ran.difference = 1e-6;
  PeerReport missing;
  missing.state = PeerReport::State::kMissing;
  missing.why = "no checkout";
  stl.peers = {{"r", ran}, {"stl-cpp", missing}};
  CaseResult skipped;
  skipped.which = FindCase("mstl");
  skipped.skipped = "not there";
  results.cases = {stl, skipped};
  results.growth = {{"stl", "series", {10, 100}, {1, 10}, {1, 0.1}}};
  return results;
}

TEST(BenchPrint, TableNamesTheMachineAndEveryPeer) {
  const std::string table = BenchTable(Results());
  EXPECT_THAT(table, AllOf(HasSubstr("a CPU, 2 cores"), HasSubstr("cpu AVX3"),
                           HasSubstr("3 REFUSED"), HasSubstr("missing: no checkout"),
                           HasSubstr("skipped: not there"), HasSubstr("exponent")));
}

TEST(BenchPrint, JsonHasRatesAndRatios) {
  const auto json = nlohmann::json::parse(BenchJson(Results()));
  const auto& stl = json["operations"][0];
  EXPECT_EQ(stl["series_per_s"], 2000);           // 1000 in half a second
  EXPECT_EQ(stl["series_per_s_per_core"], 1250);  // 1000 in 0.8 seconds of CPU time
  EXPECT_NEAR(stl["ns_per_sample"], 1e9 * 0.8 / (1000.0 * 2016), 1e-6);
  EXPECT_EQ(stl["series_refused"], 3);
  EXPECT_EQ(stl["peers"][0]["ratio"], 5);
  EXPECT_EQ(stl["peers"][1]["state"], "missing");
  EXPECT_FALSE(stl["peers"][1].contains("ratio"));
  EXPECT_EQ(json["operations"][1]["skipped"], "not there");
  EXPECT_EQ(json["growth"][0]["exponent"], 1);

  BenchResults on_gpu = Results();
  on_gpu.on_host = false;
  const auto gpu = nlohmann::json::parse(BenchJson(on_gpu))["operations"][0];
  EXPECT_TRUE(gpu["series_per_s_per_core"].is_null());
  EXPECT_EQ(gpu["peers"][0]["ratio"], 8);
}

class BenchPlot : public ScratchTest {};

TEST_F(BenchPlot, DrawsGrowth) {
  const std::string path = PathOf("growth.svg");
  ASSERT_TRUE(PlotGrowth(Results().growth, path).ok());
  EXPECT_THAT(Get("growth.svg"), AllOf(HasSubstr("<svg"), HasSubstr("stl ^ 1.00")));
  EXPECT_EQ(PlotGrowth(Results().growth, PathOf("growth.gif")).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PlotGrowth(Results().growth, PathOf("none/growth.svg")).code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace foreshadow::training
