#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "kernels/ops.h"
#include "tests/unit/kernels/batch.h"
#include "training/synth/fleet.h"

namespace foreshadow::training {
namespace {

SynthOptions Small() {
  SynthOptions options;
  options.accounts = 40;
  options.cells = 3;
  options.days = 7;
  options.flash_crowds_per_week = 3;
  options.start_ms = 1'893'974'400'000;  // a Monday
  return options;
}

TEST(Synth, TheSameSeedMakesTheSameFleet) {
  const SynthFleet one = MakeFleet(Small());
  const SynthFleet two = MakeFleet(Small());
  ASSERT_EQ(one.trace.values.size(), two.trace.values.size());
  for (size_t i = 0; i < one.trace.values.size(); ++i) {
    const bool both_missing = std::isnan(one.trace.values[i]) && std::isnan(two.trace.values[i]);
    ASSERT_TRUE(both_missing || one.trace.values[i] == two.trace.values[i]) << i;
  }
  SynthOptions other = Small();
  other.seed = 2;
  EXPECT_NE(MakeFleet(other).trace.values[0], one.trace.values[0]);
}

TEST(Synth, IsLabelledAndWithinBounds) {
  const SynthFleet fleet = MakeFleet(Small());
  EXPECT_EQ(fleet.trace.steps, 7 * 288);
  int64_t missing = 0;
  for (const float value : fleet.trace.values) {
    if (std::isnan(value))
      ++missing;
    else
      ASSERT_TRUE(std::isfinite(value) && value >= 0);
  }
  EXPECT_NEAR(double(missing) / double(fleet.trace.values.size()), 0.01, 0.006);
  for (const TraceAccount& account : fleet.trace.accounts) {
    EXPECT_TRUE(account.id.starts_with("synthetic-"));
    EXPECT_TRUE(account.cell.starts_with("synthetic-"));
  }
  std::set<std::string> kinds;
  for (const SynthEvent& event : fleet.events) kinds.insert(event.kind);
  EXPECT_EQ(kinds, (std::set<std::string>{"flash-crowd", "gap", "level-shift", "spike"}));
}

// The kernels find in it what was put in: the lead of the mutation rate and the day.
TEST(Synth, ItsTruthIsFound) {
  SynthOptions options = Small();
  options.lead_ms = 5 * options.step_ms;
  options.spikes_per_day = options.flash_crowds_per_week = options.level_shifts = 0;
  options.noise = 0.02;
  const SynthFleet fleet = MakeFleet(options);
  const Trace& trace = fleet.trace;
  kernels::testing::Batch leader(trace.steps - 1, options.accounts);
  kernels::testing::Batch follower(trace.steps - 1, options.accounts);
  for (int64_t i = 1; i < trace.steps; ++i) {
    for (int64_t a = 0; a < options.accounts; ++a) {  // changes: the season alone correlates too
      leader.at(i - 1, a) =
          trace.view().at(i, a * kTraceSignals + 4) - trace.view().at(i - 1, a * kTraceSignals + 4);
      follower.at(i - 1, a) =
          trace.view().at(i, a * kTraceSignals) - trace.view().at(i - 1, a * kTraceSignals);
    }
  }
  const auto n = static_cast<size_t>(options.accounts);
  std::vector<int32_t> lag(n);
  std::vector<float> correlation(n), p_value(n);
  std::vector<kernels::SeriesStatus> status(n);
  kernels::LagArgs args;
  args.leader = leader.view();
  args.follower = follower.view();
  args.lag = lag;
  args.correlation = correlation;
  args.p_value = p_value;
  args.status = status;
  kernels::testing::Workspace workspace(kernels::CpuOps().lags_workspace_bytes(args));
  args.workspace = workspace.span();
  kernels::CpuOps().lags(args);
  for (size_t a = 0; a < n; ++a) {
    EXPECT_EQ(lag[a], 5) << a;
    EXPECT_LT(p_value[a], 1e-3) << a;
  }
}

}  // namespace
}  // namespace foreshadow::training
