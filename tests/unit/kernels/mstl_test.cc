#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "tests/unit/kernels/backends.h"
#include "tests/unit/kernels/golden.h"

namespace foreshadow::kernels {
namespace {

using testing::Array;
using testing::Batch;
using testing::BatchOn;

struct Decomposed {
  std::vector<Batch> seasonal;
  Batch trend, remainder;
  std::vector<SeriesStatus> status;
};

class Mstl : public testing::OnBackend {
 protected:
  Decomposed Decompose(const Batch& observed, const std::vector<StlParams>& seasons) const {
    const BatchOn observed_on(ops(), observed);
    std::vector<std::unique_ptr<BatchOn>> seasonal;
    MstlArgs args;
    for (size_t i = 0; i < seasons.size(); ++i) {
      seasonal.push_back(std::make_unique<BatchOn>(ops(), observed.steps, observed.series));
      args.seasonal[i] = seasonal.back()->view();
    }
    const BatchOn trend(ops(), observed.steps, observed.series);
    const BatchOn remainder(ops(), observed.steps, observed.series);
    const Array<SeriesStatus> status(ops(), static_cast<size_t>(observed.series));
    args.seasons = seasons;
    args.observed = observed_on.view();
    args.trend = trend.view();
    args.remainder = remainder.view();
    args.status = status.span();
    const Array<std::byte> workspace(ops(), ops().mstl_workspace_bytes(args));
    args.workspace = workspace.span();
    ops().mstl(args);
    std::vector<Batch> seasonal_read;
    for (const auto& batch : seasonal) seasonal_read.push_back(batch->Read());
    return {seasonal_read, trend.Read(), remainder.Read(), status.Read()};
  }
};

FORESHADOW_ON_BACKENDS(Mstl);

std::vector<StlParams> DayAndWeek(bool robust) {
  StlParams day = {.period = 24,
                   .seasonal_window = 11,
                   .seasonal_degree = 1,
                   .seasonal_jump = 1,
                   .trend_jump = 1,
                   .low_pass_jump = 1,
                   .inner = robust ? 1 : 2,
                   .outer = robust ? 5 : 0,
                   .robust = robust};
  StlParams week = day;
  week.period = 168;
  week.seasonal_window = 15;
  return {day, week};
}

TEST_P(Mstl, EqualsStatsmodels) {
  for (const bool robust : {false, true}) {
    // Columns: observed, a season each, trend, remainder. Made by tests/golden/make_stl.py.
    const auto golden = testing::ReadColumns(robust ? "mstl_requests_robust" : "mstl_requests");
    const auto steps = static_cast<int64_t>(golden[0].size());
    ASSERT_GT(steps, 0);
    Batch observed(steps, 5);
    for (int64_t i = 0; i < steps; ++i) {
      for (int64_t s = 0; s < 5; ++s) observed.at(i, s) = static_cast<float>(golden[0][i]);
    }
    Decomposed out = Decompose(observed, DayAndWeek(robust));
    const double tolerance = 1e-4 * (*std::max_element(golden[0].begin(), golden[0].end()) -
                                     *std::min_element(golden[0].begin(), golden[0].end()));
    for (int64_t s = 0; s < 5; ++s) {
      ASSERT_EQ(out.status[static_cast<size_t>(s)], SeriesStatus::kOk);
      for (int64_t i = 0; i < steps; ++i) {
        ASSERT_NEAR(out.seasonal[0].at(i, s), golden[1][i], tolerance) << robust << " step " << i;
        ASSERT_NEAR(out.seasonal[1].at(i, s), golden[2][i], tolerance) << robust << " step " << i;
        ASSERT_NEAR(out.trend.at(i, s), golden[3][i], tolerance) << robust << " step " << i;
        ASSERT_NEAR(out.remainder.at(i, s), golden[4][i], tolerance) << robust << " step " << i;
      }
    }
  }
}

TEST_P(Mstl, OneSeasonIsStl) {
  Batch observed(120, 3);
  for (int64_t i = 0; i < 120; ++i) {
    for (int64_t s = 0; s < 3; ++s) observed.at(i, s) = static_cast<float>((i * (s + 3)) % 17);
  }
  const StlParams params = {.period = 12, .seasonal_window = 7};
  const Decomposed out = Decompose(observed, {params});
  const BatchOn observed_on(ops(), observed);
  const BatchOn parts[] = {{ops(), 120, 3}, {ops(), 120, 3}, {ops(), 120, 3}};
  const Array<SeriesStatus> status(ops(), 3);
  const Array<std::byte> workspace(ops(), ops().stl_workspace_bytes(params, 120, 3));
  ops().stl({params,
             observed_on.view(),
             parts[0].view(),
             parts[1].view(),
             parts[2].view(),
             {},
             status.span(),
             workspace.span()});
  EXPECT_EQ(out.seasonal[0].values, parts[0].Read().values);
  EXPECT_EQ(out.trend.values, parts[1].Read().values);
  EXPECT_EQ(out.remainder.values, parts[2].Read().values);
}

// A small season on a high level keeps what precision the samples have.
TEST_P(Mstl, BadSeriesAreNamedAndLevelsDoNotMatter) {
  Batch observed(240, 4);
  for (int64_t i = 0; i < 240; ++i) {
    observed.at(i, 0) = 5'000 + static_cast<float>(i % 6 == 0) + 4 * static_cast<float>(i % 24 < 8);
    observed.at(i, 2) = i == 7 ? std::numeric_limits<float>::infinity() : 1;
    observed.at(i, 3) = i % 11 == 0 ? testing::kNan : observed.at(i, 0);
  }
  Decomposed out = Decompose(observed, {{.period = 6}, {.period = 24}});
  EXPECT_EQ(out.status[0], SeriesStatus::kOk);
  EXPECT_EQ(out.status[1], SeriesStatus::kNoData);
  EXPECT_EQ(out.status[2], SeriesStatus::kNotFinite);
  EXPECT_EQ(out.status[3], SeriesStatus::kOk);
  for (int64_t i = 0; i < 240; ++i) {
    for (const int64_t s : {int64_t{0}, int64_t{3}}) {
      if (std::isnan(observed.at(i, s))) {
        EXPECT_TRUE(std::isnan(out.remainder.at(i, s)));
        continue;
      }
      EXPECT_NEAR(out.seasonal[0].at(i, s) + out.seasonal[1].at(i, s) + out.trend.at(i, s) +
                      out.remainder.at(i, s),
                  observed.at(i, s), 2e-3);
      EXPECT_NEAR(out.remainder.at(i, s), 0, 0.05) << s << " " << i;
    }
    EXPECT_TRUE(std::isnan(out.seasonal[0].at(i, 1)) && std::isnan(out.trend.at(i, 2)));
  }
}

TEST(MstlCheck, NamesWhatIsWrong) {
  const auto check = CpuOps().mstl_check;
  const std::vector<StlParams> descending = {{.period = 24}, {.period = 12}};
  EXPECT_EQ(check(DayAndWeek(false), 336), "");
  EXPECT_NE(check(DayAndWeek(false), 335), "");
  EXPECT_NE(check(descending, 100), "");
  EXPECT_NE(check({}, 100), "");
}

}  // namespace
}  // namespace foreshadow::kernels
