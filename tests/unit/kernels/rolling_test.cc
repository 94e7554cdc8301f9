#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <memory>
#include <random>
#include <sstream>

#include "tests/unit/kernels/backends.h"

namespace foreshadow::kernels {
namespace {

using testing::Array;
using testing::Batch;
using testing::BatchOn;
using testing::kNan;

struct Rolled {
  std::vector<Batch> quantiles;
  std::vector<SeriesStatus> status;
};

class RollingQuantiles : public testing::OnBackend {
 protected:
  Rolled Roll(const Batch& values, int window, const std::vector<float>& levels,
              int present_min = 1) {
    const BatchOn values_on(ops(), values);
    std::vector<std::unique_ptr<BatchOn>> quantiles;
    const Array<SeriesStatus> status(ops(), static_cast<size_t>(values.series));
    RollingQuantileArgs args;
    args.values = values_on.view();
    args.window = window;
    args.present_min = present_min;
    args.levels = levels;
    for (size_t k = 0; k < levels.size(); ++k) {
      quantiles.push_back(std::make_unique<BatchOn>(ops(), values.steps, values.series));
      args.quantiles[k] = quantiles[k]->view();
    }
    args.status = status.span();
    const Array<std::byte> workspace(ops(), ops().rolling_quantiles_workspace_bytes(args));
    args.workspace = workspace.span();
    ops().rolling_quantiles(args);
    Rolled rolled{{}, status.Read()};
    for (const auto& batch : quantiles) rolled.quantiles.push_back(batch->Read());
    return rolled;
  }

  // Type 7 by sorting, at every so many steps.
  void ExpectSorted(Batch values, int window, const std::vector<float>& levels, int present_min,
                    int64_t every) {
    Rolled rolled = Roll(values, window, levels, present_min);
    for (int64_t s = 0; s < values.series; ++s) {
      for (int64_t step = 0; step < values.steps; step += every) {
        std::vector<float> seen;
        for (int64_t i = std::max<int64_t>(0, step - window + 1); i <= step; ++i) {
          if (!std::isnan(values.at(i, s))) seen.push_back(values.at(i, s));
        }
        std::sort(seen.begin(), seen.end());
        for (size_t k = 0; k < levels.size(); ++k) {
          const float got = rolled.quantiles[k].at(step, s);
          if (std::ssize(seen) < present_min) {
            ASSERT_TRUE(std::isnan(got)) << "step " << step << " of series " << s;
            continue;
          }
          const double place = double{levels[k]} * static_cast<double>(seen.size() - 1);
          const auto low = static_cast<size_t>(place);
          const double high = seen[std::min(low + 1, seen.size() - 1)];
          const double expected =
              seen[low] + (place - static_cast<double>(low)) * (high - seen[low]);
          ASSERT_FLOAT_EQ(got, static_cast<float>(expected))
              << "step " << step << " of series " << s << ", window " << window << ", level "
              << levels[k];
        }
      }
    }
  }
};

FORESHADOW_ON_BACKENDS(RollingQuantiles);

// A slow wave under noise, rounded so that there are ties; every other series has gaps, now and
// then a long one.
Batch Wave(int64_t steps, int64_t series, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1);
  Batch batch(steps, series);
  for (int64_t s = 0; s < series; ++s) {
    for (int64_t i = 0; i < steps; ++i) {
      const auto wave = static_cast<float>(50 * std::sin(static_cast<double>(i) / 70));
      if (s % 2 == 1 && (random() % 6 == 0 || i / 40 % 9 == 4)) continue;
      batch.at(i, s) = std::round(2 * (wave + normal(random))) / 2;
    }
  }
  return batch;
}

TEST_P(RollingQuantiles, AreThoseOfTheSortedWindow) {
  const std::vector<float> levels = {0.5f, 0, 1, 0.9f, 0.123f};
  for (const int64_t series : {1, 5, 16, 21, 130}) {
    ExpectSorted(Wave(150, series, 1), 30, levels, 1, 1);
  }
  ExpectSorted(Wave(150, 6, 2), 1, levels, 1, 1);
  ExpectSorted(Wave(150, 6, 2), 2, levels, 2, 1);
  ExpectSorted(Wave(150, 6, 2), 300, levels, 5, 1);  // wider than the series is long
}

// Windows that are kept sorted, or as ranks, in one chunk or several, in shared memory or not.
TEST_P(RollingQuantiles, WhateverTheWindow) {
  const std::vector<float> levels = {0.25f, 0.99f};
  ExpectSorted(Wave(3'000, 3, 3), 12, levels, 3, 7);
  ExpectSorted(Wave(3'000, 3, 3), 100, levels, 10, 7);
  ExpectSorted(Wave(3'000, 3, 3), 300, levels, 10, 17);
  ExpectSorted(Wave(3'000, 18, 4), 600, levels, 10, 31);
  ExpectSorted(Wave(9'000, 3, 5), 1'100, levels, 10, 97);
  ExpectSorted(Wave(9'000, 2, 6), 2'100, levels, 10, 97);
}

// R's quantile(type = 7): tests/golden/make_quantiles.R.
TEST_P(RollingQuantiles, AreThoseOfR) {
  std::ifstream file(std::string(FORESHADOW_SOURCE_DIR) + "/tests/golden/quantiles.csv");
  std::string line;
  ASSERT_TRUE(std::getline(file, line));
  std::vector<std::vector<float>> rows;
  while (std::getline(file, line)) {
    std::istringstream fields(line);
    std::vector<float> row;
    for (std::string field; std::getline(fields, field, ',');) {
      row.push_back(field == "NA" ? kNan : std::stof(field));
    }
    rows.push_back(row);
  }
  ASSERT_EQ(rows.size(), 60u);
  Batch values(60, 2);
  for (int64_t i = 0; i < 60; ++i) values.at(i, 0) = rows[static_cast<size_t>(i)][0];
  const std::vector<float> levels = {0, 0.1f, 0.5f, 0.95f, 1};
  size_t column = 1;
  for (const int window : {1, 7, 24, 80}) {
    Rolled rolled = Roll(values, window, levels, std::min(3, window));
    for (size_t k = 0; k < levels.size(); ++k, ++column) {
      for (int64_t i = 0; i < 60; ++i) {
        const float expected = rows[static_cast<size_t>(i)][column];
        const float got = rolled.quantiles[k].at(i, 0);
        EXPECT_EQ(std::isnan(got), std::isnan(expected)) << "step " << i << ", window " << window;
        if (!std::isnan(expected)) {
          EXPECT_NEAR(got, expected, 2e-6);
        }
        EXPECT_TRUE(std::isnan(rolled.quantiles[k].at(i, 1)));
      }
    }
  }
}

TEST_P(RollingQuantiles, BadSeriesAreNamed) {
  for (const int window : {4, 1'500}) {
    Batch values(40, 3, 2);
    for (int64_t i = 0; i < 40; ++i) values.at(i, 1) = kNan;
    values.at(7, 2) = -std::numeric_limits<float>::infinity();
    Rolled rolled = Roll(values, window, {0.5f});
    EXPECT_EQ(rolled.status[0], SeriesStatus::kOk);
    EXPECT_EQ(rolled.status[1], SeriesStatus::kNoData);
    EXPECT_EQ(rolled.status[2], SeriesStatus::kNotFinite);
    for (int64_t i = 0; i < 40; ++i) {
      EXPECT_EQ(rolled.quantiles[0].at(i, 0), 2);
      EXPECT_TRUE(std::isnan(rolled.quantiles[0].at(i, 1)));
      EXPECT_TRUE(std::isnan(rolled.quantiles[0].at(i, 2)));
    }
  }
}

// Between the largest floats of both signs.
TEST_P(RollingQuantiles, HugeValuesDoNotOverflow) {
  Batch values(2, 1);
  values.at(0, 0) = -3e38f;
  values.at(1, 0) = 3e38f;
  EXPECT_FLOAT_EQ(Roll(values, 2, {0.75f}).quantiles[0].at(1, 0), 1.5e38f);
}

}  // namespace
}  // namespace foreshadow::kernels
