// What a series may hold that no model can use: each says so of that series alone, and every other
// answer of the batch is the same to the last bit. Of `arima` to 1e-5: STL sums in another order
// where a series of its lanes has gaps.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "models/registry.h"

namespace foreshadow::models {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();
constexpr int64_t kSteps = 900;  // three days of 5 min and a little
constexpr int kAhead = 12;
constexpr int64_t kStepMs = 300'000;
const std::string kFolder = FORESHADOW_SOURCE_DIR "/models/default";

using Column = std::vector<float>;

// The names that MakeModel lists when it knows none.
std::vector<std::string> AllModels() {
  const auto none = MakeModel("?", kFolder);
  std::string list(none.status().message());
  list.erase(0, list.find("allowed are ") + 12);
  list = list.substr(0, list.find(" ("));  // notes on what could not be loaded
  std::vector<std::string> names;
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find(", ", begin), list.size());
    names.push_back(list.substr(begin, end - begin));
    begin = end + 2;
  }
  return names;
}

Column Daily(uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, 3);
  Column column(kSteps);
  for (int64_t t = 0; t < kSteps; ++t) {
    column[t] = 50 + 20 * std::sin(6.2831853f * static_cast<float>(t) / 288) + normal(random);
  }
  return column;
}

// Good samples of which every seventh is `value`.
Column Among(float value) {
  Column column = Daily(9);
  for (int64_t t = 3; t < kSteps; t += 7) column[t] = value;
  return column;
}

QuantileBlock ForecastWith(const Forecaster& model, const std::vector<Column>& columns) {
  const auto series = std::ssize(columns);
  std::vector<float> values;
  for (int64_t t = 0; t < kSteps; ++t) {
    for (const Column& column : columns) values.push_back(column[t]);
  }
  const std::vector<SignalKind> signals(columns.size(), SignalKind::kCpu);
  const std::vector<int32_t> periods(columns.size(), 0);
  QuantileBlock block;
  const absl::Status status = model.Forecast(
      {1'700'000'100'000, kStepMs, {values.data(), kSteps, series, series}, signals, periods},
      kAhead, block);
  EXPECT_TRUE(status.ok()) << status;
  return block;
}

struct Bad {
  std::string name;
  Column column;
  bool empty;  // not one usable sample
};

std::vector<Bad> BadColumns() {
  Column one(kSteps, kMissing);
  one[kSteps - 2] = 3;
  Column old = Daily(8);
  std::fill(old.begin() + 300, old.end(), kMissing);
  Column huge(kSteps, 0);
  for (int64_t t = 0; t < kSteps; t += 2) huge[t] = 1e30f;
  Column largest(kSteps, 1);
  for (int64_t t = 0; t < kSteps; t += 5) largest[t] = kLargest;
  Column negative = Daily(7);
  for (float& value : negative) value = -value;
  return {{"all missing", Column(kSteps, kMissing), true},
          {"all infinite", Column(kSteps, kInfinity), true},
          {"one sample", one, false},
          {"silent for two days", old, false},
          {"constant", Column(kSteps, 42), false},
          {"zero", Column(kSteps, 0), false},
          {"1e30 and 0", huge, false},
          {"the largest float among ones", largest, false},
          {"tiny", Column(kSteps, std::numeric_limits<float>::denorm_min()), false},
          {"negative", negative, false},
          {"infinities among good samples", Among(kInfinity), false},
          {"minus infinities among good samples", Among(-kInfinity), false},
          {"1e30 among good samples", Among(1e30f), false}};
}

class BadInput : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const auto model = MakeModel(GetParam(), kFolder);
    ASSERT_TRUE(model.ok()) << model.status();
    model_ = *model;
  }
  std::shared_ptr<const Forecaster> model_;
};

TEST_P(BadInput, ConcernsThatSeriesAlone) {
  const QuantileBlock good = ForecastWith(*model_, {Daily(1), Daily(2), Daily(3)});
  const float tolerance = GetParam() == "arima" ? 1e-5f : 0;
  for (const Bad& bad : BadColumns()) {
    SCOPED_TRACE(bad.name);
    const QuantileBlock block = ForecastWith(*model_, {Daily(1), bad.column, Daily(3)});
    for (const int64_t s : {0, 2}) {
      EXPECT_EQ(block.status[s], good.status[s]);
      for (int step = 0; step < kAhead; ++step) {
        for (int q = 0; q < kQuantiles; ++q) {
          const float expected = good.at(s, step)[q];
          ASSERT_NEAR(block.at(s, step)[q], expected, tolerance * expected) << step << " " << q;
        }
      }
    }
    const ForecastStatus status = block.status[1];
    const bool answered = status == ForecastStatus::kOk || status == ForecastStatus::kFellBack;
    if (bad.empty) {
      EXPECT_EQ(status, ForecastStatus::kNoHistory);
    }
    for (int step = 0; step < kAhead; ++step) {
      const auto row = block.at(1, step);
      if (!answered) {
        EXPECT_TRUE(std::ranges::all_of(row, [](float x) { return std::isnan(x); }));
        continue;
      }
      EXPECT_TRUE(std::ranges::is_sorted(row));
      EXPECT_GE(row.front(), 0);
      EXPECT_LE(row.back(), kLargest);
    }
  }
}

TEST_P(BadInput, AConstantIsCarriedOn) {
  const QuantileBlock block = ForecastWith(*model_, {Column(kSteps, 42), Column(kSteps, 0)});
  EXPECT_NEAR(block.at(0, kAhead - 1)[kMedian], 42, 1);
  EXPECT_NEAR(block.at(1, kAhead - 1)[kMedian], 0, 1e-3);
}

TEST_P(BadInput, NoSeriesAreNoAnswers) {
  const QuantileBlock block = ForecastWith(*model_, {});
  EXPECT_EQ(block.series, 0);
  EXPECT_TRUE(block.values.empty());
}

INSTANTIATE_TEST_SUITE_P(Models, BadInput, testing::ValuesIn(AllModels()), [](const auto& param) {
  std::string name = param.param;
  std::ranges::replace(name, '-', '_');
  return name;
});

}  // namespace
}  // namespace foreshadow::models
