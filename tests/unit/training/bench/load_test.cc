// The load tool measures from when a call was meant to begin, and counts every call.
#include "training/client/load.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <thread>
#include <vector>

#include "service/rpc/work_queue.h"

namespace foreshadow::training {
namespace {

using namespace std::chrono_literals;

TEST(Load, AStallIsChargedToEveryCallThatItKeptWaiting) {
  rpc::WorkQueue server(1);
  LoadOptions options;
  options.per_s = 200;
  options.seconds = 1;
  const LoadResult result = RunOpenLoop(options, [&](int64_t call, AnswerTo answer) {
    server.Run([call, answer = std::move(answer)] {
      if (call == 50) std::this_thread::sleep_for(400ms);
      answer({true, "", 10});
    });
  });
  ASSERT_EQ(result.latencies_ms.size(), 200u);
  EXPECT_TRUE(std::is_sorted(result.latencies_ms.begin(), result.latencies_ms.end()));
  // 80 calls begin within the 400 ms, the first of which waits for all of it.
  const auto slow = std::count_if(result.latencies_ms.begin(), result.latencies_ms.end(),
                                  [](double ms) { return ms > 100; });
  EXPECT_GE(slow, 40);
  EXPECT_GE(result.Percentile(100), 400);
  EXPECT_EQ(result.calls, 200);
  EXPECT_EQ(result.failed, 0);
  EXPECT_EQ(result.bytes_per_call, 10);
  EXPECT_LE(result.achieved_per_s, 201);
}

TEST(Load, FailedCallsAreCountedAndNotTimed) {
  LoadOptions options;
  options.per_s = 1'000;
  options.seconds = 0.1;
  options.warm_up_s = 0.05;
  const LoadResult result = RunOpenLoop(options, [](int64_t call, const AnswerTo& answer) {
    answer({call % 2 == 0, call < 50 ? "warming up" : "odd", 0});
  });
  EXPECT_EQ(result.calls, 100);
  EXPECT_EQ(result.failed, 50);
  EXPECT_EQ(result.latencies_ms.size(), 50u);
  EXPECT_EQ(result.first_error, "odd");
}

TEST(Load, ARampMakesAsManyCallsAsItsMeanRate) {
  LoadOptions options;
  options.per_s = 500;
  options.per_s_end = 1'500;
  options.seconds = 0.2;
  int64_t begun = 0;
  const LoadResult result = RunOpenLoop(options, [&](int64_t, const AnswerTo& answer) {
    ++begun;
    answer({true, "", 0});
  });
  EXPECT_EQ(result.calls, 200);
  EXPECT_EQ(begun, 200);
  EXPECT_EQ(result.offered_per_s, 1'000);
}

TEST(Load, PercentilesAreOfTheNearestRank) {
  LoadResult result;
  EXPECT_TRUE(std::isnan(result.Percentile(50)));
  for (int i = 1; i <= 200; ++i) result.latencies_ms.push_back(i);
  EXPECT_EQ(result.Percentile(0), 1);
  EXPECT_EQ(result.Percentile(50), 100);
  EXPECT_EQ(result.Percentile(99), 198);
  EXPECT_EQ(result.Percentile(99.9), 200);
  EXPECT_EQ(result.Percentile(100), 200);
}

}  // namespace
}  // namespace foreshadow::training
