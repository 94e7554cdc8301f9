#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <random>
#include <sstream>
#include <utility>

#include "tests/unit/kernels/backends.h"

namespace foreshadow::kernels {
namespace {

using testing::Array;
using testing::Batch;
using testing::BatchOn;
using testing::kNan;

struct Fit {
  Batch coefficients;
  std::vector<float> variance;
  std::vector<SeriesStatus> status;
};

class Autoregression : public testing::OnBackend {
 protected:
  Fit FitTo(const Batch& values, const std::vector<int32_t>& lags, float ridge = 0) {
    const auto n = static_cast<size_t>(values.series);
    const BatchOn values_on(ops(), values);
    const BatchOn coefficients(ops(), std::ssize(lags) + 1, values.series);
    const Array<float> variance(ops(), n);
    const Array<SeriesStatus> status(ops(), n);
    AutoregressionArgs args;
    args.values = values_on.view();
    args.lags = lags;
    args.ridge = ridge;
    args.coefficients = coefficients.view();
    args.variance = variance.span();
    args.status = status.span();
    const Array<std::byte> workspace(ops(), ops().autoregression_workspace_bytes(args));
    args.workspace = workspace.span();
    ops().autoregression(args);
    return {coefficients.Read(), variance.Read(), status.Read()};
  }
};

FORESHADOW_ON_BACKENDS(Autoregression);

struct Golden {
  std::vector<int32_t> lags;
  std::vector<float> series;
  std::vector<double> fit;  // coefficients, variance
};

std::vector<Golden> ReadGolden() {
  std::ifstream file(std::string(FORESHADOW_SOURCE_DIR) + "/tests/golden/autoregression.txt");
  std::vector<Golden> cases;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind;
    words >> kind;
    if (kind == "lags") cases.emplace_back();
    for (std::string word; words >> word;) {
      if (kind == "lags") cases.back().lags.push_back(std::stoi(word));
      if (kind == "series") cases.back().series.push_back(std::stof(word));
      if (kind == "fit") cases.back().fit.push_back(std::stod(word));
    }
  }
  return cases;
}

// R's lm: tests/golden/make_autoregression.R. Each case among columns that are whole, and that are
// not: the way the sums are made must not matter.
TEST_P(Autoregression, IsRsLm) {
  const std::vector<Golden> cases = ReadGolden();
  ASSERT_EQ(cases.size(), 8u);
  for (const Golden& golden : cases) {
    for (const int64_t series : {1, 5, 70}) {
      Batch values(std::ssize(golden.series), series);
      for (int64_t i = 0; i < values.steps; ++i) {
        for (int64_t s = 0; s < series; ++s) {
          values.at(i, s) = s % 3 == 1 && i == 3 ? kNan : golden.series[static_cast<size_t>(i)];
        }
      }
      Fit fit = FitTo(values, golden.lags);
      for (int64_t s = 0; s < series; ++s) {
        if (s % 3 == 1) continue;
        ASSERT_EQ(fit.status[static_cast<size_t>(s)], SeriesStatus::kOk);
        double size = 0;
        for (size_t k = 1; k <= golden.lags.size(); ++k) size += std::abs(golden.fit[k]);
        for (size_t k = 0; k <= golden.lags.size(); ++k) {
          const double expected = golden.fit[k];
          const double allowed = k == 0 ? 1e-6 * std::abs(expected) : 1e-6 * size;
          EXPECT_NEAR(fit.coefficients.at(static_cast<int64_t>(k), s), expected, allowed)
              << "coefficient " << k << " of " << golden.lags.size() << " lags";
        }
        EXPECT_NEAR(fit.variance[static_cast<size_t>(s)] / golden.fit.back(), 1, 1e-6);
      }
    }
  }
}

// Yule (1927): the process that made a series is found, within what its length allows.
TEST_P(Autoregression, FindsTheProcess) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 1);
  Batch values(4'000, 20);
  for (int64_t s = 0; s < 20; ++s) {
    const float a = s % 2 == 0 ? 0.8f : 1.4f;
    const float b = s % 2 == 0 ? 0.0f : -0.7f;
    float before = 0, earlier = 0;
    for (int64_t i = -200; i < 4'000; ++i) {
      const float value = a * before + b * earlier + 3 * normal(random);
      earlier = std::exchange(before, value);
      if (i >= 0 && (s < 10 || random() % 50 != 0)) values.at(i, s) = 100 + value;
    }
  }
  Fit fit = FitTo(values, {1, 2});
  for (int64_t s = 0; s < 20; ++s) {
    const float a = s % 2 == 0 ? 0.8f : 1.4f;
    const float b = s % 2 == 0 ? 0.0f : -0.7f;
    EXPECT_NEAR(fit.coefficients.at(1, s), a, 0.06);
    EXPECT_NEAR(fit.coefficients.at(2, s), b, 0.06);
    // The level that the process keeps.
    const float level =
        fit.coefficients.at(0, s) / (1 - fit.coefficients.at(1, s) - fit.coefficients.at(2, s));
    EXPECT_NEAR(level, 100, 1.5);
    EXPECT_NEAR(fit.variance[static_cast<size_t>(s)], 9, 0.8);
  }
}

// With one regressor the penalty has a closed form: it adds its share to the variation.
TEST_P(Autoregression, RidgeShrinksByItsShare) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0, 1);
  Batch values(500, 3);
  for (float& value : values.values) value = 7 + normal(random);
  values.at(100, 1) = kNan;
  for (const std::vector<int32_t>& lags : {std::vector<int32_t>{4}, {1}}) {
    Fit plain = FitTo(values, lags);
    Fit ridge = FitTo(values, lags, 0.25f);
    for (int64_t s = 0; s < 3; ++s) {
      EXPECT_NEAR(ridge.coefficients.at(1, s), plain.coefficients.at(1, s) / 1.25, 1e-7);
      EXPECT_GT(ridge.variance[static_cast<size_t>(s)], plain.variance[static_cast<size_t>(s)]);
    }
  }
}

// The residuals' variance by its definition, ridge or not.
TEST_P(Autoregression, VarianceIsThatOfTheResiduals) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 1);
  Batch values(300, 9);
  for (int64_t s = 0; s < 9; ++s) {
    float x = 0;
    for (int64_t i = 0; i < 300; ++i) {
      x = 0.9f * x + normal(random);
      if (s < 4 || random() % 30 != 0) values.at(i, s) = 1e3f + x;
    }
  }
  const std::vector<int32_t> lags = {1, 2, 7, 24};
  for (const float ridge : {0.0f, 0.1f}) {
    Fit fit = FitTo(values, lags, ridge);
    for (int64_t s = 0; s < 9; ++s) {
      double sum = 0;
      int rows = 0;
      for (int64_t i = 24; i < 300; ++i) {
        double residual = double{values.at(i, s)} - fit.coefficients.at(0, s);
        for (size_t k = 0; k < lags.size(); ++k) {
          residual -= double{fit.coefficients.at(static_cast<int64_t>(k) + 1, s)} *
                      values.at(i - lags[k], s);
        }
        if (std::isnan(residual)) continue;
        sum += residual * residual;
        ++rows;
      }
      EXPECT_NEAR(fit.variance[static_cast<size_t>(s)] / (sum / (rows - 5)), 1, 1e-4);
    }
  }
}

TEST_P(Autoregression, BadSeriesAreNamed) {
  Batch values(60, 8, 5);
  for (int64_t i = 0; i < 60; ++i) {
    values.at(i, 1) = kNan;
    values.at(i, 2) =
        i == 9 ? std::numeric_limits<float>::infinity() : static_cast<float>(i * i % 7);
    values.at(i, 3) = static_cast<float>(i % 2);  // lag 2 is lag 1 mirrored
    values.at(i, 4) = i % 3 == 0 ? kNan : static_cast<float>(i * i % 11);  // no row is whole
    values.at(i, 5) = static_cast<float>(i * i % 13);
    values.at(i, 6) = i < 52 ? kNan : static_cast<float>(i * i % 13);
    values.at(i, 7) = i == 30 ? kNan : static_cast<float>(i % 2);
  }
  Fit fit = FitTo(values, {1, 2});
  const SeriesStatus expected[] = {SeriesStatus::kConstant,  SeriesStatus::kNoData,
                                   SeriesStatus::kNotFinite, SeriesStatus::kSingular,
                                   SeriesStatus::kTooShort,  SeriesStatus::kOk,
                                   SeriesStatus::kOk,        SeriesStatus::kSingular};
  for (int64_t s = 0; s < 8; ++s) {
    EXPECT_EQ(fit.status[static_cast<size_t>(s)], expected[s]) << "series " << s;
    const bool ok = expected[s] == SeriesStatus::kOk;
    EXPECT_NE(std::isnan(fit.variance[static_cast<size_t>(s)]), ok);
    for (int64_t k = 0; k < 3; ++k) EXPECT_NE(std::isnan(fit.coefficients.at(k, s)), ok);
  }
  // A penalty makes the regressors that explain each other share the weight.
  Fit ridge = FitTo(values, {1, 2}, 0.01f);
  EXPECT_EQ(ridge.status[3], SeriesStatus::kOk);
  EXPECT_NEAR(ridge.coefficients.at(1, 3), -0.5, 0.01);
  EXPECT_NEAR(ridge.coefficients.at(2, 3), 0.5, 0.01);

  Fit short_fit = FitTo(values, {1, 2, 56});
  for (const SeriesStatus status : short_fit.status) EXPECT_EQ(status, SeriesStatus::kTooShort);
}

}  // namespace
}  // namespace foreshadow::kernels
