#include "service/analyze/analyze.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "tests/unit/kernels/guarded_ops.h"
#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

using kernels::testing::GuardedMemory;

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

// --- On a device ---------------------------------------------------------------------------------

constexpr int64_t kStep = 60'000;
constexpr int64_t kEnd = 1'000;  // of the first tick, in steps

// Seasons of several lengths, spikes, shifts, gaps, leads, and some without any.
float Demand(int64_t account, SignalKind signal, int64_t step) {
  const auto noise = [&](int64_t at) {
    uint64_t x =
        static_cast<uint64_t>(at * 1'000'003 + account * 31 + static_cast<int64_t>(signal));
    x = (x ^ x >> 31) * 0x9e3779b97f4a7c15;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return static_cast<float>((x ^ x >> 31) >> 40) * 0x1p-24f - 0.5f;
  };
  const int64_t kind = (account + static_cast<int64_t>(signal)) % 5;
  if (kind == 4 && signal != SignalKind::kMutationRate) return 20;
  float value = 50 + 2 * noise(step);
  const float turn = 6.2831853f * static_cast<float>(step);
  if (kind < 2)
    value += 8 * std::sin(turn / (kind == 0 ? 24 : 60 + static_cast<float>(account % 3)));
  if (kind == 2 && (step == kEnd - 77 || step == kEnd - 76)) value += 25;
  if (kind == 3 && step > kEnd - 150) value += 12;
  if (signal == SignalKind::kMemory)
    value += 4 * std::sin(static_cast<float>((step - kLag) * step % 89));
  if (signal == SignalKind::kMutationRate)
    value += 4 * std::sin(static_cast<float>(step * (step + kLag) % 89));
  return value;
}

void Fill(Window& window, int64_t accounts, int64_t from_step, int64_t to_step) {
  std::vector<Sample> samples;
  for (int64_t step = from_step; step <= to_step; ++step) {
    for (int64_t a = 0; a < accounts; ++a) {
      for (int s = 0; s < kSignals; ++s) {
        const auto signal = static_cast<SignalKind>(s);
        if ((step * 7 + a * 3 + s) % 61 == 0) continue;
        samples.push_back({static_cast<int32_t>(a), signal, step * kStep, Demand(a, signal, step)});
      }
    }
  }
  window.Grow(accounts * kSignals);
  if (window.steps() == 0) window.AdvanceTo(from_step * kStep);
  window.AdvanceTo(to_step * kStep);
  EXPECT_EQ(window.Write(samples), 0);
}

// Floats of the two backends: the same formulas, sums in another order.
void ExpectNear(float a, float b, const std::string& where) {
  if (std::isnan(a) || std::isnan(b)) {
    EXPECT_EQ(std::isnan(a), std::isnan(b)) << where;
  } else {
    EXPECT_NEAR(a, b, 1e-5 + 1e-4 * std::abs(b)) << where;
  }
}

void ExpectSamePattern(const SeriesPattern& a, const SeriesPattern& b, const std::string& where) {
  EXPECT_EQ(a.periods, b.periods) << where;
  for (size_t k = 0; k < a.strengths.size(); ++k) ExpectNear(a.strengths[k], b.strengths[k], where);
  ExpectNear(a.trend_per_step, b.trend_per_step, where);
  ExpectNear(a.seasonal_strength, b.seasonal_strength, where);
  EXPECT_EQ(a.lag_steps, b.lag_steps) << where;
  ExpectNear(a.lag_correlation, b.lag_correlation, where);
  ExpectNear(a.lag_p_value, b.lag_p_value, where);
  ASSERT_EQ(a.spikes.size(), b.spikes.size()) << where;
  for (size_t i = 0; i < a.spikes.size(); ++i) {
    EXPECT_EQ(a.spikes[i].onset_ms, b.spikes[i].onset_ms) << where;
    EXPECT_EQ(a.spikes[i].duration_steps, b.spikes[i].duration_steps) << where;
    EXPECT_EQ(a.spikes[i].shape, b.spikes[i].shape) << where;
    ExpectNear(a.spikes[i].peak, b.spikes[i].peak, where);
  }
  ASSERT_EQ(a.level_shifts.size(), b.level_shifts.size()) << where;
  for (size_t i = 0; i < a.level_shifts.size(); ++i) {
    EXPECT_EQ(a.level_shifts[i].onset_ms, b.level_shifts[i].onset_ms) << where;
    EXPECT_EQ(a.level_shifts[i].duration_steps, b.level_shifts[i].duration_steps) << where;
    ExpectNear(a.level_shifts[i].before, b.level_shifts[i].before, where);
    ExpectNear(a.level_shifts[i].after, b.level_shifts[i].after, where);
    ExpectNear(a.level_shifts[i].score, b.level_shifts[i].score, where);
  }
}

void ExpectSameMemory(const PatternMemory& a, const PatternMemory& b) {
  ASSERT_EQ(a.series->size(), b.series->size());
  EXPECT_EQ(a.period_steps, b.period_steps);
  EXPECT_EQ(a.analyzed_accounts, b.analyzed_accounts);
  for (size_t s = 0; s < a.series->size(); ++s) {
    const std::string where = "series " + std::to_string(s);
    ExpectSamePattern((*a.series)[s], (*b.series)[s], where);
    ExpectNear(a.naive_scale[s], b.naive_scale[s], where);
  }
  ASSERT_EQ(a.lags.correlations.size(), b.lags.correlations.size());
  for (size_t i = 0; i < a.lags.correlations.size(); ++i) {
    const std::string where = "lag and pair " + std::to_string(i);
    ExpectNear(a.lags.correlations[i], b.lags.correlations[i], where);
    ExpectNear(a.lags.effective_pairs[i], b.lags.effective_pairs[i], where);
  }
}

class AnalyzeOnDevice : public kernels::testing::OnDevice {};

FORESHADOW_ON_DEVICES(AnalyzeOnDevice);

// Ticks of a fleet that grows, in batches of one block and of all that are due.
TEST_P(AnalyzeOnDevice, FindsWhatTheCpuFinds) {
  for (const int64_t work_bytes : {int64_t{1}, int64_t{4} << 30}) {
    AnalyzeSettings settings;
    settings.rota_ticks = 2;
    Window window(kStep, 360);
    PatternMemory here;
    PatternMemory there;
    AnalyzeDevice device(*device_);
    device.work_bytes = work_bytes;
    Fill(window, 70, kEnd - 359, kEnd);
    for (uint64_t tick = 0; tick < 3; ++tick) {
      const auto now = kEnd + static_cast<int64_t>(tick);
      if (tick > 0) Fill(window, tick == 2 ? 140 : 70, now, now);
      GuardedMemory::The().bytes_out = 0;
      Analyze(window.view(), settings, tick, here);
      ASSERT_TRUE(AnalyzeOn(device, window, settings, tick, there).ok());
      ExpectSameMemory(here, there);
      // No batch of series comes to the host.
      EXPECT_LT(GuardedMemory::The().bytes_out,
                window.series() * window.steps() * static_cast<int64_t>(sizeof(float)) / 4);
    }
    // It found something to compare.
    int seasons = 0, spikes = 0, shifts = 0, leads = 0;
    for (const SeriesPattern& pattern : *there.series) {
      seasons += pattern.seasonal_strength > 0.5f;
      spikes += !pattern.spikes.empty();
      shifts += !pattern.level_shifts.empty();
      leads += pattern.lag_p_value < 1e-3f;
    }
    EXPECT_GT(seasons, 50);
    EXPECT_GT(spikes, 20);
    EXPECT_GT(shifts, 20);
    EXPECT_GT(leads, 5);
  }
}

// Against what Demand puts in: the two backends could agree on something wrong.
TEST_P(AnalyzeOnDevice, FindsWhatIsThere) {
  Window window(kStep, 360);
  Fill(window, 70, kEnd - 359, kEnd);
  AnalyzeDevice device(*device_);
  PatternMemory memory;
  ASSERT_TRUE(AnalyzeOn(device, window, {}, 0, memory).ok());
  int seasons = 0, seasons_right = 0, shifts = 0, shifts_right = 0, spikes = 0, spikes_right = 0;
  for (int64_t a = 0; a < 70; ++a) {
    const SeriesPattern& pattern =
        (*memory.series)[static_cast<size_t>(SeriesOf(a, SignalKind::kCpu))];
    const int64_t kind = a % 5;
    if (kind == 0) {
      ++seasons;
      seasons_right += pattern.periods[0] == 24 && pattern.seasonal_strength > 0.9f &&
                       std::abs(pattern.trend_per_step) < 0.05f;
    }
    if (kind == 2) {
      ++spikes;
      for (const SeriesPattern::Spike& spike : pattern.spikes) {
        const int64_t after = spike.onset_ms / kStep - (kEnd - 77);
        spikes_right += (after == 0 || after == 1) && std::abs(spike.peak - 25) < 4;
      }
    }
    if (kind == 3) {
      ++shifts;
      for (const SeriesPattern::LevelShift& shift : pattern.level_shifts) {
        shifts_right += std::abs(shift.onset_ms / kStep - (kEnd - 149)) <= 2 &&
                        std::abs(shift.after - shift.before - 12) < 1;
      }
    }
  }
  EXPECT_EQ(seasons_right, seasons);
  EXPECT_EQ(spikes_right, spikes);
  EXPECT_EQ(shifts_right, shifts);
}

TEST_P(AnalyzeOnDevice, WithoutRoomItSaysSoAndMayBeAskedAgain) {
  static size_t room = 0;
  static const kernels::Ops* base = nullptr;
  base = device_;
  kernels::Ops small = *device_;
  small.allocate = [](size_t bytes) { return bytes > room ? nullptr : base->allocate(bytes); };
  Window window(kStep, 100);
  Fill(window, 5, kEnd - 99, kEnd);
  AnalyzeDevice device(small);
  PatternMemory memory;
  for (const size_t bytes : {size_t{0}, size_t{64} << 10}) {  // the second: of the window alone
    room = bytes;
    const absl::Status status = AnalyzeOn(device, window, {}, 0, memory);
    EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
    EXPECT_EQ(device.window.view().values.steps, 0) << "its memory is free";
    EXPECT_EQ(memory.analyzed_accounts, 0);
  }
  room = size_t{1} << 30;
  EXPECT_TRUE(AnalyzeOn(device, window, {}, 0, memory).ok());
  EXPECT_EQ(memory.analyzed_accounts, 5);
}

TEST_P(AnalyzeOnDevice, WhatTheDeviceSaysIsPassedOn) {
  static int waits = 0;
  static const kernels::Ops* base = nullptr;
  base = device_;
  kernels::Ops failing = *device_;
  failing.wait = [](kernels::Stream stream) {
    const std::string_view wrong = base->wait(stream);
    return --waits == 0 ? "an illegal access" : wrong;
  };
  Window window(kStep, 100);
  Fill(window, 5, kEnd - 99, kEnd);
  AnalyzeDevice device(failing);
  PatternMemory memory;
  for (int at = 1; at <= 4; ++at) {  // the window's; periods; the rest; events
    waits = at;
    const absl::Status status = AnalyzeOn(device, window, {}, 0, memory);
    EXPECT_EQ(status, absl::InternalError("an illegal access")) << at;
    EXPECT_EQ(memory.analyzed_accounts, 0);
  }
  waits = 0;
  EXPECT_TRUE(AnalyzeOn(device, window, {}, 0, memory).ok());
}

}  // namespace
}  // namespace foreshadow
