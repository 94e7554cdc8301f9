#include "service/analyze/analyze.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

constexpr int64_t kSteps = 300;
constexpr int64_t kLag = 3;

// Noise; in the accounts of "web", memory follows the mutation rate faintly.
std::vector<float> Values(const Fleet& fleet) {
  const int64_t series = fleet.series_count();
  std::vector<float> values(static_cast<size_t>(kSteps * series));
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 1);
  for (float& value : values) value = 50 + normal(random);
  for (size_t a = 0; a < fleet.accounts.size(); ++a) {
    if (fleet.accounts[a].application != "web") continue;
    for (int64_t i = kLag; i < kSteps; ++i) {
      const auto account = static_cast<int64_t>(a);
      const int64_t rate = SeriesOf(account, SignalKind::kMutationRate);
      const int64_t memory = SeriesOf(account, SignalKind::kMemory);
      values[static_cast<size_t>(i * series + memory)] +=
          0.25f * (values[static_cast<size_t>((i - kLag) * series + rate)] - 50);
    }
  }
  return values;
}

Fleet MakeFleet(int accounts) {
  Fleet fleet = testing::MakeFleet(1, 100);
  for (int a = 0; a < accounts; ++a) {
    testing::AddAccount(fleet, 0);
    fleet.accounts.back().application = a % 3 == 0 ? "web" : a % 3 == 1 ? "batch" : "";
  }
  return fleet;
}

void Tick(const Fleet& fleet, uint64_t tick, PatternMemory& memory) {
  const std::vector<float> values = Values(fleet);
  const int64_t series = fleet.series_count();
  const AnalyzeSettings settings;
  Analyze({{values.data(), kSteps, series, series}, 0, 60'000}, settings, tick, memory);
  PoolLeads(fleet, settings, tick, memory);
}

const PooledLead* Find(const PatternMemory& memory, const std::string& application,
                       SignalKind resource) {
  for (const PooledLead& lead : *memory.pooled_leads) {
    if (lead.application == application && lead.resource == resource) return &lead;
  }
  return nullptr;
}

TEST(Analyze, PoolsLeadsByApplication) {
  const Fleet fleet = MakeFleet(90);
  PatternMemory memory;
  Tick(fleet, 0, memory);
  EXPECT_EQ(memory.pooled_leads->size(), 8u);  // two applications, four resources
  const PooledLead* lead = Find(memory, "web", SignalKind::kMemory);
  ASSERT_NE(lead, nullptr);
  EXPECT_EQ(lead->lag_steps, kLag);
  EXPECT_EQ(lead->accounts, 30);
  EXPECT_NEAR(lead->correlation, 0.24, 0.05);
  EXPECT_LT(lead->p_value, 1e-9);
  EXPECT_GT(lead->heterogeneity_p_value, 1e-3);
  EXPECT_GT(Find(memory, "batch", SignalKind::kMemory)->p_value, 1e-3);
  EXPECT_EQ(Find(memory, "", SignalKind::kMemory), nullptr);
}

// New accounts are pooled at once, with what is known of the others; the same fleet only at the end
// of a turn of the rota.
TEST(Analyze, PoolsAnewWhenTheFleetGrows) {
  PatternMemory memory;
  Tick(MakeFleet(90), 0, memory);
  const auto before = memory.pooled_leads;
  Tick(MakeFleet(90), 1, memory);
  EXPECT_EQ(memory.pooled_leads, before);
  Tick(MakeFleet(93), 2, memory);
  EXPECT_EQ(Find(memory, "web", SignalKind::kMemory)->accounts, 31);
  const auto grown = memory.pooled_leads;
  Tick(MakeFleet(93), 11, memory);
  EXPECT_NE(memory.pooled_leads, grown);
}

}  // namespace
}  // namespace foreshadow
