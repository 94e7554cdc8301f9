#include "models/level/level.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "models/empirical.h"
#include "models/parallel.h"

namespace foreshadow::models {
namespace {

constexpr int64_t kChunkSeries = 64;
constexpr int kStepsMax = 2'016;  // a week of 5 min: as far as the hot window looks back
constexpr int kErrorsMax = 288;   // a day of 5 min: enough for the outer levels
constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kSilenceMs = 24 * kHourMs;  // a series silent for longer is taken as gone

// Scratch of one call, reused from series to series.
struct Scratch {
  std::vector<float> samples;  // of one series, NaN = missing
  std::vector<float> levels;   // what the model says at each step
  std::vector<float> errors;
  std::vector<float> recent;
  std::vector<float> points;
  std::vector<float> spread;
};

float Median(std::span<float> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return 0.5f * *middle + 0.5f * *std::max_element(values.begin(), middle);
}

float Mean(std::span<const float> values) {
  double sum = 0;
  for (const float value : values) sum += value;
  return static_cast<float>(sum / static_cast<double>(values.size()));
}

// Levels from step `first` on, each from the samples up to its step; a step without a sample in its
// hour keeps the level before it.
void FillLevels(LevelKind kind, int window, int64_t first, Scratch& scratch) {
  float level = std::numeric_limits<float>::quiet_NaN();
  for (int64_t t = 0; t < std::ssize(scratch.samples); ++t) {
    if (kind == LevelKind::kLastValue || t < first) {
      if (!std::isnan(scratch.samples[t])) level = scratch.samples[t];
    } else {
      scratch.recent.clear();
      for (int64_t u = std::max<int64_t>(0, t - window + 1); u <= t; ++u) {
        if (!std::isnan(scratch.samples[u])) scratch.recent.push_back(scratch.samples[u]);
      }
      if (!scratch.recent.empty()) {
        level = kind == LevelKind::kLastHourMean ? Mean(scratch.recent) : Median(scratch.recent);
      }
    }
    scratch.levels[t] = level;
  }
}

// Errors of the level `lag` steps on, over the last steps.
void FillErrors(int64_t first, int64_t lag, Scratch& scratch) {
  scratch.errors.clear();
  for (int64_t t = first + lag; t < std::ssize(scratch.samples); ++t) {
    const float error = scratch.samples[t] - scratch.levels[t - lag];
    if (!std::isnan(error)) scratch.errors.push_back(error);
  }
}

class Level : public Forecaster {
 public:
  explicit Level(LevelKind kind) : kind_(kind) {}

  std::string_view name() const override {
    switch (kind_) {
      case LevelKind::kLastHourMean:
        return "last-hour-mean";
      case LevelKind::kLastHourMedian:
        return "last-hour-median";
      case LevelKind::kLastValue:
        break;
    }
    return "last-value";
  }

  int MaxSteps(int64_t step_ms) const override { return step_ms > 0 ? kStepsMax : 0; }

  absl::Status Forecast(const History& history, int steps, QuantileBlock& out) const override {
    if (absl::Status status = CheckHistory(history, steps, kStepsMax); !status.ok()) return status;
    out.Resize(history.values.series, steps);
    const History newest = Newest(history, steps);
    const auto length = static_cast<size_t>(newest.values.steps);
    const int threads = ThreadCount(0);
    std::vector<Scratch> scratch(
        static_cast<size_t>(threads),
        {std::vector<float>(length), std::vector<float>(length), {}, {}, {}, {}});
    ForChunks(out.series, kChunkSeries, threads, [&](int64_t first, int64_t last, int worker) {
      for (int64_t s = first; s < last; ++s) ForecastOne(newest, s, scratch[worker], out);
    });
    return absl::OkStatus();
  }

 private:
  // The part of the history that the forecast rests on, however long that of the others is.
  static History Newest(const History& history, int steps) {
    History newest = history;
    newest.values.steps = std::min<int64_t>(
        history.values.steps, kErrorsMax + 2 * steps + kSilenceMs / history.step_ms + 1);
    newest.values.data += (history.values.steps - newest.values.steps) * history.values.stride;
    return newest;
  }

  void ForecastOne(const History& history, int64_t s, Scratch& scratch, QuantileBlock& out) const {
    CopyColumn(history, s, scratch.samples);
    int64_t last = std::ssize(scratch.samples) - 1;
    while (last >= 0 && std::isnan(scratch.samples[last])) --last;
    if (last < 0) return WriteMissing(ForecastStatus::kNoHistory, s, out);
    const int64_t age = std::ssize(scratch.samples) - 1 - last;
    if (age * history.step_ms > kSilenceMs) return WriteMissing(ForecastStatus::kCannot, s, out);

    const int window = static_cast<int>(std::max<int64_t>(1, kHourMs / history.step_ms));
    const int64_t first =
        std::max<int64_t>(0, std::ssize(scratch.samples) - kErrorsMax - out.steps - age);
    FillLevels(kind_, window, first, scratch);
    const float level = scratch.levels.back();

    scratch.points.assign(static_cast<size_t>(out.steps), level);
    scratch.spread.resize(scratch.points.size());
    for (int step = 0; step < out.steps; ++step) {  // as a random walk's
      scratch.spread[step] = std::sqrt(static_cast<float>(step + 1));
    }
    const auto errors_at = [&](int distance) -> std::span<float> {
      FillErrors(first, distance + age, scratch);
      return scratch.errors;
    };
    WriteByDistance(scratch.points, scratch.spread, level, errors_at, s, out);
  }

  LevelKind kind_;
};

}  // namespace

std::shared_ptr<const Forecaster> MakeLevel(LevelKind kind) {
  return std::make_shared<Level>(kind);
}

}  // namespace foreshadow::models
