#include "models/lstm/features.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "models/lstm/features.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "kernels/check.h"
#include "models/lstm/feature_tile.h"

HWY_BEFORE_NAMESPACE();
namespace foreshadow::models::HWY_NAMESPACE {
namespace {

constexpr int kTile = 64;

void AdvanceAll(const FeatureView& view, const float* samples) {
  for (int64_t first = 0; first < view.width; first += kTile) {
    AdvanceTile<kTile>(view, samples + first, first);
  }
}

void DescribeAll(const FeatureView& view, const Driver* drivers, const float* clock,
                 const FeatureOutput& output) {
  for (int64_t first = 0; first < view.width; first += kTile) {
    DescribeTile<kTile>(view, drivers, clock, first, output);
  }
}

}  // namespace
}  // namespace foreshadow::models::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foreshadow::models {
namespace {

HWY_EXPORT(AdvanceAll);
HWY_EXPORT(DescribeAll);

constexpr int kTileSeries = 64;
constexpr int64_t kWeekMs = 7 * 86'400'000;
constexpr int64_t kMondayMs = 4 * 86'400'000;  // the first one, in Unix time

// The state's arrays; only Advance writes through it.
FeatureView ViewOf(const FeatureState& state) {
  auto& s = const_cast<FeatureState&>(state);
  return {s.width,
          s.phase,
          s.spec.day_steps(),
          std::min(s.spec.hour_steps(), kHourStepsMax),
          s.week.data(),
          s.rows.data(),
          s.day.data(),
          s.season.data()};
}

// [week's steps][4]: sine and cosine of the time of day, then of the week.
std::vector<float> MakeClock(const FeatureSpec& spec) {
  const int week_steps = 7 * spec.day_steps();
  std::vector<float> clock;
  clock.reserve(static_cast<size_t>(4 * week_steps));
  for (int step = 0; step < week_steps; ++step) {
    const double day = 2 * std::numbers::pi * step / spec.day_steps();
    for (const double angle : {day, day / 7}) {
      clock.push_back(static_cast<float>(std::sin(angle)));
      clock.push_back(static_cast<float>(std::cos(angle)));
    }
  }
  return clock;
}

}  // namespace

FeatureState NewFeatureState(const FeatureSpec& spec, int64_t series,
                             std::span<const int64_t> end_ms) {
  constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
  FORESHADOW_CHECK(spec.step_ms > 0 && 3'600'000 % spec.step_ms == 0);
  FORESHADOW_CHECK(spec.horizon_steps > 0 && spec.horizon_steps < spec.day_steps());
  FORESHADOW_CHECK(std::ssize(end_ms) == 1 || std::ssize(end_ms) == series);
  FeatureState state;
  state.spec = spec;
  state.series = series;
  state.width = (series + kTileSeries - 1) / kTileSeries * kTileSeries;
  const auto week_step = [&](int64_t time_ms) {
    const int64_t into = ((time_ms - kMondayMs) % kWeekMs + kWeekMs) % kWeekMs;
    return static_cast<int32_t>(into / spec.step_ms);
  };
  state.phase = end_ms.empty() ? 0 : week_step(end_ms[0]) % spec.day_steps();
  state.week.resize(static_cast<size_t>(state.width));
  for (int64_t s = 0; s < series; ++s) {
    state.week[s] = week_step(end_ms[std::ssize(end_ms) == 1 ? 0 : s]);
  }
  state.clock = MakeClock(spec);
  state.rows.assign(static_cast<size_t>(kFeatureRows * state.width), 0.0f);
  std::fill_n(state.rows.begin() + kYesterdayNow * state.width, 2 * state.width, kMissing);
  const auto days = static_cast<size_t>(spec.day_steps() * state.width);
  state.day.assign(days, kMissing);
  state.season.assign(days, kMissing);
  return state;
}

void Advance(FeatureState& state, std::span<const float> samples) {
  FORESHADOW_CHECK(std::ssize(samples) == state.series);
  const auto day_steps = static_cast<int32_t>(state.spec.day_steps());
  state.phase = (state.phase + 1) % day_steps;
  for (int32_t& step : state.week) step = step + 1 == 7 * day_steps ? 0 : step + 1;
  std::vector<float> padded(samples.begin(), samples.end());
  padded.resize(static_cast<size_t>(state.width), std::numeric_limits<float>::quiet_NaN());
  HWY_DYNAMIC_DISPATCH(AdvanceAll)(ViewOf(state), padded.data());
}

void Describe(const FeatureState& state, std::span<const Driver> drivers,
              const FeatureOutput& output) {
  FORESHADOW_CHECK(drivers.empty() || std::ssize(drivers) == state.series);
  FORESHADOW_CHECK(output.steps <= state.spec.horizon_steps);
  std::vector<Driver> padded;
  if (!drivers.empty()) {
    padded.assign(drivers.begin(), drivers.end());
    padded.resize(static_cast<size_t>(state.width));
  }
  HWY_DYNAMIC_DISPATCH(DescribeAll)
  (ViewOf(state), padded.empty() ? nullptr : padded.data(), state.clock.data(), output);
}

ForecastStatus Judge(const FeatureState& state, int64_t series) {
  const auto row = [&](int field) { return state.rows[field * state.width + series]; };
  if (row(kSamples) == 0) return ForecastStatus::kNoHistory;
  const bool silent = row(kAge) * static_cast<float>(state.spec.step_ms) > 3.6e6f;
  return row(kSamples) < kSamplesMin || silent ? ForecastStatus::kCannot : ForecastStatus::kOk;
}

}  // namespace foreshadow::models
#endif  // HWY_ONCE
