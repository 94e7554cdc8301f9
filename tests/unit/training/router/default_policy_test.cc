// The policy that comes with the program keeps what docs/benchmarks.md says of it, on fewer
// episodes.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "training/router/study.h"

namespace foreshadow::training::router {
namespace {

const StudyRow& RowOf(const Study& study, const std::string& policy) {
  return *std::find_if(study.rows.begin(), study.rows.end(),
                       [&](const StudyRow& row) { return row.policy == policy; });
}

TEST(DefaultPolicy, HasAFifthLessTailThanRampAndAimdAndCostsLessThanAll) {
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
    EXPECT_GT(row.cost_more.low, 0) << rule;
  }
  for (const char* rule : {"ewma", "p2c"}) {
    EXPECT_GT(RowOf(*study, rule).cost_more.value, 0) << rule;
  }
  for (const char* railed : {"aimd-guarded", "proportional-guarded", "ewma-guarded"}) {
    EXPECT_GT(RowOf(*study, railed).cost_more.low, 0) << railed;
  }
  EXPECT_GT(RowOf(*study, "aimd-guarded").p99_ratio.low, 1.2);
}

// The card's sum was made by sha256sum; one byte of the weights is changed.
TEST(DefaultPolicy, WithOneByteChangedIsRefused) {
  const std::string folder = testing::TempDir() + "changed_policy";
  std::filesystem::remove_all(folder);
  std::filesystem::copy(FORESHADOW_SOURCE_DIR "/models/default/router", folder);
  ASSERT_TRUE(LoadQPolicy(folder).ok());
  const std::string path = folder + "/weights.safetensors";
  std::string bytes = *models::ReadWholeFile(path, 1 << 24);
  char& byte = bytes[bytes.size() - 3];
  byte = static_cast<char>(byte ^ 1);
  ASSERT_TRUE(models::ReplaceFile(path, bytes).ok());
  const absl::Status status = LoadQPolicy(folder).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_NE(status.message().find(path + ": its SHA-256 is "), absl::string_view::npos) << status;
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace foreshadow::training::router
