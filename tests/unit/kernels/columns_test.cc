#include "kernels/algo/columns.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/unit/kernels/backends.h"

namespace foreshadow::kernels {
namespace {

using testing::Array;
using testing::Batch;
using testing::BatchOn;
using testing::kNan;

class Columns : public testing::OnBackend {};

FORESHADOW_ON_BACKENDS(Columns);

Batch RandomBatch(int64_t steps, int64_t series, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(50, 5);
  Batch batch(steps, series);
  for (float& value : batch.values) value = random() % 11 == 0 ? kNan : normal(random);
  return batch;
}

void ExpectSame(float a, float b) {
  EXPECT_TRUE(a == b || (std::isnan(a) && std::isnan(b))) << a << " and " << b;
}

// Any order, any number of times, out of rows that are wider, into rows that are wider.
TEST_P(Columns, AreGatheredInAnyOrder) {
  for (const int64_t steps : {1, 31, 32, 33, 100}) {
    Batch from = RandomBatch(steps, 60, 1);
    const std::vector<int32_t> columns = {5, 0, 49, 5, 7};
    const BatchOn from_on(ops(), from);
    const BatchOn to_on(ops(), steps, 8);
    const Array<int32_t> columns_on(ops(), columns);
    StepMajor<const float> narrow = from_on.view();
    narrow.series = 50;
    StepMajor<float> to = to_on.view();
    to.series = 5;
    ops().gather({narrow, columns_on.span(), to});
    Batch gathered = to_on.Read();
    for (int64_t step = 0; step < steps; ++step) {
      for (int64_t i = 0; i < 5; ++i) ExpectSame(gathered.at(step, i), from.at(step, columns[i]));
      for (int64_t i = 5; i < 8; ++i) EXPECT_TRUE(std::isnan(gathered.at(step, i)));
    }
    to.series = 8;
    narrow.series = 8;
    ops().gather({narrow, {}, to});
    gathered = to_on.Read();
    for (int64_t step = 0; step < steps; ++step) {
      for (int64_t i = 0; i < 8; ++i) ExpectSame(gathered.at(step, i), from.at(step, i));
    }
  }
}

// Against sums in long double and subtraction by hand; what is not decomposed stays as it was.
TEST_P(Columns, SeasonsAreTakenOut) {
  constexpr int64_t kSteps = 90;
  constexpr int32_t kSlopeSteps = 24;
  for (const int64_t series : {1, 3, 128, 150}) {
    Batch seasonal(kSteps, series);
    Batch trend(kSteps, series);
    Batch remainder(kSteps, series);
    std::mt19937 random(2);
    std::normal_distribution<float> normal(0, 1);
    for (int64_t step = 0; step < kSteps; ++step) {
      for (int64_t s = 0; s < series; ++s) {
        seasonal.at(step, s) =
            3 * std::sin(0.3f * static_cast<float>(step)) + 0.1f * normal(random);
        trend.at(step, s) = 0.5f * static_cast<float>(step * (s % 3)) + normal(random);
        remainder.at(step, s) = random() % 7 == 0 ? kNan : normal(random);
      }
    }
    std::vector<SeriesStatus> status(static_cast<size_t>(series), SeriesStatus::kOk);
    if (series > 2) status[1] = SeriesStatus::kTooShort;
    // Reversed, and a column apart from the next.
    std::vector<int32_t> columns;
    for (int64_t s = series - 1; s >= 0; --s) columns.push_back(static_cast<int32_t>(2 * s));
    const Batch observed = RandomBatch(kSteps, 2 * series, 3);

    const BatchOn seasonal_on(ops(), seasonal);
    const BatchOn trend_on(ops(), trend);
    const BatchOn remainder_on(ops(), remainder);
    const BatchOn residual_on(ops(), observed);
    const BatchOn level_on(ops(), observed);
    const Array<SeriesStatus> status_on(ops(), status);
    const Array<int32_t> columns_on(ops(), columns);
    const Array<float> slope_on(ops(), columns.size(), kNan);
    const Array<float> strength_on(ops(), columns.size(), kNan);
    ops().deseason({kSlopeSteps, seasonal_on.view(), trend_on.view(), remainder_on.view(),
                    status_on.span(), columns_on.span(), residual_on.view(), level_on.view(),
                    slope_on.span(), strength_on.span()});
    Batch residual = residual_on.Read();
    Batch level = level_on.Read();
    const std::vector<float> slope = slope_on.Read();
    const std::vector<float> strength = strength_on.Read();
    Batch before = observed;
    for (int64_t s = 0; s < series; ++s) {
      const int64_t column = columns[s];
      const bool is_decomposed = status[s] == SeriesStatus::kOk;
      long double n = 0, rest = 0, rest2 = 0, both = 0, both2 = 0;
      for (int64_t step = 0; step < kSteps; ++step) {
        const float was = before.at(step, column);
        ExpectSame(residual.at(step, column), is_decomposed ? remainder.at(step, s) : was);
        ExpectSame(level.at(step, column), is_decomposed ? was - seasonal.at(step, s) : was);
        ExpectSame(residual.at(step, column + 1), before.at(step, column + 1));
        ExpectSame(level.at(step, column + 1), before.at(step, column + 1));
        if (std::isnan(remainder.at(step, s))) continue;
        const long double r = remainder.at(step, s);
        const long double b = r + seasonal.at(step, s);
        n += 1, rest += r, rest2 += r * r, both += b, both2 += b * b;
      }
      if (!is_decomposed) {
        EXPECT_EQ(slope[s], 0);
        EXPECT_EQ(strength[s], 0);
        continue;
      }
      EXPECT_EQ(slope[s], (trend.at(kSteps - 1, s) - trend.at(kSteps - 1 - kSlopeSteps, s)) /
                              static_cast<float>(kSlopeSteps));
      const long double expected = 1 - (rest2 - rest * rest / n) / (both2 - both * both / n);
      EXPECT_GT(strength[s], 0.5f);
      EXPECT_NEAR(strength[s], static_cast<double>(expected), 1e-6);
    }
  }
}

}  // namespace
}  // namespace foreshadow::kernels
