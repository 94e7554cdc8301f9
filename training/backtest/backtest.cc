#include "training/backtest/backtest.h"

#include <fmt/core.h>

#include <algorithm>
#include <any>
#include <cmath>
#include <limits>

#include "models/mixture/mixture.h"
#include "training/train/drivers.h"

namespace foreshadow::training {
namespace {

using models::kQuantileLevels;
using models::kQuantiles;
using models::QuantileBlock;

constexpr int64_t kDayMs = 86'400'000;
constexpr int kLevel10 = 1;  // indices into kQuantileLevels
constexpr int kLevel90 = 5;

absl::Status Check(const SeriesSet& set, const ForecasterList& forecasters,
                   const BacktestOptions& o) {
  const auto wrong = [](const char* field, int64_t value, const std::string& allowed) {
    return absl::InvalidArgumentError(
        fmt::format("{} is {}: allowed is {}", field, value, allowed));
  };
  if (o.stride_steps < 1) return wrong("stride_steps", o.stride_steps, "1 or more");
  if (o.horizon_steps < 1) return wrong("horizon_steps", o.horizon_steps, "1 or more");
  if (o.window_steps < 1) return wrong("window_steps", o.window_steps, "1 or more");
  if (o.score_every < 1) return wrong("score_every", o.score_every, "1 or more");
  if (!o.scored.empty() && std::ssize(o.scored) != set.series()) {
    return wrong("scored", std::ssize(o.scored),
                 fmt::format("0 or a flag for each of the {} series", set.series()));
  }
  if (o.first_step < 2 || o.first_step + o.horizon_steps > set.steps) {
    return wrong(
        "first_step", o.first_step,
        fmt::format("2 to {}, so that a horizon fits behind it", set.steps - o.horizon_steps));
  }
  for (const auto& model : forecasters) {
    if (model->MaxSteps(set.step_ms) >= o.horizon_steps) continue;
    return absl::InvalidArgumentError(fmt::format(
        "model {} forecasts {} steps of {} ms: horizon_steps is {}", std::string(model->name()),
        model->MaxSteps(set.step_ms), set.step_ms, o.horizon_steps));
  }
  return absl::OkStatus();
}

double ScaleOf(const SeriesSet& set, int64_t series, int64_t first_step) {
  const int64_t day = kDayMs / set.step_ms;
  const int64_t lag = first_step >= 2 * day && day > 0 ? day : 1;
  double sum = 0;
  int64_t count = 0;
  for (int64_t t = lag; t < first_step; ++t) {
    const double difference =
        set.values[t * set.series() + series] - set.values[(t - lag) * set.series() + series];
    if (std::isnan(difference)) continue;
    sum += std::fabs(difference);
    ++count;
  }
  return count > 0 ? sum / static_cast<double>(count) : 0;
}

Tally ScorePoint(double actual, std::span<const float> quantiles) {
  Tally tally;
  const double forecast = quantiles[models::kMedian];
  tally.absolute_error = std::fabs(actual - forecast);
  const double size = std::fabs(actual) + std::fabs(forecast);
  tally.smape = size > 0 ? 2 * tally.absolute_error / size : 0;
  for (int q = 0; q < kQuantiles; ++q) {
    const double level = kQuantileLevels[q];
    const double off = actual - quantiles[q];
    tally.pinball += std::max(level * off, (level - 1) * off) / kQuantiles;
  }
  tally.actual = std::fabs(actual);
  tally.inside_80 = actual >= quantiles[kLevel10] && actual <= quantiles[kLevel90];
  tally.points = 1;
  return tally;
}

// Scores one origin's forecasts, [model] blocks made with the samples before `origin`.
void ScoreOrigin(const SeriesSet& set, const BacktestOptions& options,
                 const std::vector<QuantileBlock>& blocks, int64_t origin, BacktestResult& result) {
  for (int64_t s = 0; s < set.series(); ++s) {
    if (!options.scored.empty() && options.scored[s] == 0) continue;
    bool all = true;
    for (size_t m = 0; m < blocks.size(); ++m) {
      if (models::Answered(blocks[m].status[s])) continue;
      all = false;
      ++result.unanswered[m];
    }
    if (!all) continue;
    for (int step = 0; step < result.horizon_steps; ++step) {
      const float actual = set.values[(origin + step) * set.series() + s];
      if (std::isnan(actual)) continue;
      for (size_t m = 0; m < blocks.size(); ++m) {
        result
            .tallies[(static_cast<int64_t>(m) * set.series() + s) * result.horizon_steps + step] +=
            ScorePoint(actual, blocks[m].at(s, step));
      }
    }
  }
}

// Sums over a range of distances of one series.
Tally SumSteps(const BacktestResult& result, int64_t model, int64_t series, int first_step,
               int last_step) {
  Tally sum;
  for (int step = first_step; step <= last_step; ++step) sum += result.at(model, series, step - 1);
  return sum;
}

// Takes in the series of one signal, or of all (-1).
Score SummarizeSeries(const BacktestResult& result, int64_t model, int signal, int first_step,
                      int last_step) {
  Score score;
  score.model = result.models[model];
  score.signal = signal < 0 ? "all" : SignalName(static_cast<models::SignalKind>(signal));
  score.first_step = first_step;
  score.last_step = last_step;
  Tally sum;
  int64_t varied = 0;
  for (int64_t s = 0; s < std::ssize(result.scales); ++s) {
    if (signal >= 0 && static_cast<int>(result.signals[s]) != signal) continue;
    const Tally tally = SumSteps(result, model, s, first_step, last_step);
    if (tally.points == 0) continue;
    ++score.series;
    sum += tally;
    if (result.scales[s] <= 0) continue;
    ++varied;
    const double points = static_cast<double>(tally.points);
    score.mase += tally.absolute_error / points / result.scales[s];
    score.scaled_pinball += tally.pinball / points / result.scales[s];
  }
  const double points = std::max<double>(1, static_cast<double>(sum.points));
  score.points = sum.points;
  score.mase /= std::max<double>(1, static_cast<double>(varied));
  score.scaled_pinball /= std::max<double>(1, static_cast<double>(varied));
  score.smape = sum.smape / points;
  score.crps = sum.actual > 0 ? 2 * sum.pinball / sum.actual : 0;
  score.coverage_80 = static_cast<double>(sum.inside_80) / points;
  return score;
}

}  // namespace

void Tally::operator+=(const Tally& other) {
  absolute_error += other.absolute_error;
  smape += other.smape;
  pinball += other.pinball;
  actual += other.actual;
  inside_80 += other.inside_80;
  points += other.points;
}

absl::StatusOr<BacktestResult> Backtest(const SeriesSet& set, const ForecasterList& forecasters,
                                        const BacktestOptions& options,
                                        const std::function<void(int64_t, int64_t)>& progress,
                                        const ForecastSink& sink) {
  if (absl::Status status = Check(set, forecasters, options); !status.ok()) return status;
  BacktestResult result;
  result.models = ModelNames(forecasters, options);
  result.signals = set.signals;
  for (int64_t s = 0; s < set.series(); ++s) {
    result.scales.push_back(ScaleOf(set, s, options.first_step));
  }
  result.horizon_steps = options.horizon_steps;
  result.tallies.resize(result.models.size() * static_cast<size_t>(set.series()) *
                        static_cast<size_t>(options.horizon_steps));
  result.unanswered.resize(result.models.size());
  result.scored_series = options.scored.empty()
                             ? set.series()
                             : std::ssize(options.scored) - std::ranges::count(options.scored, 0);

  const std::vector<int32_t> periods(static_cast<size_t>(set.series()),
                                     static_cast<int32_t>(kDayMs / set.step_ms));
  // Origins between those that are scored matter to the mixture alone.
  const int64_t scored_stride = int64_t{options.stride_steps} * options.score_every;
  const int64_t stride = options.mix ? options.stride_steps : scored_stride;
  const int64_t last = set.steps - options.horizon_steps;
  int64_t first = options.first_step;
  if (options.mix) {  // whole strides back, but not before there is a step of history
    first -= std::min<int64_t>(options.mix_warm_up_steps, first - 1) / stride * stride;
  }
  models::Mixture mixture;
  std::vector<models::Driver> drivers;  // sought anew each day
  int64_t drivers_found = std::numeric_limits<int64_t>::min();
  std::vector<QuantileBlock> blocks(result.models.size());
  std::vector<std::any> carried(forecasters.size());
  for (int64_t origin = first; origin <= last; origin += stride) {
    const int64_t begin = std::max<int64_t>(0, origin - options.window_steps);
    if ((origin - 1) * set.step_ms / kDayMs != drivers_found) {
      drivers = FindDrivers(set, origin);
      drivers_found = (origin - 1) * set.step_ms / kDayMs;
    }
    const models::History history{set.TimeMs(origin - 1),
                                  set.step_ms,
                                  set.Slice(begin, origin),
                                  set.signals,
                                  periods,
                                  set.applications,
                                  set.application_names,
                                  drivers};
    for (size_t m = 0; m < forecasters.size(); ++m) {
      const models::Forecaster& model = *forecasters[m];
      const absl::Status status =
          options.carried ? model.Continue(history, options.horizon_steps, carried[m], blocks[m])
                          : model.Forecast(history, options.horizon_steps, blocks[m]);
      if (!status.ok()) return status;
    }
    if (options.mix) {
      for (int64_t step = std::max(first, origin - stride); step < origin; ++step) {
        const auto row = set.Slice(step, step + 1);
        models::Observe(mixture, set.TimeMs(step), {row.data, static_cast<size_t>(set.series())});
      }
      models::Mix(mixture, history, std::span(blocks).first(forecasters.size()), blocks.back());
    }
    const int64_t tested = origin - options.first_step;
    if (tested >= 0 && tested % scored_stride == 0) {
      ScoreOrigin(set, options, blocks, origin, result);
      ++result.origins;
      const absl::Status status = sink ? sink({origin, blocks}) : absl::OkStatus();
      if (!status.ok()) return status;
    }
    progress((origin - first) / stride + 1, (last - first) / stride + 1);
  }
  return result;
}

std::vector<std::string> ModelNames(const ForecasterList& forecasters,
                                    const BacktestOptions& options) {
  std::vector<std::string> names;
  for (const auto& model : forecasters) names.emplace_back(model->name());
  if (options.mix) names.emplace_back("auto");
  return names;
}

std::vector<Score> Summarize(const BacktestResult& result, int first_step, int last_step) {
  std::vector<Score> scores;
  for (int64_t m = 0; m < std::ssize(result.models); ++m) {
    double crps = 0;
    int signals = 0;
    for (int signal = 0; signal < models::kSignalKinds; ++signal) {
      const Score score = SummarizeSeries(result, m, signal, first_step, last_step);
      if (score.points == 0) continue;
      scores.push_back(score);
      crps += score.crps;
      ++signals;
    }
    Score all = SummarizeSeries(result, m, -1, first_step, last_step);
    all.crps = signals > 0 ? crps / signals : 0;
    scores.push_back(all);
  }
  return scores;
}

const char* SignalName(models::SignalKind signal) {
  constexpr const char* kNames[] = {"cpu", "memory", "network", "storage", "mutation_rate"};
  return kNames[static_cast<int>(signal)];
}

}  // namespace foreshadow::training
