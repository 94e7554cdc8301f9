#include "models/ets/ets.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "models/ets/smoothing.h"
#include "models/fitted.h"

namespace foreshadow::models {
namespace {

constexpr int64_t kScoredMax = 576;  // two days of 5 min choose model and parameters
constexpr int64_t kWarmUp = 24;      // samples that the non-seasonal kinds start from
constexpr int kSeasonsMin = 3;
// Noise without a season differs from itself a season ago by twice the squares that a level leaves.
constexpr double kSeasonWorthTrying = 1.8;
constexpr int64_t kChunkSeries = 32;

// Scratch of one thread, reused from series to series.
struct Scratch {
  std::vector<float> column;
  std::vector<double> samples;
  std::vector<float> errors;   // of one step
  std::vector<float> ahead;    // of a distance
  std::vector<float> points;   // [steps]
  std::vector<float> weights;  // [steps]
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
  int MaxSteps(int64_t step_ms) const override { return step_ms > 0 ? kFittedStepsMax : 0; }

  absl::Status Forecast(const History& history, int steps, QuantileBlock& out) const override {
    const auto work = [&](int64_t first, int64_t last, Scratch& scratch) {
      for (int64_t s = first; s < last; ++s) ForecastOne(history, s, scratch, out);
    };
    return ForecastFitted<Scratch>(history, steps, kChunkSeries, threads_, out, work);
  }

 private:
  static void ForecastOne(const History& history, int64_t s, Scratch& scratch, QuantileBlock& out) {
    scratch.column.resize(static_cast<size_t>(history.values.steps));
    CopyColumn(history, s, scratch.column);
    const auto past = UsablePast(scratch.column, history.step_ms, s, out);
    if (past.empty()) return;
    scratch.samples.assign(past.begin(), past.end());
    const EtsFit fit = Choose(scratch.samples, SeasonOf(history, s));
    scratch.errors.assign(fit.errors.begin(), fit.errors.end());
    scratch.points.resize(static_cast<size_t>(out.steps));
    scratch.weights.resize(scratch.points.size());
    WeightsEts(fit.params, fit.state, scratch.weights);
    for (int step = 0; step < out.steps; ++step) {
      const double point = ForecastEts(fit.params, fit.state, step + 1);
      scratch.points[step] = static_cast<float>(std::clamp(point, -3e38, 3e38));
    }
    WriteFromErrors(scratch.points, scratch.errors, scratch.weights, ParametersOf(fit.kind),
                    static_cast<float>(fit.state.level), scratch.ahead, s, out);
  }

  int threads_;
};

}  // namespace

std::shared_ptr<const Forecaster> MakeEts(int threads) { return std::make_shared<Ets>(threads); }

}  // namespace foreshadow::models
