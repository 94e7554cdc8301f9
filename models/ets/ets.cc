#include "models/ets/ets.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "models/empirical.h"
#include "models/ets/smoothing.h"
#include "models/parallel.h"

namespace foreshadow::models {
namespace {

constexpr int kStepsMax = 2'016;     // a week of 5 min: as far as the hot window looks back
constexpr int64_t kScoredMax = 576;  // two days of 5 min choose model and parameters
constexpr int64_t kWarmUp = 24;      // samples that the non-seasonal kinds start from
constexpr int kSamplesMin = 10;
constexpr int kSeasonsMin = 3;
// Noise without a season differs from itself a season ago by twice the squares that a level leaves.
constexpr double kSeasonWorthTrying = 1.8;
constexpr int64_t kSilenceMs = 3'600'000;
constexpr int64_t kDayMs = 86'400'000;
constexpr int64_t kChunkSeries = 32;

// Scratch of one thread, reused from series to series.
struct Scratch {
  std::vector<float> column;
  std::vector<double> samples;
  std::vector<float> recent;
};

double MeanOf(std::span<const double> samples, double otherwise) {
  double sum = 0;
  int64_t count = 0;
  for (const double sample : samples) {
    if (std::isnan(sample)) continue;
    sum += sample;
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count) : otherwise;
}

// The means of the first two seasons, phase by phase, about their own mean.
EtsState SeasonalStart(std::span<const double> samples, int64_t period) {
  EtsState start;
  start.level = MeanOf(samples.first(static_cast<size_t>(2 * period)), MeanOf(samples, 0));
  start.season.resize(static_cast<size_t>(period));
  for (int64_t i = 0; i < period; ++i) {
    const double pair[] = {samples[i], samples[i + period]};
    start.season[i] = MeanOf(pair, start.level) - start.level;
  }
  return start;
}

// Sum of squared differences from one season before, over the last `count` samples.
double SeasonalSquares(std::span<const double> samples, int64_t period, int64_t count) {
  double sum = 0;
  for (int64_t t = std::ssize(samples) - count; t < std::ssize(samples); ++t) {
    const double difference = samples[t] - samples[t - period];
    if (!std::isnan(difference)) sum += difference * difference;
  }
  return sum;
}

// The best kind for the samples; the seasonal one is tried only where three seasons are there.
EtsFit Choose(std::span<const double> samples, int64_t period) {
  const auto length = static_cast<int64_t>(samples.size());
  const int64_t scored_count = std::min(kScoredMax, std::max<int64_t>(1, length - kWarmUp));
  const int64_t begin = std::max<int64_t>(0, length - scored_count - kWarmUp);
  const auto late = samples.subspan(static_cast<size_t>(begin));
  EtsState start;
  start.level =
      MeanOf(late.first(static_cast<size_t>(std::min<int64_t>(kWarmUp, std::ssize(late)))),
             MeanOf(late, 0));
  const int64_t scored = std::ssize(late) - scored_count;
  EtsFit best = FitEts(EtsKind::kSimple, late, scored, start);
  const EtsFit damped = FitEts(EtsKind::kDampedTrend, late, scored, start);
  if (damped.Aic() < best.Aic()) best = damped;
  if (best.squared_error == 0) return best;
  if (period > 1 && length >= kSeasonsMin * period && length - scored_count >= 2 * period &&
      SeasonalSquares(samples, period, scored_count) < kSeasonWorthTrying * best.squared_error) {
    const EtsFit seasonal =
        FitEts(EtsKind::kSeasonal, samples, length - scored_count, SeasonalStart(samples, period));
    if (seasonal.Aic() < best.Aic()) best = seasonal;
  }
  return best;
}

class Ets : public Forecaster {
 public:
  explicit Ets(int threads) : threads_(ThreadCount(threads)) {}

  std::string_view name() const override { return "ets"; }
  int MaxSteps(int64_t step_ms) const override { return step_ms > 0 ? kStepsMax : 0; }

  absl::Status Forecast(const History& history, int steps, QuantileBlock& out) const override {
    if (absl::Status status = CheckHistory(history, steps, kStepsMax); !status.ok()) return status;
    out.Resize(history.values.series, steps);
    std::vector<Scratch> scratch(static_cast<size_t>(threads_));
    ForChunks(out.series, kChunkSeries, threads_, [&](int64_t first, int64_t last, int worker) {
      for (int64_t s = first; s < last; ++s) ForecastOne(history, s, scratch[worker], out);
    });
    return absl::OkStatus();
  }

 private:
  static void ForecastOne(const History& history, int64_t s, Scratch& scratch, QuantileBlock& out) {
    scratch.column.resize(static_cast<size_t>(history.values.steps));
    CopyColumn(history, s, scratch.column);
    const auto first = std::ranges::find_if(scratch.column, [](float x) { return !std::isnan(x); });
    if (first == scratch.column.end()) {
      return WriteMissing(ForecastStatus::kNoHistory, s, out);
    }
    scratch.samples.assign(first, scratch.column.end());
    int64_t silent = 0;
    while (std::isnan(scratch.samples[scratch.samples.size() - 1 - static_cast<size_t>(silent)])) {
      ++silent;
    }
    const auto there =
        std::ranges::count_if(scratch.samples, [](double x) { return !std::isnan(x); });
    if (there < kSamplesMin || silent * history.step_ms > kSilenceMs) {
      return WriteMissing(ForecastStatus::kCannot, s, out);
    }
    const int64_t period = history.periods[s] > 1 ? history.periods[s] : kDayMs / history.step_ms;
    WriteForecast(Choose(scratch.samples, period), s, scratch, out);
  }

  static void WriteForecast(const EtsFit& fit, int64_t s, Scratch& scratch, QuantileBlock& out) {
    scratch.recent.clear();
    for (const double error : fit.errors) {
      if (!std::isnan(error)) scratch.recent.push_back(static_cast<float>(error));
    }
    const Offsets offsets = ErrorOffsets(scratch.recent, static_cast<float>(fit.state.level));
    std::vector<double> spread(static_cast<size_t>(out.steps));
    SpreadEts(fit.params, fit.state, spread);
    for (int step = 0; step < out.steps; ++step) {
      Offsets wider = offsets;
      for (float& offset : wider) offset *= static_cast<float>(spread[step]);
      const double point = ForecastEts(fit.params, fit.state, step + 1);
      WriteQuantiles(static_cast<float>(std::min(point, 3e38)), wider, out.at(s, step));
    }
  }

  int threads_;
};

}  // namespace

std::shared_ptr<const Forecaster> MakeEts(int threads) { return std::make_shared<Ets>(threads); }

}  // namespace foreshadow::models
