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
    ASSERT_EQ(reader->fields().size(), 12u);
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

// In no account of "web" is the lead plain, in all together it is; "batch" has none.
TEST_F(PatternsCommand, PoolsLeadsOfATraceByApplication) {
  constexpr size_t kAccounts = 60;
  constexpr size_t kTraceSteps = 300;
  constexpr size_t kLag = 2;
  Trace trace;
  trace.start_ms = 1'700'000'000'000;
  trace.step_ms = 300'000;
  trace.steps = kTraceSteps;
  std::mt19937 random(6);
  std::normal_distribution<float> normal(0, 1);
  trace.values.resize(kTraceSteps * kAccounts * kTraceSignals);
  const auto at = [&](size_t step, size_t account, size_t signal) -> float& {
    return trace.values[(step * kAccounts + account) * kTraceSignals + signal];
  };
  for (float& value : trace.values) value = 20 + normal(random);
  for (size_t a = 0; a < kAccounts; ++a) {
    const char* application = a % 3 == 0 ? "batch" : a % 3 == 1 ? "web" : "";
    trace.accounts.push_back({"vm-" + std::to_string(a), "cell-0", application});
    for (size_t i = kLag; i < kTraceSteps && a % 3 == 1; ++i) {
      at(i, a, 1) += 0.2f * (at(i - kLag, a, 4) - 20);
    }
  }
  const WideTable table = TableOf(trace);
  EXPECT_EQ(table.names[6], "vm-1.memory");
  const auto found = FindPatterns(trace, table, {});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(found->series[6].has_lead);
  EXPECT_FALSE(found->series[9].has_lead);  // the mutation rate itself
  ASSERT_EQ(found->pooled.size(), 8u);      // two applications, four resources
  for (const PooledLead& lead : found->pooled) {
    EXPECT_EQ(lead.accounts, 20);
    const bool leads = lead.application == "web" && lead.resource == "memory";
    if (leads) {
      EXPECT_EQ(lead.lag, kLag);
      EXPECT_NEAR(lead.correlation, 0.196, 0.05);
      EXPECT_LT(lead.p_value, 1e-6);
      EXPECT_GT(lead.heterogeneity_p_value, 1e-3);
    } else {
      EXPECT_GT(lead.p_value, 1e-4);
    }
  }
  const std::string csv = PatternsCsv(table, found->series, found->pooled);
  EXPECT_NE(csv.find("web.memory,pooled-lead,,2,"), std::string::npos);
  const auto json = nlohmann::json::parse(PatternsJson(table, found->series, found->pooled));
  ASSERT_EQ(json.size(), kAccounts * kTraceSignals + 8);
  EXPECT_EQ(json.back()["application"], "web");
  EXPECT_EQ(json.back()["pooled_lead"]["accounts"], 20);

  PatternOptions one_leads;
  one_leads.leader = "vm-0.mutation_rate";
  const auto led = FindPatterns(trace, table, one_leads);
  ASSERT_TRUE(led.ok());
  EXPECT_TRUE(led->pooled.empty());
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
