#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/unit/training/io/scratch.h"
#include "training/patterns/find.h"
#include "training/patterns/print.h"

namespace foreshadow::training {
namespace {

using kernels::SeriesStatus;

constexpr int64_t kSteps = 24 * 40;
constexpr int32_t kSpikeAt = 500;
constexpr int32_t kAhead = 3;

// Writes lead a day-shaped load by kAhead steps; one spike in the load; a column without a sample.
WideTable Table() {
  WideTable table;
  table.names = {"writes", "load, \"main\"", "empty"};
  table.steps = kSteps;
  table.start_ms = 1'700'000'000'000;
  table.step_ms = 3'600'000;
  table.values.assign(3 * kSteps, std::nanf(""));
  std::mt19937 random(5);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> cause(kSteps);
  for (float& value : cause) value = normal(random);
  for (size_t i = 0; i < kSteps; ++i) {
    table.values[3 * i] = cause[i];
    const float caused = i >= kAhead ? cause[i - kAhead] : 0;
    const auto day = static_cast<float>(8 * std::sin(2 * M_PI * double(i) / 24));
    table.values[3 * i + 1] = 50 + day + caused + 0.3f * normal(random);
  }
  table.values[3 * kSpikeAt + 1] += 30;
  return table;
}

class PatternsCommand : public ScratchTest {};

TEST_F(PatternsCommand, FindsPeriodSpikeAndLead) {
  const WideTable table = Table();
  const auto found = FindPatterns(table, {.leader = "writes"});
  ASSERT_TRUE(found.ok()) << found.status();
  const Patterns& writes = (*found)[0];
  const Patterns& load = (*found)[1];
  EXPECT_TRUE(writes.periods.empty());
  EXPECT_FALSE(writes.has_lead);
  ASSERT_EQ(load.periods.size(), 1u);
  EXPECT_EQ(load.periods[0].steps, 24);
  ASSERT_EQ(load.events.size(), 1u);
  EXPECT_EQ(load.events[0].kind, kernels::EventKind::kSpike);
  EXPECT_EQ(load.events[0].onset, kSpikeAt);
  EXPECT_EQ(load.events[0].duration, 1);
  EXPECT_EQ(load.events[0].shape, kernels::EventShape::kPulse);
  EXPECT_NEAR(load.events[0].height, 30, 4);
  EXPECT_TRUE(load.has_lead);
  EXPECT_EQ(load.lead.lag, kAhead);
  EXPECT_GT(load.lead.correlation, 0.6);
  EXPECT_LT(load.lead.p_value, 1e-6);
  EXPECT_EQ((*found)[2].status, SeriesStatus::kNoData);
}

// The trend bends around a shift; what it leaves in the remainder is no spike.
TEST_F(PatternsCommand, AShiftUnderASeasonIsOneLevelShift) {
  constexpr size_t kShiftAt = 600;
  WideTable table = Table();
  for (size_t i = kShiftAt; i < kSteps; ++i) table.values[3 * i + 1] += 25;
  const auto found = FindPatterns(table, {});
  ASSERT_TRUE(found.ok());
  const Patterns& load = (*found)[1];
  ASSERT_EQ(load.periods.size(), 1u);
  ASSERT_EQ(load.events.size(), 2u);
  EXPECT_EQ(load.events[0].kind, kernels::EventKind::kSpike);
  EXPECT_EQ(load.events[0].onset, kSpikeAt);
  EXPECT_EQ(load.events[1].kind, kernels::EventKind::kLevelShift);
  EXPECT_EQ(load.events[1].onset, static_cast<int32_t>(kShiftAt));
  EXPECT_NEAR(load.events[1].height, 25, 2);
  EXPECT_NEAR(load.events[1].before, 50, 2);
  const auto json = nlohmann::json::parse(PatternsJson(table, *found));
  ASSERT_EQ(json[1]["level_shifts"].size(), 1u);
  EXPECT_EQ(json[1]["level_shifts"][0]["onset_step"], kShiftAt);
  EXPECT_EQ(json[1]["spikes"].size(), 1u);
  EXPECT_NE(PatternsCsv(table, *found).find(",level-shift,"), std::string::npos);
  ASSERT_TRUE(PlotPatterns(table, *found, PathOf("shift.svg")).ok());
  EXPECT_NE(Get("shift.svg").find("1 level shifts"), std::string::npos);
}

TEST_F(PatternsCommand, ALeaderThatIsNoColumnIsNamed) {
  const auto found = FindPatterns(Table(), {.leader = "reads"});
  ASSERT_FALSE(found.ok());
  EXPECT_NE(found.status().message().find("reads"), absl::string_view::npos);
  EXPECT_NE(found.status().message().find("writes"), absl::string_view::npos);
}

TEST_F(PatternsCommand, CsvIsReadBackByTheReader) {
  const WideTable table = Table();
  const auto found = FindPatterns(table, {.leader = "writes"});
  ASSERT_TRUE(found.ok());
  auto reader = CsvReader::Open(Put("patterns.csv", PatternsCsv(table, *found)));
  ASSERT_TRUE(reader.ok());
  std::vector<std::string> patterns;
  while (*reader->Next()) {
    ASSERT_EQ(reader->fields().size(), 10u);
    if (reader->fields()[0] != table.names[1]) continue;
    patterns.emplace_back(reader->fields()[1]);
    if (reader->fields()[1] == "spike") {
      EXPECT_EQ(*ParseTime(reader->fields()[2], {}), table.start_ms + kSpikeAt * table.step_ms);
      EXPECT_EQ(reader->fields()[7], "pulse");
    }
  }
  EXPECT_EQ(patterns, (std::vector<std::string>{"period", "spike", "lead"}));
}

TEST_F(PatternsCommand, JsonTellsStatusAndLeavesNoNan) {
  const WideTable table = Table();
  const auto found = FindPatterns(table, {.leader = "writes"});
  ASSERT_TRUE(found.ok());
  const auto json = nlohmann::json::parse(PatternsJson(table, *found));
  ASSERT_EQ(json.size(), 3u);
  EXPECT_EQ(json[1]["periods"][0]["steps"], 24);
  EXPECT_EQ(json[1]["lead"]["lag_steps"], kAhead);
  EXPECT_EQ(json[2]["spikes_status"], "no sample");
  EXPECT_TRUE(json[2]["scale"].is_null());
}

TEST_F(PatternsCommand, PlotsByGnuplot) {
  const WideTable table = Table();
  const auto found = FindPatterns(table, {});
  ASSERT_TRUE(found.ok());
  for (const auto& [name, start] :
       {std::pair{"it's a plot.svg", "<?xml"}, {"plot.png", "\x89PNG"}}) {
    const absl::Status status = PlotPatterns(table, *found, PathOf(name));
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(Get(name).substr(0, std::strlen(start)), start);
  }
  EXPECT_EQ(PlotPatterns(table, *found, PathOf("plot.pdf")).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(PlotPatterns(table, *found, PathOf("no/such/folder.svg")).code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace foreshadow::training
