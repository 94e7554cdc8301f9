#include "kernels/algo/stl_taps.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "tests/unit/kernels/batch.h"
#include "tests/unit/kernels/golden.h"

namespace foreshadow::kernels {
namespace {

using testing::Batch;
using testing::Golden;
using testing::ReadGolden;
using testing::Workspace;

double Last(const std::vector<double>& taps, const std::vector<double>& samples) {
  double sum = 0;
  for (size_t lag = 0; lag < taps.size(); ++lag)
    sum += taps[lag] * samples[samples.size() - 1 - lag];
  return sum;
}

struct Case {
  const char* name;
  StlParams params;
};

// Golden files: tests/golden/make_stl.R.
TEST(StlTaps, GiveTheLastStepOfR) {
  for (const Case& of :
       {Case{"co2_periodic", {.period = 12}}, Case{"co2_s7", {.period = 12, .seasonal_window = 7}},
        Case{"co2_s21_t41_l13_deg",
             {.period = 12,
             .seasonal_window = 21,
             .seasonal_degree = 1,
             .trend_window = 41,
             .trend_degree = 0,
             .low_pass_window = 13,
             .low_pass_degree = 0}},
        Case{"co2_jumps1",
             {.period = 12,
             .seasonal_window = 35,
             .seasonal_jump = 1,
             .trend_jump = 1,
             .low_pass_jump = 1}},
        Case{"nottem_periodic", {.period = 12}},
        Case{"nottem_s13_inner5", {.period = 12, .seasonal_window = 13, .inner = 5}},
        Case{"nottem_jumps",
             {.period = 12,
             .seasonal_window = 11,
             .seasonal_jump = 3,
             .trend_jump = 7,
             .low_pass_jump = 5}},
        Case{"trace_periodic", {.period = 288}}}) {
    const Golden golden = ReadGolden(of.name);
    const auto& observed = golden.columns[0];
    const StlTaps taps = LastStepTaps(PlanStl(of.params, std::ssize(observed)));
    EXPECT_NEAR(Last(taps.seasonal, observed), golden.columns[1].back(), 1e-7 * golden.range)
        << of.name;
    EXPECT_NEAR(Last(taps.trend, observed), golden.columns[2].back(), 1e-7 * golden.range)
        << of.name;
  }
}

// Any parameters and lengths, against the decomposition itself.
TEST(StlTaps, GiveTheLastStepOfTheDecomposition) {
  std::mt19937 random(5);
  std::normal_distribution<float> noise(0, 1);
  for (int round = 0; round < 60; ++round) {
    const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    StlParams params;
    params.period = 2 + below(20);
    params.seasonal_window = below(3) == 0 ? kPeriodic : 3 + 2 * below(8);
    params.seasonal_degree = below(2);
    if (below(2) == 0) params.trend_window = 3 + 2 * below(40);
    params.trend_degree = below(2);
    if (below(2) == 0) params.seasonal_jump = 1 + below(5);
    if (below(2) == 0) params.trend_jump = 1 + below(30);
    if (below(2) == 0) params.low_pass_jump = 1 + below(9);
    params.inner = 1 + below(4);
    const int64_t steps = 2 * params.period + below(120);
    const StlTaps taps = LastStepTaps(PlanStl(params, steps));
    Batch observed(steps, 1);
    for (float& value : observed.values) value = noise(random);
    Batch seasonal(steps, 1);
    Batch trend(steps, 1);
    Batch remainder(steps, 1);
    std::vector<SeriesStatus> status(1);
    const Ops& ops = CpuOps();
    Workspace workspace(ops.stl_workspace_bytes(params, steps, 1));
    ops.stl({params,
             observed.view(),
             seasonal.view(),
             trend.view(),
             remainder.view(),
             {},
             status,
             workspace.span()});
    ASSERT_EQ(status[0], SeriesStatus::kOk);
    const std::vector<double> samples(observed.values.begin(), observed.values.end());
    ASSERT_NEAR(Last(taps.seasonal, samples), seasonal.at(steps - 1, 0), 2e-5) << "round " << round;
    ASSERT_NEAR(Last(taps.trend, samples), trend.at(steps - 1, 0), 2e-5) << "round " << round;
  }
}

}  // namespace
}  // namespace foreshadow::kernels
