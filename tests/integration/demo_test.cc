// The demo as a user runs it, over its first hours: real server, real agents, real processes.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/integration/process.h"

namespace foreshadow::testing {
namespace {

struct Outcome {
  nlohmann::json summary;
  std::string output;
  int code = -1;
};

Outcome RunDemo(const std::string& folder, const std::string& hours) {
  const std::string summary = folder + "/summary.json";
  std::filesystem::remove(summary);
  const std::string log = folder + "/log-" + std::to_string(std::rand());
  Process demo({std::string(FORESHADOW_BIN_DIR) + "/foreshadow", "demo", "--act", "night",
                "--hours", hours, "--summary", summary},
               log);
  Outcome run;
  run.code = demo.Wait();
  run.output = demo.Output();
  if (run.code == 0) run.summary = nlohmann::json::parse(ReadFile(summary));
  return run;
}

class Demo : public ::testing::Test {
 protected:
  Demo() {
    std::string name = "/tmp/foreshadow-demo-test-XXXXXX";
    folder = mkdtemp(name.data());
  }
  ~Demo() override { std::filesystem::remove_all(folder); }
  std::string folder;
};

TEST_F(Demo, ForeseesAnOverloadAndShadowsItBeforeItComesTheSameEachTime) {
  const Outcome one = RunDemo(folder, "3.5");
  ASSERT_EQ(one.code, 0) << one.output;
  const nlohmann::json& s = one.summary;
  EXPECT_EQ(s.at("accounts"), 500);
  EXPECT_EQ(s.at("cells"), 5);
  EXPECT_EQ(s.at("ticks"), 42);
  EXPECT_GE(s.at("overloads_foreseen").get<int>(), 1) << one.output;
  EXPECT_GE(s.at("lead_minutes_median").get<double>(), 5);
  EXPECT_GE(s.at("shadows_created").get<int>(), 1);
  EXPECT_GT(s.at("shadow_hours").get<double>(), 0);
  EXPECT_GT(s.at("overload_minutes_without").get<double>(), 0);
  EXPECT_LT(s.at("overload_minutes_with").get<double>(),
            s.at("overload_minutes_without").get<double>());
  EXPECT_GT(s.at("forecast_mase").get<double>(), 0);
  EXPECT_NE(one.output.find("FORESEEN"), std::string::npos);

  const Outcome two = RunDemo(folder, "3.5");
  ASSERT_EQ(two.code, 0) << two.output;
  EXPECT_EQ(one.summary.at("plan_digest"), two.summary.at("plan_digest"));
}

// Real requests: what shadows are worth, and that neither a killed primary nor a migration loses
// one.
TEST_F(Demo, LosesNoRequestWhereNoneMayBeLost) {
  const std::string summary = folder + "/traffic.json";
  Process demo({std::string(FORESHADOW_BIN_DIR) + "/foreshadow", "demo", "--act", "traffic",
                "--summary", summary},
               folder + "/traffic.log");
  ASSERT_EQ(demo.Wait(), 0) << demo.Output();
  const auto rows = nlohmann::json::parse(ReadFile(summary)).at("traffic");
  ASSERT_EQ(rows.size(), 4u);
  for (const auto& row : rows) EXPECT_GT(row.at("requests").get<int>(), 5'000) << row;
  EXPECT_LT(rows[1].at("p99_ms").get<double>(), rows[0].at("p99_ms").get<double>());
  EXPECT_EQ(rows[2].at("failed"), 0);
  EXPECT_EQ(rows[3].at("failed"), 0);
}

TEST_F(Demo, SaysWhatIsWrongWithItsData) {
  Process demo({std::string(FORESHADOW_BIN_DIR) + "/foreshadow", "demo", "--data", "/nowhere"},
               folder + "/log");
  EXPECT_EQ(demo.Wait(), 1);
  EXPECT_NE(demo.Output().find("/nowhere/history.csv.gz"), std::string::npos);
}

}  // namespace
}  // namespace foreshadow::testing
