#include "models/arima/arima.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/algo/strength.h"
#include "kernels/ops.h"
#include "models/arima/choose.h"
#include "models/fitted.h"

namespace foreshadow::models {
namespace {

constexpr size_t kErrorsMax = 576;  // two days of 5 min say how wide the quantiles are
constexpr int kSeasonsMin = 3;
// Wang, Smith and Hyndman (2006); from here on forecast::nsdiffs takes a season seriously.
constexpr double kStrengthMin = 0.64;
constexpr int64_t kChunkSeries = 16;  // of one call of STL: a SIMD lane each

// Scratch of one thread, reused from series to series.
struct Scratch {
  std::vector<float> parts;  // of a chunk: observed, seasonal, trend, remainder
  std::vector<kernels::SeriesStatus> decomposed;
  std::vector<std::byte> workspace;
  std::vector<double> samples;  // from the first that is there
  std::vector<double> season;   // last cycle; empty = none taken out
  double seasons = 0;           // how many of them the history has
  std::vector<float> column;
  std::vector<float> errors;  // of one step
  std::vector<float> ahead;   // of a distance
  std::vector<float> points;  // [steps]
  std::vector<float> weights;
  ArimaFitter fitter;
  ArimaSamples prepared;
  ArimaForecast forecast;
};

struct Parts {
  kernels::StepMajor<float> observed;
  kernels::StepMajor<float> seasonal;
  kernels::StepMajor<float> trend;
  kernels::StepMajor<float> remainder;
};

Parts PartsOf(Scratch& scratch, int64_t steps, int64_t series) {
  const int64_t size = steps * series;
  scratch.parts.resize(static_cast<size_t>(4 * size));
  const auto part = [&](int64_t i) {
    return kernels::StepMajor<float>{scratch.parts.data() + i * size, steps, series, series};
  };
  return {part(0), part(1), part(2), part(3)};
}

std::span<std::byte> Aligned(std::vector<std::byte>& memory, size_t bytes) {
  constexpr size_t kAlignment = 64;
  memory.resize(bytes + kAlignment);
  const auto address = reinterpret_cast<uintptr_t>(memory.data());
  return std::span(memory).subspan((kAlignment - address % kAlignment) % kAlignment, bytes);
}

class Arima : public Forecaster {
 public:
  explicit Arima(int threads) : threads_(ThreadCount(threads)) {}

  std::string_view name() const override { return "arima"; }
  int MaxSteps(int64_t step_ms) const override { return step_ms > 0 ? kFittedStepsMax : 0; }

  absl::Status Forecast(const History& history, int steps, QuantileBlock& out) const override {
    const auto work = [&](int64_t first, int64_t last, Scratch& scratch) {
      ForecastChunk(history, first, last, scratch, out);
    };
    return ForecastFitted<Scratch>(history, steps, kChunkSeries, threads_, out, work);
  }

 private:
  static int PeriodOf(const History& history, int64_t s) {
    const int64_t period = SeasonOf(history, s);
    return kSeasonsMin * period <= history.values.steps && period > 1 ? static_cast<int>(period)
                                                                      : 0;
  }

  static void ForecastChunk(const History& history, int64_t first, int64_t last, Scratch& scratch,
                            QuantileBlock& out) {
    const Parts parts = PartsOf(scratch, history.values.steps, last - first);
    for (int64_t t = 0; t < history.values.steps; ++t) {
      for (int64_t s = first; s < last; ++s) {
        const float value = history.values.at(t, s);
        parts.observed.at(t, s - first) = std::isfinite(value) ? value : NAN;
      }
    }
    // One decomposition for each period that the chunk has, which is one as a rule.
    std::vector<bool> done(static_cast<size_t>(last - first), false);
    for (int64_t s = first; s < last; ++s) {
      if (done[s - first]) continue;
      const int period = PeriodOf(history, s);
      if (period > 0) Decompose(period, parts, scratch);
      for (int64_t other = s; other < last; ++other) {
        if (done[other - first] || PeriodOf(history, other) != period) continue;
        done[other - first] = true;
        ForecastOne(history, other, period, parts, other - first, scratch, out);
      }
    }
  }

  static void Decompose(int period, const Parts& parts, Scratch& scratch) {
    const kernels::Ops& ops = kernels::CpuOps();
    kernels::StlArgs args;
    args.params.period = period;
    args.observed = parts.observed;
    args.seasonal = parts.seasonal;
    args.trend = parts.trend;
    args.remainder = parts.remainder;
    scratch.decomposed.assign(static_cast<size_t>(parts.observed.series),
                              kernels::SeriesStatus::kTooShort);
    if (!ops.stl_check(args.params, parts.observed.steps).empty()) return;
    args.status = scratch.decomposed;
    args.workspace =
        Aligned(scratch.workspace,
                ops.stl_workspace_bytes(args.params, parts.observed.steps, parts.observed.series));
    ops.stl(args);
  }

  // Column `c` of the parts is series `s`; they are decomposed if there is a period.
  static void ForecastOne(const History& history, int64_t s, int period, const Parts& parts,
                          int64_t c, Scratch& scratch, QuantileBlock& out) {
    const int64_t steps = parts.observed.steps;
    scratch.column.resize(static_cast<size_t>(steps));
    CopyColumn(history, s, scratch.column);
    const auto past = UsablePast(scratch.column, history.step_ms, s, out);
    if (past.empty()) return;
    const int64_t begin = steps - std::ssize(past);
    const bool strong =
        period > 0 && kSeasonsMin * period <= steps - begin &&
        scratch.decomposed[c] == kernels::SeriesStatus::kOk &&
        kernels::SeasonalStrength(parts.seasonal, parts.remainder, c) > kStrengthMin;
    const bool take_out = strong && period > kSeasonMax;
    scratch.season.clear();
    scratch.samples.clear();
    for (int64_t t = begin; t < steps; ++t) {
      const double value = past[t - begin];
      scratch.samples.push_back(take_out ? value - parts.seasonal.at(t, c) : value);
    }
    if (take_out) {
      scratch.seasons = static_cast<double>(steps - begin) / period;
      for (int64_t t = steps - period; t < steps; ++t) {
        scratch.season.push_back(parts.seasonal.at(t, c));
      }
    }
    const int modelled = period > 0 && period <= kSeasonMax ? period : 0;
    const ArimaChoice choice =
        ChooseArima(scratch.samples, modelled, modelled > 0 && strong ? 1 : 0, scratch.fitter,
                    scratch.prepared);
    if (!choice.found) return WriteWalk(past, s, scratch, out);
    scratch.fitter.Forecast(choice.fit, scratch.prepared, scratch.samples, out.steps,
                            scratch.forecast);
    Write(s, choice.fit.order.Parameters(), scratch, out);
  }

  static void Write(int64_t s, int parameters, Scratch& scratch, QuantileBlock& out) {
    const ArimaForecast& f = scratch.forecast;
    // A phase's season is a mean over n seasons: errors within them have the share 1 - 1/n of the
    // variance, those behind them 1 + 1/n.
    const double n = scratch.seasons;
    const double widened = scratch.season.empty() ? 1 : std::sqrt((n + 1) / (n - 1));
    const size_t count = std::min(kErrorsMax, f.errors.size());
    scratch.errors.clear();
    for (const double error : std::span(f.errors).last(count)) {
      scratch.errors.push_back(static_cast<float>(error * widened));
    }
    scratch.weights.assign(f.weights.begin(), f.weights.end());
    scratch.points.clear();
    for (int step = 0; step < out.steps; ++step) {
      double point = f.mean[step];
      if (!scratch.season.empty()) {
        point += scratch.season[static_cast<size_t>(step) % scratch.season.size()];
      }
      scratch.points.push_back(static_cast<float>(std::clamp(point, -3e38, 3e38)));
    }
    WriteFromErrors(scratch.points, scratch.errors, scratch.weights, parameters, scratch.points[0],
                    scratch.ahead, s, out);
  }

  // Of a constant and of what no model fits: the last sample carried on, with the errors of that.
  static void WriteWalk(std::span<const float> past, int64_t s, Scratch& scratch,
                        QuantileBlock& out) {
    scratch.errors.clear();
    float before = NAN;
    for (const float value : past) {
      if (std::isnan(value)) continue;
      if (std::isfinite(value - before)) scratch.errors.push_back(value - before);
      before = value;
    }
    scratch.points.assign(static_cast<size_t>(out.steps), before);
    scratch.weights.assign(scratch.points.size(), 1);
    const size_t count = std::min(kErrorsMax, scratch.errors.size());
    WriteFromErrors(scratch.points, std::span(scratch.errors).last(count), scratch.weights,
                    /*parameters=*/0, before, scratch.ahead, s, out);
    out.status[s] = ForecastStatus::kFellBack;
  }

  int threads_;
};

}  // namespace

std::shared_ptr<const Forecaster> MakeArima(int threads) {
  return std::make_shared<Arima>(threads);
}

}  // namespace foreshadow::models
