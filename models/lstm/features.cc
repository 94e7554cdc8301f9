#include "models/lstm/features.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/check.h"

namespace foreshadow::models {
namespace {

using namespace kernels::lstm;  // the rows of the past

constexpr int64_t kWeekMs = 7 * 86'400'000;
constexpr int64_t kMondayMs = 4 * 86'400'000;  // the first one, in Unix time

// The state's arrays; only Advance writes through it.
kernels::LstmPast PastOf(const FeatureState& state) {
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
  clock.reserve(4 * static_cast<size_t>(week_steps));
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
  state.width = (series + kernels::kLstmTile - 1) / kernels::kLstmTile * kernels::kLstmTile;
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
  state.rows.assign(static_cast<size_t>(kPastRows * state.width), 0.0f);
  std::fill_n(state.rows.begin() + kYesterdayNow * state.width, 2 * state.width, kMissing);
  const auto days = static_cast<size_t>(spec.day_steps() * state.width);
  state.day.assign(days, kMissing);
  state.season.assign(days, kMissing);
  return state;
}

void Advance(FeatureState& state, std::span<const float> samples) {
  FORESHADOW_CHECK(std::ssize(samples) == state.series);
  state.phase = (state.phase + 1) % state.spec.day_steps();
  std::vector<float> padded(samples.begin(), samples.end());
  padded.resize(static_cast<size_t>(state.width), std::numeric_limits<float>::quiet_NaN());
  kernels::CpuOps().lstm_advance({PastOf(state), padded.data()});
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
  kernels::CpuOps().lstm_describe({.past = PastOf(state),
                                   .count = state.width,
                                   .clock = state.clock.data(),
                                   .drivers = padded.empty() ? nullptr : padded.data(),
                                   .stride = state.width,
                                   .features = output.features,
                                   .candidates = output.candidates,
                                   .spreads = output.spreads,
                                   .levels = output.levels,
                                   .scales = output.scales,
                                   .steps = output.steps});
}

ForecastStatus Judge(const FeatureState& state, int64_t series) {
  const auto row = [&](int field) { return state.rows[field * state.width + series]; };
  return Judge(row(kSamples), row(kAge), state.spec.step_ms);
}

ForecastStatus Judge(float samples, float age_steps, int64_t step_ms) {
  if (samples == 0) return ForecastStatus::kNoHistory;
  const bool silent = age_steps * static_cast<float>(step_ms) > 3.6e6f;
  return samples < kSamplesMin || silent ? ForecastStatus::kCannot : ForecastStatus::kOk;
}

}  // namespace foreshadow::models
