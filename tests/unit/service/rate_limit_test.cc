#include "service/ingest/rate_limit.h"

#include <gtest/gtest.h>

namespace foreshadow {
namespace {

TEST(RateLimit, LetsABurstThroughAndThenItsRate) {
  RateLimit limit(/*per_second=*/100, /*burst=*/50);
  EXPECT_EQ(limit.Take("a", 50, 1'000), 0);
  EXPECT_EQ(limit.Take("a", 10, 1'000), 100) << "10 samples are there after 100 ms";
  EXPECT_EQ(limit.Take("a", 10, 1'099), 1);
  EXPECT_EQ(limit.Take("a", 10, 1'100), 0);
  EXPECT_EQ(limit.Take("b", 50, 1'000), 0) << "each sender has its own";
  EXPECT_EQ(limit.Take("a", 50, 900'000), 0) << "never more than the burst";
  EXPECT_EQ(limit.Take("a", 1, 900'000), 10);
}

TEST(RateLimit, MakesALargeBatchPayAfterwards) {
  RateLimit limit(100, 50);
  EXPECT_EQ(limit.Take("a", 150, 1'000), 0);
  EXPECT_EQ(limit.Take("a", 1, 1'000), 1'010);
  EXPECT_EQ(limit.Take("a", 1, 2'010), 0);
}

TEST(SenderLimits, NameTheOneThatIsReached) {
  SenderLimits limits(/*samples_per_second=*/10, /*burst_samples=*/10, /*samples_per_day=*/25);
  EXPECT_EQ(limits.Take("a", 10, 0).ms, 0);
  const SenderLimits::Wait rate = limits.Take("a", 10, 0);
  EXPECT_EQ(rate.ms, 1'000);
  EXPECT_EQ(rate.why, "a sends more than ingest.samples_per_second = 10");
  EXPECT_EQ(limits.Take("a", 10, 1'000).ms, 0) << "the refused batch cost nothing of the quota";
  const SenderLimits::Wait day = limits.Take("a", 10, 2'000);
  EXPECT_EQ(day.why, "a has sent ingest.samples_per_day = 25");
  EXPECT_NEAR(static_cast<double>(day.ms), 5 * 86'400'000.0 / 25, 3'000);
  EXPECT_EQ(limits.Take("a", 10, 2'000 + day.ms).ms, 0);
  EXPECT_EQ(limits.Take("b", 10, 2'000).ms, 0);
}

TEST(RateLimit, OfNothingIsNone) {
  RateLimit limit(0, 1);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(limit.Take("a", 1'000'000, 1), 0);
}

TEST(RateLimit, TakesNoHarmFromAClockThatGoesBack) {
  RateLimit limit(100, 50);
  EXPECT_EQ(limit.Take("a", 50, 10'000), 0);
  EXPECT_EQ(limit.Take("a", 10, 5'000), 100);
  EXPECT_EQ(limit.Take("a", 10, 10'100), 0);
}

}  // namespace
}  // namespace foreshadow
