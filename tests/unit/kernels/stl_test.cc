#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>

#include "kernels/algo/stl_plan.h"
#include "tests/unit/kernels/backends.h"
#include "tests/unit/kernels/golden.h"

namespace foreshadow::kernels {
namespace {

using testing::Array;
using testing::Batch;
using testing::BatchOn;
using testing::Golden;
using testing::ReadGolden;

struct Decomposed {
  Batch seasonal, trend, remainder, weights;
  std::vector<SeriesStatus> status;
};

class Stl : public testing::OnBackend {
 protected:
  Decomposed Decompose(const Batch& observed, const StlParams& params) const {
    const BatchOn observed_on(ops(), observed);
    const BatchOn seasonal(ops(), observed.steps, observed.series);
    const BatchOn trend(ops(), observed.steps, observed.series);
    const BatchOn remainder(ops(), observed.steps, observed.series);
    const BatchOn weights(ops(), observed.steps, observed.series);
    const Array<SeriesStatus> status(ops(), static_cast<size_t>(observed.series));
    const Array<std::byte> workspace(
        ops(), ops().stl_workspace_bytes(params, observed.steps, observed.series));
    ops().stl({params, observed_on.view(), seasonal.view(), trend.view(), remainder.view(),
               weights.view(), status.span(), workspace.span()});
    return {seasonal.Read(), trend.Read(), remainder.Read(), weights.Read(), status.Read()};
  }
};

FORESHADOW_ON_BACKENDS(Stl);

struct Case {
  const char* name;
  StlParams params;
};

constexpr Case kCases[] = {
    {"co2_periodic", {.period = 12}},
    {"co2_s7", {.period = 12, .seasonal_window = 7}},
    {"co2_s21_t41_l13_deg",
     {.period = 12,
      .seasonal_window = 21,
      .seasonal_degree = 1,
      .trend_window = 41,
      .trend_degree = 0,
      .low_pass_window = 13,
      .low_pass_degree = 0}},
    {"co2_jumps1",
     {.period = 12,
      .seasonal_window = 35,
      .seasonal_jump = 1,
      .trend_jump = 1,
      .low_pass_jump = 1}},
    {"nottem_periodic", {.period = 12}},
    {"nottem_s13_inner5", {.period = 12, .seasonal_window = 13, .inner = 5}},
    {"nottem_jumps",
     {.period = 12,
      .seasonal_window = 11,
      .seasonal_jump = 3,
      .trend_jump = 7,
      .low_pass_jump = 5}},
    {"nottem_odd_robust", {.period = 12, .robust = true}},
    {"co2_odd_robust_s7", {.period = 12, .seasonal_window = 7, .robust = true}},
    {"co2_odd_robust_outer2",
     {.period = 12,
      .seasonal_window = 15,
      .seasonal_degree = 1,
      .inner = 3,
      .outer = 2,
      .robust = true}},
    {"trace_periodic", {.period = 288}},
    {"trace_odd_robust_s7", {.period = 288, .seasonal_window = 7, .robust = true}},
    {"nottem_odd_robust_lost_phase", {.period = 12, .robust = true}},
    {"nottem_wide",
     {.period = 12,
      .seasonal_window = 51,
      .seasonal_degree = 1,
      .seasonal_jump = 1,
      .trend_window = 401,
      .trend_jump = 1,
      .low_pass_window = 301,
      .low_pass_jump = 1}},
    {"nottem_even_robust", {.period = 12, .robust = true}},
    {"co2_even_robust_s7", {.period = 12, .seasonal_window = 7, .robust = true}},
    {"trace_even_robust_s7", {.period = 288, .seasonal_window = 7, .robust = true}},
};

// Golden files: tests/golden/make_stl.R and, where robust and of even length, make_stl.py. Every
// series of a batch of 19 copies must agree.
TEST_P(Stl, EqualsRAndStatsmodels) {
  for (const auto& [name, params] : kCases) {
    SCOPED_TRACE(name);
    const Golden golden = ReadGolden(name);
    const auto steps = static_cast<int64_t>(golden.columns[0].size());
    ASSERT_GT(steps, 0);
    Batch observed(steps, 19);
    for (int64_t i = 0; i < steps; ++i) {
      for (int64_t s = 0; s < 19; ++s) observed.at(i, s) = static_cast<float>(golden.columns[0][i]);
    }
    Decomposed out = Decompose(observed, params);
    const double tolerance = 1e-4 * golden.range;
    // A weight moves by at most 1.54 times what the remainder moves, in widths of the bisquare:
    // here a remainder that is right to 1e-5 of the range.
    const double weight_tolerance = 1.54 * 1e-5 * golden.range / (6 * golden.median_remainder);
    for (int64_t s = 0; s < 19; ++s) {
      ASSERT_EQ(out.status[s], SeriesStatus::kOk);
      for (int64_t i = 0; i < steps; ++i) {
        ASSERT_NEAR(out.seasonal.at(i, s), golden.columns[1][i], tolerance) << "step " << i;
        ASSERT_NEAR(out.trend.at(i, s), golden.columns[2][i], tolerance) << "step " << i;
        ASSERT_NEAR(out.remainder.at(i, s), golden.columns[3][i], tolerance) << "step " << i;
        ASSERT_NEAR(out.weights.at(i, s), golden.columns[4][i], weight_tolerance) << "step " << i;
      }
    }
  }
}

// The parts add up, whatever the parameters, and phases of a periodic season are all alike.
TEST_P(Stl, PartsAddUp) {
  std::mt19937 random(11);
  std::normal_distribution<float> noise(0, 1);
  for (int round = 0; round < 20; ++round) {
    StlParams params;
    params.period = 2 + static_cast<int>(random() % 20);
    params.robust = round % 2 == 1;
    const int64_t steps = 2 * params.period + static_cast<int64_t>(random() % 100);
    Batch observed(steps, 5);
    for (float& value : observed.values) value = 100 + 10 * noise(random);
    Decomposed out = Decompose(observed, params);
    for (int64_t s = 0; s < 5; ++s) {
      ASSERT_EQ(out.status[s], SeriesStatus::kOk);
      for (int64_t i = 0; i < steps; ++i) {
        const float sum = out.seasonal.at(i, s) + out.trend.at(i, s) + out.remainder.at(i, s);
        ASSERT_NEAR(sum, observed.at(i, s), 1e-3);
        if (i >= params.period) {
          ASSERT_EQ(out.seasonal.at(i, s), out.seasonal.at(i - params.period, s));
        }
      }
    }
  }
}

// A line plus a fixed season is taken apart exactly, and gaps do not change that.
TEST_P(Stl, RecoversALineAndASeasonAcrossGaps) {
  constexpr int64_t kSteps = 240;
  Batch observed(kSteps, 2);
  const auto season = [](int64_t i) { return 5 * std::sin(2 * M_PI * double(i % 24) / 24); };
  for (int64_t i = 0; i < kSteps; ++i) {
    const auto value = static_cast<float>(20 + 0.1 * double(i) + season(i));
    observed.at(i, 0) = value;
    observed.at(i, 1) = i % 7 == 3 || (i > 100 && i < 130) ? testing::kNan : value;
  }
  Decomposed out = Decompose(observed, {.period = 24, .inner = 10});
  for (int64_t s = 0; s < 2; ++s) {
    for (int64_t i = 0; i < kSteps; ++i) {
      ASSERT_NEAR(out.seasonal.at(i, s), season(i), 0.15) << s << " " << i;
      ASSERT_NEAR(out.trend.at(i, s), 20 + 0.1 * double(i), 0.15) << s << " " << i;
    }
  }
  EXPECT_TRUE(std::isnan(out.remainder.at(3, 1)));
  EXPECT_EQ(out.weights.at(3, 1), 0);
}

TEST_P(Stl, BadSeriesAreNamedAndTheOthersGoOn) {
  constexpr int64_t kSteps = 60;
  Batch observed(kSteps, 6);
  for (int64_t i = 0; i < kSteps; ++i) {
    observed.at(i, 0) = static_cast<float>(i % 12);
    observed.at(i, 2) = i == 30 ? std::numeric_limits<float>::infinity() : 1.0f;
    observed.at(i, 3) = 1e9f + static_cast<float>(i % 2) * 128;
    observed.at(i, 4) = 7;
    observed.at(i, 5) = i < 30 ? -3.4e38f : 3.4e38f;
  }
  Decomposed out = Decompose(observed, {.period = 12});
  EXPECT_EQ(out.status[0], SeriesStatus::kOk);
  EXPECT_EQ(out.status[1], SeriesStatus::kNoData);
  EXPECT_EQ(out.status[2], SeriesStatus::kNotFinite);
  EXPECT_EQ(out.status[3], SeriesStatus::kPrecision);
  EXPECT_EQ(out.status[5], SeriesStatus::kPrecision);
  EXPECT_EQ(out.status[4], SeriesStatus::kOk);  // a constant: all trend
  for (int64_t i = 0; i < kSteps; ++i) {
    EXPECT_TRUE(std::isnan(out.seasonal.at(i, 1)));
    EXPECT_NEAR(out.trend.at(i, 4), 7, 1e-4);
    EXPECT_NEAR(out.seasonal.at(i, 0), static_cast<float>(i % 12) - 5.5f, 0.1);
  }
}

// A tile of a series this long fits no GPU's shared memory, and the filter's rows no table: the
// answer is that of every other way, a decomposition of samples repeated.
TEST_P(Stl, LongSeriesWithWideWindows) {
  constexpr int64_t kSteps = 4'000;
  Batch observed(kSteps, 2);
  for (int64_t i = 0; i < kSteps; ++i) {
    const double wave = std::sin(2 * M_PI * double(i % 24) / 24);
    observed.at(i, 0) = static_cast<float>(wave + 1e-3 * double(i));
    observed.at(i, 1) = i % 5 == 0 ? testing::kNan : observed.at(i, 0);
  }
  const StlParams params = {.period = 24,
                            .seasonal_window = 7,
                            .trend_window = 2'001,
                            .trend_jump = 2,
                            .low_pass_window = 25,
                            .inner = 3};
  Decomposed out = Decompose(observed, params);
  for (int64_t s = 0; s < 2; ++s) {
    for (int64_t i = 0; i < kSteps; ++i) {
      ASSERT_NEAR(out.seasonal.at(i, s), std::sin(2 * M_PI * double(i % 24) / 24), 0.01) << i;
      ASSERT_NEAR(out.trend.at(i, s), 1e-3 * double(i), 0.02) << i;
    }
  }
}

TEST(StlPlan, ParametersAreChecked) {
  EXPECT_EQ(CheckStl({.period = 12}, 24), "");
  EXPECT_NE(CheckStl({.period = 1}, 24), "");
  EXPECT_NE(CheckStl({.period = 13}, 24), "");
  EXPECT_NE(CheckStl({.period = 12, .seasonal_window = 4}, 24), "");
  EXPECT_NE(CheckStl({.period = 12, .trend_window = 0}, 24), "");
  EXPECT_NE(CheckStl({.period = 12, .trend_degree = 2}, 24), "");
  EXPECT_NE(CheckStl({.period = 12, .low_pass_jump = 0}, 24), "");
  EXPECT_NE(CheckStl({.period = 12, .inner = 0}, 24), "");
}

}  // namespace
}  // namespace foreshadow::kernels
