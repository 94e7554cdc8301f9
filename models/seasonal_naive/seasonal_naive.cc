#include "models/seasonal_naive/seasonal_naive.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "models/empirical.h"
#include "models/parallel.h"

namespace foreshadow::models {
namespace {

constexpr int64_t kChunkSeries = 64;
constexpr int kStepsMax = 2'016;    // a week of 5 min: as far as the hot window looks back
constexpr int kErrorsMax = 576;     // two days of 5 min
constexpr int kSeasonsBackMax = 7;  // a missing sample is sought that many seasons back
constexpr int64_t kDayMs = 86'400'000;

// The newest sample that lies a whole number of seasons before `step`; NaN if there is none.
float SeasonsAgo(std::span<const float> samples, int64_t step, int64_t period) {
  const int64_t seasons = std::max<int64_t>(1, (step - std::ssize(samples)) / period + 1);
  for (int64_t k = seasons; k < seasons + kSeasonsBackMax; ++k) {
    const int64_t at = step - k * period;
    if (at < 0) break;
    if (!std::isnan(samples[at])) return samples[at];
  }
  return std::numeric_limits<float>::quiet_NaN();
}

// Of one thread, reused from series to series.
struct Scratch {
  std::vector<float> samples;
  std::vector<float> errors;
};

class SeasonalNaive : public Forecaster {
 public:
  std::string_view name() const override { return "seasonal-naive"; }
  int MaxSteps(int64_t step_ms) const override { return step_ms > 0 ? kStepsMax : 0; }

  absl::Status Forecast(const History& history, int steps, QuantileBlock& out) const override {
    if (absl::Status status = CheckHistory(history, steps, kStepsMax); !status.ok()) return status;
    out.Resize(history.values.series, steps);
    const int threads = ThreadCount(0);
    std::vector<Scratch> scratch(
        static_cast<size_t>(threads),
        {std::vector<float>(static_cast<size_t>(history.values.steps)), {}});
    ForChunks(out.series, kChunkSeries, threads, [&](int64_t first, int64_t last, int worker) {
      Scratch& mine = scratch[worker];
      for (int64_t s = first; s < last; ++s) {
        CopyColumn(history, s, mine.samples);
        const int64_t period = history.periods[s] > 1
                                   ? history.periods[s]
                                   : std::max<int64_t>(1, kDayMs / history.step_ms);
        ForecastOne(mine.samples, period, s, mine.errors, out);
      }
    });
    return absl::OkStatus();
  }

 private:
  static void ForecastOne(std::span<const float> samples, int64_t period, int64_t s,
                          std::vector<float>& errors, QuantileBlock& out) {
    const int64_t length = std::ssize(samples);
    if (std::ranges::all_of(samples, [](float x) { return std::isnan(x); })) {
      return WriteMissing(ForecastStatus::kNoHistory, s, out);
    }
    for (int step = 0; step < out.steps; ++step) {
      if (std::isnan(SeasonsAgo(samples, length + step, period))) {
        return WriteMissing(ForecastStatus::kCannot, s, out);
      }
    }
    errors.clear();
    for (int64_t t = std::max(period, length - kErrorsMax); t < length; ++t) {
      const float error = samples[t] - SeasonsAgo(samples, t, period);
      if (!std::isnan(error)) errors.push_back(error);
    }
    const float magnitude = SeasonsAgo(samples, length, period);
    const Offsets offsets = ErrorOffsets(errors, magnitude);
    for (int step = 0; step < out.steps; ++step) {
      WriteQuantiles(SeasonsAgo(samples, length + step, period), offsets, out.at(s, step));
    }
  }
};

}  // namespace

std::shared_ptr<const Forecaster> MakeSeasonalNaive() { return std::make_shared<SeasonalNaive>(); }

}  // namespace foreshadow::models
