#include "models/mixture/mixture.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/algo/scores.h"
#include "kernels/check.h"
#include "models/empirical.h"

namespace foreshadow::models {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

bool Answered(const QuantileBlock& block, int64_t s) {
  return s < block.series &&
         (block.status[s] == ForecastStatus::kOk || block.status[s] == ForecastStatus::kFellBack);
}

// The judged distances, in steps from 1, ascending; some coincide when the horizon is short.
std::array<int, kJudged> JudgedSteps(int steps) { return {1, std::max(1, steps / 4), steps}; }

MixtureSeries& At(Mixture& m, int distance, int64_t s) {
  return m.series[distance * m.series_count() + s];
}
const MixtureSeries& At(const Mixture& m, int distance, int64_t s) {
  return m.series[distance * m.series_count() + s];
}

// Grows the arrays to the series there are now, keeping what is known.
void Fit(Mixture& m, int64_t step_ms, std::span<const SignalKind> signals, int models, int steps) {
  if (m.models != models || m.steps != steps || m.step_ms != step_ms ||
      std::ssize(signals) < m.series_count()) {
    m = Mixture{m.settings, models, steps, step_ms, {}, {}, {}, {}};
  }
  if (std::ssize(signals) == m.series_count()) return;
  const int64_t before = m.series_count();
  const auto now = static_cast<int64_t>(signals.size());
  std::vector<MixtureSeries> grown(static_cast<size_t>(kJudged * now));
  for (int d = 0; d < kJudged; ++d) {
    for (int64_t s = 0; s < now; ++s) {
      MixtureSeries& to = grown[d * now + s];
      if (s < before) {
        to = std::move(At(m, d, s));
      } else {
        to.losses.assign(static_cast<size_t>(models), 0);
        to.judged.assign(static_cast<size_t>(models), 0);
      }
    }
  }
  m.series = std::move(grown);
  m.signals.assign(signals.begin(), signals.end());
}

// Mean loss of each model over the series of each signal, in mean absolute errors of the mixture;
// what a series without a past of its own is taken to be like. [signal][model], NaN = not known.
std::vector<double> PooledLosses(const Mixture& m, int distance) {
  std::vector<double> sums(static_cast<size_t>(kSignalKinds * m.models));
  std::vector<double> counts(sums.size());
  for (int64_t s = 0; s < m.series_count(); ++s) {
    const MixtureSeries& series = At(m, distance, s);
    if (series.error_weight <= 0 || series.error <= 0) continue;
    const double unit = series.error / series.error_weight;
    for (int k = 0; k < m.models; ++k) {
      if (series.judged[k] <= 0) continue;
      const auto at = static_cast<size_t>(static_cast<int>(m.signals[s]) * m.models + k);
      // A series at rest has tiny units; bounded, it does not rule the mean.
      sums[at] += std::min(10.0, series.losses[k] / series.judged[k] / unit);
      counts[at] += 1;
    }
  }
  std::vector<double> pooled(sums.size(), kUnknown);
  for (size_t i = 0; i < sums.size(); ++i) {
    if (counts[i] > 0) pooled[i] = sums[i] / counts[i];
  }
  return pooled;
}

// Weights at one distance of the models that answer[] says are there; they sum to 1.
void WeighAt(const Mixture& m, int distance, int64_t s, std::span<const double> pooled,
             const std::vector<bool>& answer, std::span<double> weights) {
  const MixtureSeries& series = At(m, distance, s);
  const double unit = series.error_weight > 0 ? series.error / series.error_weight : 0;
  const double* pool = pooled.data() + static_cast<int>(m.signals[s]) * m.models;
  double least = std::numeric_limits<double>::infinity();
  for (int k = 0; k < m.models; ++k) {
    weights[k] = kUnknown;
    if (!answer[k]) continue;
    const bool has_pool = !std::isnan(pool[k]);
    const double prior_weight = has_pool ? m.settings.pooled_samples : 0;
    const double prior = has_pool ? prior_weight * pool[k] * unit : 0;
    const double weight = series.judged[k] + prior_weight;
    if (weight <= 0) continue;  // never judged
    weights[k] = unit > 0 ? (series.losses[k] + prior) / weight
                          : (has_pool ? pool[k] : series.losses[k] / weight);
    least = std::min(least, weights[k]);
  }
  double total = 0;
  bool first = true;
  for (int k = 0; k < m.models; ++k) {
    if (!answer[k]) {
      weights[k] = 0;
    } else if (std::isinf(least)) {  // none was judged: the first that answers
      weights[k] = first ? 1.0 : 0.0;
      first = false;
    } else if (std::isnan(weights[k])) {
      weights[k] = 0;
    } else if (least > 0) {
      weights[k] = std::exp(-m.settings.sharpness * (weights[k] - least) / least);
    } else {
      weights[k] = weights[k] <= 0 ? 1.0 : 0.0;
    }
    total += weights[k];
  }
  for (double& weight : weights) weight /= total;
}

// Where a step lies between two judged distances.
struct Between {
  int low;
  int high;
  double share;  // of high
};

Between Locate(int step, int steps) {
  const auto judged = JudgedSteps(steps);
  int high = 0;
  while (high < kJudged - 1 && judged[high] < step) ++high;
  if (high == 0 || judged[high] == step) return {high, high, 0};
  const double width = static_cast<double>(judged[high] - judged[high - 1]);
  return {high - 1, high, static_cast<double>(step - judged[high - 1]) / width};
}

// Cut so that the levels stay in order and none is below zero.
void Shift(const Mixture& m, const Between& place, int64_t s, std::span<float> row) {
  const MixtureSeries& low = At(m, place.low, s);
  const MixtureSeries& high = At(m, place.high, s);
  const auto shift = [](const MixtureSeries& x, int q) {
    return x.error_weight > 0 ? x.shifts[q] * x.error / x.error_weight : 0.0;
  };
  for (int q = 0; q < kQuantiles; ++q) {
    const double shifted =
        row[q] + (1 - place.share) * shift(low, q) + place.share * shift(high, q);
    const double most = std::numeric_limits<float>::max();
    row[q] = static_cast<float>(std::clamp<double>(shifted, q > 0 ? row[q - 1] : 0.0, most));
  }
}

void MixSeries(Mixture& m, int64_t s, std::span<const QuantileBlock> blocks,
               const std::array<std::vector<double>, kJudged>& pooled, QuantileBlock& out) {
  std::vector<bool> answer(blocks.size());
  bool any = false;
  bool all_empty = true;
  for (size_t k = 0; k < blocks.size(); ++k) {
    answer[k] = Answered(blocks[k], s);
    any = any || answer[k];
    if (blocks[k].series > 0) {  // else that model did not answer at all
      all_empty = all_empty && blocks[k].status[s] == ForecastStatus::kNoHistory;
    }
  }
  if (!any) {
    return WriteMissing(all_empty ? ForecastStatus::kNoHistory : ForecastStatus::kCannot, s, out);
  }
  out.status[s] = answer[0] ? ForecastStatus::kOk : ForecastStatus::kFellBack;
  std::array<std::vector<double>, kJudged> weights;
  for (int d = 0; d < kJudged; ++d) {
    weights[d].resize(blocks.size());
    WeighAt(m, d, s, pooled[d], answer, weights[d]);
  }
  m.leaders[s] = static_cast<uint8_t>(std::ranges::max_element(weights[0]) - weights[0].begin());
  for (int step = 0; step < out.steps; ++step) {
    const Between place = Locate(step + 1, out.steps);
    const auto row = out.at(s, step);
    std::ranges::fill(row, 0.0f);
    for (size_t k = 0; k < blocks.size(); ++k) {
      if (!answer[k]) continue;
      const double weight =
          (1 - place.share) * weights[place.low][k] + place.share * weights[place.high][k];
      const auto from = blocks[k].at(s, step);
      for (int q = 0; q < kQuantiles; ++q) row[q] += static_cast<float>(weight * from[q]);
    }
    Shift(m, place, s, row);
  }
}

void Remember(Mixture& m, int64_t made_at_ms, std::span<const QuantileBlock> blocks,
              const QuantileBlock& out) {
  const auto columns = static_cast<int64_t>(blocks.size()) + 1;
  Mixture::Made made{made_at_ms, out.series, {}};
  made.rows.assign(static_cast<size_t>(kJudged * out.series * columns * kQuantiles), kNaN);
  const auto judged = JudgedSteps(out.steps);
  float* row = made.rows.data();
  for (int d = 0; d < kJudged; ++d) {
    for (int64_t s = 0; s < out.series; ++s) {
      for (int64_t k = 0; k < columns; ++k, row += kQuantiles) {
        const QuantileBlock& block = k < columns - 1 ? blocks[k] : out;
        if (Answered(block, s)) std::ranges::copy(block.at(s, judged[d] - 1), row);
      }
    }
  }
  m.made.push_back(std::move(made));
  while (std::ssize(m.made) > m.steps + 1) m.made.pop_front();
}

void Judge(const MixtureSettings& settings, float actual, const float* rows, int models,
           MixtureSeries& series) {
  for (int k = 0; k < models; ++k, rows += kQuantiles) {
    if (std::isnan(*rows)) continue;
    const double loss = MeanPinball(actual, {rows, size_t{kQuantiles}});
    series.losses[k] = settings.loss_decay * series.losses[k] + loss;
    series.judged[k] = settings.loss_decay * series.judged[k] + 1;
  }
  if (std::isnan(*rows)) return;
  for (int q = 0; q < kQuantiles; ++q) {
    if (actual == rows[q]) continue;  // a series at rest says nothing about its levels
    const float off = kQuantileLevels[q] - (actual < rows[q] ? 1.0f : 0.0f);
    series.shifts[q] = std::clamp(series.shifts[q] + settings.shift_rate * off, -settings.shift_max,
                                  settings.shift_max);
  }
  series.error =
      settings.loss_decay * series.error + std::fabs(static_cast<double>(actual) - rows[kMedian]);
  series.error_weight = settings.loss_decay * series.error_weight + 1;
}

}  // namespace

double MeanPinball(double actual, std::span<const float> quantiles) {
  double sum = 0;
  for (int q = 0; q < kQuantiles; ++q) {
    sum += kernels::Pinball(actual, quantiles[q], kQuantileLevels[q]);
  }
  return sum / kQuantiles;
}

void Mix(Mixture& m, int64_t made_at_ms, int64_t step_ms, std::span<const SignalKind> signals,
         std::span<const QuantileBlock> blocks, QuantileBlock& out) {
  int steps = 0;
  for (const QuantileBlock& block : blocks) {
    if (block.series == 0) continue;
    FORESHADOW_CHECK(block.series == std::ssize(signals));
    FORESHADOW_CHECK(steps == 0 || block.steps == steps);
    steps = block.steps;
  }
  out.Resize(std::ssize(signals), steps);
  if (steps == 0) {
    std::ranges::fill(out.status, ForecastStatus::kCannot);
    return;
  }
  Fit(m, step_ms, signals, static_cast<int>(blocks.size()), steps);
  std::array<std::vector<double>, kJudged> pooled;
  for (int d = 0; d < kJudged; ++d) pooled[d] = PooledLosses(m, d);
  m.leaders.assign(static_cast<size_t>(out.series), 0);
  for (int64_t s = 0; s < out.series; ++s) MixSeries(m, s, blocks, pooled, out);
  Remember(m, made_at_ms, blocks, out);
}

void Observe(Mixture& m, int64_t time_ms, std::span<const float> samples) {
  const auto judged = JudgedSteps(m.steps);
  const int64_t columns = m.models + 1;
  for (const Mixture::Made& made : m.made) {
    for (int d = 0; d < kJudged; ++d) {
      if (made.made_at_ms + judged[d] * m.step_ms != time_ms) continue;
      const int64_t series = std::min<int64_t>(made.series, std::ssize(samples));
      for (int64_t s = 0; s < series; ++s) {
        if (!std::isfinite(samples[s])) continue;
        Judge(m.settings, samples[s],
              made.rows.data() + (d * made.series + s) * columns * kQuantiles, m.models,
              At(m, d, s));
      }
    }
  }
}

std::vector<double> Weights(const Mixture& m, int64_t series, int step) {
  const Between place = Locate(step, m.steps);
  const std::vector<bool> answer(static_cast<size_t>(m.models), true);
  std::vector<double> low(answer.size());
  std::vector<double> high(answer.size());
  WeighAt(m, place.low, series, PooledLosses(m, place.low), answer, low);
  WeighAt(m, place.high, series, PooledLosses(m, place.high), answer, high);
  for (size_t k = 0; k < low.size(); ++k) {
    low[k] = (1 - place.share) * low[k] + place.share * high[k];
  }
  return low;
}

}  // namespace foreshadow::models
