// The policy that comes with the program keeps what docs/benchmarks.md says of it, on fewer
// episodes.
#include <gtest/gtest.h>

#include <algorithm>

#include "training/router/study.h"

namespace foreshadow::training::router {
namespace {

const StudyRow& RowOf(const Study& study, const std::string& policy) {
  return *std::find_if(study.rows.begin(), study.rows.end(),
                       [&](const StudyRow& row) { return row.policy == policy; });
}

TEST(DefaultPolicy, HasAFifthLessTailThanRampAndAimdAndNoMoreFailures) {
  const auto policy = LoadQPolicy(FORESHADOW_SOURCE_DIR "/models/default/router");
  ASSERT_TRUE(policy.ok()) << policy.status();
  StudyOptions o;
  o.episodes = 3;
  o.seed = 2'000;
  o.oracle = false;
  const auto study = RunStudy(o, &*policy, [](int64_t, int64_t) {});
  ASSERT_TRUE(study.ok()) << study.status();
  for (const char* rule : {"ramp", "aimd"}) {
    const StudyRow& row = RowOf(*study, rule);
    EXPECT_GT(row.p99_ratio.value, 1.25) << rule;  // 20 % less is 1 / 0.8
    EXPECT_GT(row.failed_more.value, 0) << rule;
  }
}

}  // namespace
}  // namespace foreshadow::training::router
