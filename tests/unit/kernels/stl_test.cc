#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <random>
#include <sstream>
#include <string>

#include "kernels/algo/stl_plan.h"
#include "tests/unit/kernels/batch.h"

namespace foreshadow::kernels {
namespace {

using testing::Batch;
using testing::Workspace;

struct Decomposed {
  Batch seasonal, trend, remainder, weights;
  std::vector<SeriesStatus> status;
};

Decomposed Decompose(Batch& observed, const StlParams& params) {
  const Ops& ops = CpuOps();
  Decomposed out{Batch(observed.steps, observed.series), Batch(observed.steps, observed.series),
                 Batch(observed.steps, observed.series), Batch(observed.steps, observed.series),
                 std::vector<SeriesStatus>(static_cast<size_t>(observed.series))};
  Workspace workspace(ops.stl_workspace_bytes(params, observed.steps, observed.series));
  ops.stl({params, observed.view(), out.seasonal.view(), out.trend.view(), out.remainder.view(),
           out.weights.view(), out.status, workspace.span()});
  return out;
}

struct Golden {
  std::vector<std::vector<double>> columns;  // observed, seasonal, trend, remainder, weight
  double range = 0;
};

Golden ReadGolden(const std::string& name) {
  std::ifstream file(std::string(FORESHADOW_SOURCE_DIR) + "/tests/golden/stl/" + name + ".csv");
  Golden golden;
  golden.columns.resize(5);
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::istringstream row(line);
    std::string field;
    for (auto& column : golden.columns) {
      std::getline(row, field, ',');
      column.push_back(std::stod(field));
    }
  }
  const auto& observed = golden.columns[0];
  golden.range = *std::max_element(observed.begin(), observed.end()) -
                 *std::min_element(observed.begin(), observed.end());
  return golden;
}

struct Case {
  const char* name;
  StlParams params;
};

class AgainstR : public ::testing::TestWithParam<Case> {};

// Golden files: tests/golden/make_stl.R. Every lane of a batch of 19 copies must agree.
TEST_P(AgainstR, WithinTenThousandthOfTheRange) {
  const Golden golden = ReadGolden(GetParam().name);
  const auto steps = static_cast<int64_t>(golden.columns[0].size());
  ASSERT_GT(steps, 0);
  Batch observed(steps, 19);
  for (int64_t i = 0; i < steps; ++i) {
    for (int64_t s = 0; s < 19; ++s) observed.at(i, s) = static_cast<float>(golden.columns[0][i]);
  }
  Decomposed out = Decompose(observed, GetParam().params);
  const double tolerance = 1e-4 * golden.range;
  for (int64_t s = 0; s < 19; ++s) {
    ASSERT_EQ(out.status[s], SeriesStatus::kOk);
    for (int64_t i = 0; i < steps; ++i) {
      ASSERT_NEAR(out.seasonal.at(i, s), golden.columns[1][i], tolerance) << "step " << i;
      ASSERT_NEAR(out.trend.at(i, s), golden.columns[2][i], tolerance) << "step " << i;
      ASSERT_NEAR(out.remainder.at(i, s), golden.columns[3][i], tolerance) << "step " << i;
      ASSERT_NEAR(out.weights.at(i, s), golden.columns[4][i], 2e-3) << "step " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Stl, AgainstR,
    ::testing::Values(
        Case{"co2_periodic", {.period = 12}}, Case{"co2_s7", {.period = 12, .seasonal_window = 7}},
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
        Case{"nottem_odd_robust", {.period = 12, .robust = true}},
        Case{"co2_odd_robust_s7", {.period = 12, .seasonal_window = 7, .robust = true}},
        Case{"co2_odd_robust_outer2",
             {.period = 12,
              .seasonal_window = 15,
              .seasonal_degree = 1,
              .inner = 3,
              .outer = 2,
              .robust = true}},
        Case{"trace_periodic", {.period = 288}},
        Case{"trace_odd_robust_s7", {.period = 288, .seasonal_window = 7, .robust = true}}),
    [](const auto& of) { return std::string(of.param.name); });

// The parts add up, whatever the parameters, and phases of a periodic season are all alike.
TEST(Stl, PartsAddUp) {
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
TEST(Stl, RecoversALineAndASeasonAcrossGaps) {
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

TEST(Stl, BadSeriesAreNamedAndTheOthersGoOn) {
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

TEST(Stl, ParametersAreChecked) {
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
