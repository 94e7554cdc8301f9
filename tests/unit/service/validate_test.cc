#include "service/ingest/validate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace foreshadow {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kOldest = 1'000;
constexpr int64_t kNewest = 9'000;
const std::unordered_map<std::string, int32_t> kKnown = {{"x", 0}, {"y", 1}, {"z", 2}};

// A batch in memory, as the wire brings it.
struct Batch {
  std::vector<std::string> ids;
  struct Column {
    int32_t signal;
    std::vector<uint32_t> index;
    std::vector<int64_t> times;
    std::vector<float> values;
  };
  std::vector<Column> columns;

  Validated Check() const {
    std::vector<const std::string*> pointers;
    for (const std::string& id : ids) pointers.push_back(&id);
    std::vector<RawColumn> raw;
    for (const Column& c : columns) raw.push_back({c.signal, c.index, c.times, c.values});
    return Validate(pointers, raw, kKnown, kOldest, kNewest);
  }
};

TEST(Validate, ReadsBothFormsOfAColumn) {
  const Validated result =
      Batch{{"y", "x"},
            {{1, {}, {5'000}, {1, 2}}, {5, {1, 1, 0}, {1'000, 9'000, 4'000}, {3, 0, 5}}}}
          .Check();
  EXPECT_EQ(result.error, "");
  EXPECT_TRUE(result.rejections.empty());
  ASSERT_EQ(result.samples.size(), 5u);
  const auto expect = [&](size_t i, int32_t account, SignalKind signal, int64_t time, float value) {
    EXPECT_EQ(result.samples[i].account, account) << i;
    EXPECT_EQ(result.samples[i].signal, signal) << i;
    EXPECT_EQ(result.samples[i].time_ms, time) << i;
    EXPECT_EQ(result.samples[i].value, value) << i;
  };
  expect(0, 1, SignalKind::kCpu, 5'000, 1);
  expect(1, 0, SignalKind::kCpu, 5'000, 2);
  expect(2, 0, SignalKind::kMutationRate, 1'000, 3);
  expect(3, 0, SignalKind::kMutationRate, 9'000, 0);
  expect(4, 1, SignalKind::kMutationRate, 4'000, 5);
}

TEST(Validate, RefusesSingleSamplesAndKeepsTheRest) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  const Validated result = Batch{
      {"x", "w"},
      {{2,
        {0, 1, 0, 0, 0, 0, 0},
        {5'000, 5'000, 5'001, 5'002, 5'003, 999, 9'001},
        {1, 1, nan, infinity, -1, 1,
         1}}}}.Check();
  EXPECT_EQ(result.error, "");
  ASSERT_EQ(result.samples.size(), 1u);
  const std::vector<std::pair<RejectReason, std::string>> expected = {
      {RejectReason::kUnknownAccount, "account \"w\""},
      {RejectReason::kNotFinite, "nan"},
      {RejectReason::kNotFinite, "inf"},
      {RejectReason::kNegative, "-1"},
      {RejectReason::kTooOld, "time_ms = 999"},
      {RejectReason::kInFuture, "time_ms = 9001"}};
  ASSERT_EQ(result.rejections.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    EXPECT_EQ(result.rejections[i].reason, expected[i].first) << i;
    EXPECT_THAT(result.rejections[i].message, HasSubstr(expected[i].second)) << i;
    EXPECT_EQ(result.rejections[i].signal, SignalKind::kMemory) << i;
  }
}

TEST(Validate, RefusesAMalformedBatchAsAWhole) {
  const auto error = [](const Batch& batch) {
    const Validated result = batch.Check();
    EXPECT_TRUE(result.samples.empty());
    EXPECT_TRUE(result.rejections.empty());
    return result.error;
  };
  EXPECT_THAT(error({{"x", "y", "x"}, {}}), HasSubstr("account_ids[2] = \"x\""));
  EXPECT_THAT(error({{"x"}, {{0, {}, {5'000}, {1}}}}), HasSubstr("columns[0].signal = 0"));
  EXPECT_THAT(error({{"x"}, {{6, {}, {5'000}, {1}}}}), HasSubstr("columns[0].signal = 6"));
  EXPECT_THAT(error({{"x", "y", "z"}, {{1, {}, {5'000, 5'000}, {1, 1, 1}}}}),
              HasSubstr("columns[0].time_ms has 2"));
  EXPECT_THAT(error({{"x"}, {{1, {}, {}, {1}}}}), HasSubstr("columns[0].time_ms has 0"));
  EXPECT_THAT(error({{"x"}, {{1, {}, {5'000}, {1, 2}}}}), HasSubstr("columns[0].account_index"));
  EXPECT_THAT(error({{"x"}, {{1, {0}, {5'000}, {1, 2}}}}), HasSubstr("columns[0].account_index"));
  EXPECT_THAT(error({{"x"}, {{1, {}, {5'000}, {1}}, {1, {1}, {5'000}, {1}}}}),
              HasSubstr("columns[1].account_index[0] = 1"));
  Batch large{{"x"}, {{1, {}, {5'000}, {}}}};
  large.columns[0].index.assign(kBatchSamplesMax + 1, 0);
  large.columns[0].values.assign(kBatchSamplesMax + 1, 1);
  EXPECT_THAT(error(large), HasSubstr("at most 1000000"));
}

TEST(Validate, TakesAnEmptyBatch) {
  const Validated result = Batch{}.Check();
  EXPECT_EQ(result.error, "");
  EXPECT_TRUE(result.samples.empty());
}

}  // namespace
}  // namespace foreshadow
