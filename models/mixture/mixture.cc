#include "models/mixture/mixture.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/check.h"
#include "models/empirical.h"
#include "models/mixture/rows.h"
#include "models/parallel.h"

namespace foreshadow::models {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kMost = std::numeric_limits<float>::max();
constexpr int8_t kNoAnswer = -128;
constexpr int64_t kChunkSeries = 256;
constexpr float kDifferenceUnit = 32;  // int8: four errors either way, past which all is far
// Width of the 80 % interval to the mean absolute error, where none was seen: normal law.
constexpr float kErrorOfWidth = 0.8f / 2.56f;

// A sample in 1,000 to 10,000 is above that many times all before it (docs/models.md); a network
// that has seen machines of all sizes says it more often of one that has just woken.
constexpr float kHighestTimes = 1.5f;
constexpr float kCapWeightMin = 19;  // error_weight: of 24 that were judged

// First and last level of the parts.
constexpr std::array<int, kMixtureParts + 1> kPartBegin = {0, kMedian, kMedian + 1, kQuantiles};

bool Answered(const QuantileBlock& block, int64_t s) {
  return s < block.series && Answered(block.status[s]);
}

// Forecasts from one that is judged to the next.
int JudgedEvery(int distance) { return (distance + kWaitingMax - 1) / kWaitingMax; }

int PoolOf(const History& history, int64_t s) {
  const int application = history.applications.empty() ? -1 : history.applications[s];
  return kSignalKinds * (1 + application) + static_cast<int>(history.signals[s]);
}

int RowSize(const Mixture& m) { return kMixtureParts * m.models + kQuantiles; }

// Takes one step's samples in; NaN = missing.
void Raise(std::span<const float> samples, std::span<float> highest) {
  const size_t count = std::min(samples.size(), highest.size());
  for (size_t s = 0; s < count; ++s) {
    highest[s] = samples[s] > highest[s] ? samples[s] : highest[s];  // false for a NaN
  }
}

// Starts afresh where the shape differs, else grows to the series and applications there are now.
void Fit(Mixture& m, const History& history, int models, int steps) {
  const auto series = std::ssize(history.signals);
  if (m.models != models || m.steps != steps || m.step_ms != history.step_ms ||
      series < m.series_count()) {
    const MixtureSettings settings = m.settings;
    m = Mixture{};
    m.settings = settings;
    m.models = models;
    m.steps = steps;
    m.step_ms = history.step_ms;
    const auto judged = JudgedSteps(steps);
    for (int d = 0; d < kJudged; ++d) {
      const int every = JudgedEvery(judged[d]);
      m.waiting[d].resize(static_cast<size_t>((judged[d] + every - 1) / every));
    }
  }
  m.pools.resize(static_cast<size_t>(series));
  int pools = kSignalKinds;
  for (int64_t s = 0; s < series; ++s) {
    m.pools[s] = PoolOf(history, s);
    pools = std::max(pools, m.pools[s] + 1);
  }
  const auto count = static_cast<size_t>(series);
  m.log_weights.resize(count * kJudged * kMixtureParts * static_cast<size_t>(models));
  m.series.resize(count * kJudged);
  const size_t known = m.highest.size();
  m.highest.resize(count, 0);
  // Row by row, as they lie in memory.
  for (int64_t step = 0; step < history.values.steps && known < count; ++step) {
    Raise(std::span(&history.values.at(step, 0), count).subspan(known),
          std::span(m.highest).subspan(known));
  }
  const int size = RowSize(m);
  for (Mixture::Pooled& pooled : m.pooled) {
    pooled.newcomer.resize(
        std::max(pooled.newcomer.size(), static_cast<size_t>(pools) * static_cast<size_t>(size)));
    if (!pooled.of_signal.empty()) continue;
    pooled.of_signal.resize(static_cast<size_t>(kSignalKinds) * static_cast<size_t>(size));
    for (int signal = 0; signal < kSignalKinds; ++signal) {
      for (int part = 0; part < kMixtureParts; ++part) {
        pooled.of_signal[signal * size + part * models] = m.settings.first_start;
      }
    }
  }
}

Between Locate(int step, int steps) {
  const auto judged = JudgedSteps(steps);
  int high = 0;
  while (high < kJudged - 1 && judged[high] < step) ++high;
  if (high == 0 || judged[high] == step) return {high, high, 0};
  const auto width = static_cast<float>(judged[high] - judged[high - 1]);
  return {high - 1, high, static_cast<float>(step - judged[high - 1]) / width};
}

// One series at the judged distances, in flat arrays whose loops vectorise. Scratch of one call of
// Mix.
struct Weighed {
  Weighed(int models, int steps)
      : answers(static_cast<size_t>(models)),
        weights(Padded(static_cast<size_t>(models) * kJudged * kMixtureParts)),
        by_level(static_cast<size_t>(kJudged * models)),
        last_rows(static_cast<size_t>(models)),
        now(Padded(static_cast<size_t>(models) * kQuantiles)),
        rounded(now.size()),
        rows(static_cast<size_t>(models)),
        nothing(static_cast<size_t>(steps * kQuantiles)) {}

  std::vector<uint8_t> answers;  // [model]; the caller's
  std::vector<float> weights;    // [kJudged][kMixtureParts][model], sum to 1 over those that answer
  std::vector<PaddedRow> by_level;   // [kJudged][model], the same
  std::vector<PaddedRow> last_rows;  // [model]
  std::vector<float> now;            // [model][kQuantiles] of one step
  std::vector<int8_t> rounded;       // the same
  std::vector<const float*> rows;    // [model] its block's row of the first step, or nothing
  std::vector<float> nothing;        // zeros, as long as a series' rows
  std::array<PaddedRow, kJudged> factors{};  // of the gaps
};

void Weigh(const Mixture& m, int64_t s, Weighed& w) {
  const int models = m.models;
  const int row = kMixtureParts * models;
  const int size = RowSize(m);
  for (int d = 0; d < kJudged; ++d) {
    const Mixture::Pooled& pooled = m.pooled[d];
    const int signal = m.pools[s] % kSignalKinds;
    const float* shared = pooled.of_signal.data() + signal * size;
    const MixtureSeries& series = m.series[s * kJudged + d];
    const bool is_new = series.error_weight <= 0;
    const float* newcomer = pooled.newcomer.data() + m.pools[s] * size;
    const float* own = is_new ? newcomer : m.log_weights.data() + (s * kJudged + d) * row;
    const float* own_factors = is_new ? newcomer + row : series.log_factors.data();
    float* weights = w.weights.data() + d * row;
    for (int i = 0; i < row; ++i) weights[i] = own[i] + shared[i];
    w.factors[d] = {};
    for (int q = 0; q < kQuantiles; ++q) {
      w.factors[d][q] = std::clamp(own_factors[q] + shared[row + q], -10.0f, 10.0f);
    }
    Exponentials(w.factors[d]);
    if (pooled.learned[signal] == 0) {  // the first that answers
      const auto first = std::ranges::find(w.answers, 1) - w.answers.begin();
      for (int i = 0; i < row; ++i) weights[i] = i % models == first ? 0 : kLogWeightMin;
    }
    for (int part = 0; part < kMixtureParts; ++part) {
      float* of_part = weights + part * models;
      float most = -kMost;
      for (int k = 0; k < models; ++k) {
        if (w.answers[k] != 0) most = std::max(most, of_part[k]);
      }
      for (int k = 0; k < models; ++k) {
        of_part[k] = w.answers[k] != 0 ? std::max(kLogWeightMin, of_part[k] - most) : kLogWeightMin;
      }
    }
  }
  std::fill(w.weights.begin() + kJudged * row, w.weights.end(), kLogWeightMin);
  Exponentials(w.weights);
  for (int i = 0; i < kJudged * kMixtureParts; ++i) {
    float* of_part = w.weights.data() + i * models;
    float total = 0;
    for (int k = 0; k < models; ++k) total += of_part[k];
    for (int k = 0; k < models; ++k) of_part[k] /= total;
  }
  for (int d = 0; d < kJudged; ++d) {
    for (int k = 0; k < models; ++k) {
      PaddedRow& level = w.by_level[d * models + k];
      for (int part = 0; part < kMixtureParts; ++part) {
        const float weight = w.weights[(d * kMixtureParts + part) * models + k];
        for (int q = kPartBegin[part]; q < kPartBegin[part + 1]; ++q) level[q] = weight;
      }
    }
  }
}

// Beyond which nothing is said of a series.
float MostOf(const Mixture& m, int64_t s) {
  const float highest = m.highest[s];
  const bool is_known = highest > 0 && m.series[s * kJudged].error_weight >= kCapWeightMin;
  return is_known ? std::min(kMost, kHighestTimes * highest) : kMost;
}

// Room for this time's forecasts at a distance, where they are to be judged; else null.
MixtureMade* Next(Mixture& m, int d, int64_t made_at_ms, int64_t series) {
  const int every = JudgedEvery(JudgedSteps(m.steps)[d]);
  if (m.ticks % every != 0) return nullptr;
  MixtureMade& made = m.waiting[d][static_cast<size_t>(m.ticks / every) % m.waiting[d].size()];
  made.made_at_ms = made_at_ms;
  made.mixed.assign(static_cast<size_t>(series) * kQuantiles, kNaN);
  made.difference.resize(static_cast<size_t>(series) * m.models * kQuantiles);
  return &made;
}

void Remember(const MixtureSeries& series, int64_t s, int step, Weighed& w,
              const QuantileBlock& out, MixtureMade& made) {
  const auto mixed = out.at(s, step);
  std::ranges::copy(mixed, made.mixed.begin() + s * kQuantiles);
  for (size_t k = 0; k < w.rows.size(); ++k) {
    const float* from = w.rows[k] + step * kQuantiles;
    for (int q = 0; q < kQuantiles; ++q) w.now[k * kQuantiles + q] = mixed[q] - from[q];
  }
  float error = series.error_weight > 0 ? series.error / series.error_weight : 0;
  if (error <= 0) {  // none was seen yet: how wide, or how far apart, the models are
    error = kErrorOfWidth * (mixed[5] - mixed[1]);
    for (size_t k = 0; k < w.rows.size(); ++k) {
      if (w.answers[k] != 0) error = std::max(error, std::fabs(w.now[k * kQuantiles + kMedian]));
    }
  }
  const float scale = error > 0 ? std::min(kMost, kDifferenceUnit / error) : 0;
  RoundScaled(w.now, scale, w.rounded);
  const auto size = static_cast<std::ptrdiff_t>(w.rows.size() * kQuantiles);
  int8_t* difference = made.difference.data() + s * size;
  std::copy_n(w.rounded.begin(), size, difference);
  for (size_t k = 0; k < w.rows.size(); ++k) {
    if (w.answers[k] == 0) difference[k * kQuantiles] = kNoAnswer;
  }
}

// Series `begin` to `end` of all, which the blocks hold from `first` on.
void MixRows(const Mixing& mixing, std::span<const QuantileBlock> blocks, int64_t first,
             int64_t begin, int64_t end) {
  Mixture& m = *mixing.mixture;
  QuantileBlock& out = *mixing.out;
  const auto judged = JudgedSteps(m.steps);
  std::vector<Between> places;
  for (int step = 1; step <= m.steps; ++step) places.push_back(Locate(step, m.steps));
  Weighed w(m.models, m.steps);
  for (int64_t s = begin; s < end; ++s) {
    bool any = false;
    bool all_empty = true;
    for (size_t k = 0; k < blocks.size(); ++k) {
      w.answers[k] = Answered(blocks[k], s - first) ? 1 : 0;
      w.rows[k] = w.answers[k] != 0 ? blocks[k].at(s - first, 0).data() : w.nothing.data();
      any = any || w.answers[k] != 0;
      if (blocks[k].series > 0) {  // else that model did not answer at all
        all_empty = all_empty && blocks[k].status[s - first] == ForecastStatus::kNoHistory;
      }
    }
    if (!any) {
      WriteMissing(all_empty ? ForecastStatus::kNoHistory : ForecastStatus::kCannot, s, out);
      continue;
    }
    out.status[s] = w.answers[0] != 0 ? ForecastStatus::kOk : ForecastStatus::kFellBack;
    Weigh(m, s, w);
    std::array<uint8_t, kJudged> leaders;
    for (int d = 0; d < kJudged; ++d) {
      const auto median =
          std::span(w.weights).subspan((d * kMixtureParts + 1) * m.models, m.models);
      leaders[d] = static_cast<uint8_t>(std::ranges::max_element(median) - median.begin());
    }
    m.leaders[s] = leaders[0];
    MixSteps({w.rows, w.by_level, leaders, w.factors, places, MostOf(m, s)}, w.last_rows,
             out.at(s, 0).data());
    for (int d = 0; d < kJudged; ++d) {
      if (mixing.made[d] == nullptr) continue;
      Remember(m.series[s * kJudged + d], s, judged[d] - 1, w, out, *mixing.made[d]);
    }
  }
}

// What a sample says about a series' row: the loss's slope at each level, and the way in which each
// gap would rather have been.
struct Verdict {
  std::array<float, kQuantiles> slope;
  std::array<float, kQuantiles> wider;

  Verdict(float actual, const float* row) {
    for (int q = 0; q < kQuantiles; ++q) {
      // A series at rest says nothing about its levels, and no model would have been better.
      slope[q] = actual == row[q] ? 0 : (actual < row[q] ? 1.0f : 0.0f) - kQuantileLevels[q];
      wider[q] = q < kMedian ? slope[q] : q > kMedian ? -slope[q] : 0;
    }
  }
};

// How much each part's loss would fall with more weight on a model, in errors of the series.
std::array<float, kMixtureParts> GainOf(const Verdict& verdict, const int8_t* difference,
                                        float level_share) {
  std::array<float, kMixtureParts> gain;
  float all = 0;
  for (int part = 0; part < kMixtureParts; ++part) {
    float sum = 0;
    for (int q = kPartBegin[part]; q < kPartBegin[part + 1]; ++q) {
      sum += verdict.slope[q] * static_cast<float>(difference[q]);
    }
    all += sum;
    gain[part] = sum / static_cast<float>(kPartBegin[part + 1] - kPartBegin[part]);
  }
  for (float& x : gain) {
    x = (level_share * x + (1 - level_share) * all / kQuantiles) / kDifferenceUnit;
  }
  return gain;
}

float PerIndependent(const Mixture& m, int d) {
  // Forecasts of neighbouring times share most of what they are judged by.
  const int distance = JudgedSteps(m.steps)[d];
  return 1 / std::sqrt(static_cast<float>(distance) / static_cast<float>(JudgedEvery(distance)));
}

// Sums over the series of each pool that were judged at one time: what they said, and their own
// parts, in rows as in Mixture::Pooled.
struct Sums {
  std::vector<float> said;
  std::vector<float> own;
  std::vector<int64_t> counts;
};

void LearnPools(Mixture& m, int d, const Sums& sums) {
  const int size = RowSize(m);
  const int row = kMixtureParts * m.models;
  const auto pools = std::ssize(sums.counts);
  Mixture::Pooled& pooled = m.pooled[d];
  std::vector<float> said(static_cast<size_t>(size));
  std::vector<float> own(static_cast<size_t>(size));
  for (int signal = 0; signal < kSignalKinds; ++signal) {
    std::ranges::fill(said, 0.0f);
    std::ranges::fill(own, 0.0f);
    float count = 0;
    for (int64_t pool = signal; pool < pools; pool += kSignalKinds) {
      count += static_cast<float>(sums.counts[pool]);
      for (int i = 0; i < size; ++i) said[i] += sums.said[pool * size + i];
      for (int i = 0; i < size; ++i) own[i] += sums.own[pool * size + i];
    }
    if (count == 0) continue;
    const auto learned = static_cast<float>(++pooled.learned[signal]);
    const float weight_rate = m.settings.pool_rate * PerIndependent(m, d) / std::sqrt(learned);
    const float gap_rate = m.settings.pool_gap_rate * count / (count + m.settings.pool_series);
    for (int i = 0; i < size; ++i) {
      own[i] /= count;
      pooled.of_signal[signal * size + i] += (i < row ? weight_rate : gap_rate) * said[i] / count;
    }
    const float prior = m.settings.pool_series;
    for (int64_t pool = signal; pool < pools; pool += kSignalKinds) {
      const auto n = static_cast<float>(pool == signal ? 0 : sums.counts[pool]);
      for (int i = 0; i < size; ++i) {
        const float sum = pool == signal ? 0 : sums.own[pool * size + i];
        pooled.newcomer[pool * size + i] = (sum + prior * own[i]) / (n + prior);
      }
    }
  }
}

// Judges the forecasts of one distance.
void Judge(Mixture& m, int d, const MixtureMade& made, std::span<const float> samples) {
  const MixtureSettings& o = m.settings;
  const int models = m.models;
  const int row = kMixtureParts * models;
  const int size = RowSize(m);
  const float own_rate = o.own_rate * PerIndependent(m, d);
  const size_t rows = m.pooled[d].newcomer.size();
  Sums sums{std::vector<float>(rows), std::vector<float>(rows), std::vector<int64_t>(rows / size)};
  const auto count = std::min<int64_t>(std::ssize(made.mixed) / kQuantiles, std::ssize(samples));
  for (int64_t s = 0; s < count; ++s) {
    const float actual = samples[s];
    const float* mixed = made.mixed.data() + s * kQuantiles;
    if (!std::isfinite(actual) || std::isnan(*mixed)) continue;
    const int64_t pool = m.pools[s];
    MixtureSeries& series = m.series[s * kJudged + d];
    float* own = m.log_weights.data() + (s * kJudged + d) * row;
    if (series.error_weight <= 0) {
      const float* newcomer = m.pooled[d].newcomer.data() + pool * size;
      std::copy_n(newcomer, row, own);
      std::copy_n(newcomer + row, kQuantiles, series.log_factors.begin());
    }
    const Verdict verdict(actual, mixed);
    const int8_t* difference = made.difference.data() + s * models * kQuantiles;
    float* said = sums.said.data() + pool * size;
    float* owned = sums.own.data() + pool * size;
    for (int k = 0; k < models; ++k, difference += kQuantiles) {
      const bool answered = *difference != kNoAnswer;
      const auto gain = answered ? GainOf(verdict, difference, o.level_share)
                                 : std::array<float, kMixtureParts>{};
      for (int part = 0; part < kMixtureParts; ++part) {
        const int i = part * models + k;
        own[i] = o.keep * (own[i] + own_rate * gain[part]);
        said[i] += gain[part];
        owned[i] += own[i];
      }
    }
    for (int q = 0; q < kQuantiles; ++q) {
      float& own_factor = series.log_factors[q];
      own_factor = std::clamp(o.keep * (own_factor + o.gap_rate * verdict.wider[q]),
                              -o.log_factor_max, o.log_factor_max);
      said[row + q] += verdict.wider[q];
      owned[row + q] += own_factor;
    }
    const float error = std::fabs(actual - mixed[kMedian]);
    series.error = std::min(kMost, o.error_decay * series.error + error);
    series.error_weight = o.error_decay * series.error_weight + 1;
    ++sums.counts[pool];
  }
  LearnPools(m, d, sums);
}

}  // namespace

Mixing Begin(Mixture& m, const History& history, int models, int steps, QuantileBlock& out) {
  const auto series = std::ssize(history.signals);
  out.Resize(series, steps);
  Fit(m, history, models, steps);
  Mixing mixing{&m, &out, {}};
  for (int d = 0; d < kJudged; ++d) mixing.made[d] = Next(m, d, history.end_ms, series);
  ++m.ticks;
  m.leaders.assign(static_cast<size_t>(series), 0);
  return mixing;
}

void MixPart(const Mixing& mixing, int64_t first, int64_t series,
             std::span<const QuantileBlock> blocks) {
  FORESHADOW_CHECK(std::ssize(blocks) == mixing.mixture->models);
  MixRows(mixing, blocks, first, first, first + series);
}

void Mix(Mixture& m, const History& history, std::span<const QuantileBlock> blocks,
         QuantileBlock& out) {
  const auto series = std::ssize(history.signals);
  int steps = 0;
  for (const QuantileBlock& block : blocks) {
    if (block.series == 0) continue;
    FORESHADOW_CHECK(block.series == series);
    FORESHADOW_CHECK(steps == 0 || block.steps == steps);
    steps = block.steps;
  }
  if (steps == 0) {
    out.Resize(series, steps);
    std::ranges::fill(out.status, ForecastStatus::kCannot);
    return;
  }
  const Mixing mixing = Begin(m, history, static_cast<int>(blocks.size()), steps, out);
  ForChunks(series, kChunkSeries, ThreadCount(0),
            [&](int64_t begin, int64_t end, int) { MixRows(mixing, blocks, 0, begin, end); });
}

void Observe(Mixture& m, int64_t time_ms, std::span<const float> samples) {
  Raise(samples, m.highest);
  const auto judged = JudgedSteps(m.steps);
  for (int d = 0; d < kJudged; ++d) {
    for (const MixtureMade& made : m.waiting[d]) {
      if (!made.mixed.empty() && made.made_at_ms + judged[d] * m.step_ms == time_ms) {
        Judge(m, d, made, samples);
      }
    }
  }
}

std::vector<double> Weights(const Mixture& m, int64_t series, int step) {
  Weighed w(m.models, m.steps);
  std::ranges::fill(w.answers, 1);
  Weigh(m, series, w);
  const Between place = Locate(step, m.steps);
  std::vector<double> weights;
  for (int k = 0; k < m.models; ++k) {
    const float low = w.by_level[place.low * m.models + k][kMedian];
    const float high = w.by_level[place.high * m.models + k][kMedian];
    weights.push_back(low + place.share * (high - low));
  }
  return weights;
}

}  // namespace foreshadow::models
