#include "models/lstm/features.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "kernels/check.h"

namespace foreshadow::models {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr double kLevelDecay = 0.99042;      // halves in 72 steps, 6 h of 5 min
constexpr double kShortDecay = 0.79370;      // halves in 3 steps
constexpr double kScaleDecay = 0.99760;      // halves in 288 steps, a day of 5 min
constexpr double kShortStepDecay = 0.89090;  // halves in 6 steps
constexpr double kSpreadShareMin = 1e-4;     // of the deviation: finer is rest
constexpr double kPriorShare = 0.1;          // deviation of an unknown series, of its first value,
constexpr double kPriorWeight = 3;           // worth so many samples
constexpr double kScaleShareMin = 1e-5;      // of the level: what float differences can hold
constexpr double kScaleMin = 1e-6;           // for series at zero
constexpr int kAgeStepsMax = 12;

// Exponentially weighted mean that is unbiased from its first sample on.
struct RunningMean {
  double sum = 0;
  double weight = 0;

  void Add(double value, double decay) {
    sum = decay * sum + value;
    weight = decay * weight + 1;
  }
  double mean() const { return weight > 0 ? sum / weight : 0; }
};

// What one pass over the samples carries from step to step.
struct Running {
  RunningMean level;
  RunningMean short_level;
  RunningMean deviation;
  RunningMean square;
  RunningMean short_step;
  RunningMean long_step;
  double peak = 0;  // largest rise above the level, fading like the deviation
  float last = 0;
  float before_last = 0;
  int age = kAgeStepsMax;

  void Add(float sample) {
    if (std::isnan(sample)) {
      age = std::min(age + 1, kAgeStepsMax);
      return;
    }
    if (level.weight == 0) {
      const double prior = kPriorShare * std::fabs(sample);
      deviation = {kPriorWeight * prior, kPriorWeight};
      square = {kPriorWeight * prior * prior, kPriorWeight};
      last = sample;
    } else {
      const double off = sample - level.mean();
      deviation.Add(std::fabs(off), kScaleDecay);
      square.Add(off * off, kScaleDecay);
      peak = std::max(kScaleDecay * peak, off);
      const double step = std::fabs(static_cast<double>(sample) - last);
      short_step.Add(step, kShortStepDecay);
      long_step.Add(step, kScaleDecay);
    }
    level.Add(sample, kLevelDecay);
    short_level.Add(sample, kShortDecay);
    before_last = last;
    last = sample;
    age = 0;
  }
  double scale() const {
    return std::max({deviation.mean(), kScaleShareMin * std::fabs(level.mean()), kScaleMin});
  }
};

struct Hour {
  float mean, median, spread, max, min;
};

// The samples of the last hour; `last` stands for all of them where there is none.
Hour SummarizeHour(std::span<const float> samples, int64_t step, int hour_steps, float last) {
  std::array<float, 64> sorted;
  const int64_t begin = std::max<int64_t>(0, step - std::min(hour_steps, 64) + 1);
  int count = 0;
  double sum = 0;
  for (int64_t t = begin; t <= step; ++t) {
    if (std::isnan(samples[t])) continue;
    sorted[count++] = samples[t];
    sum += samples[t];
  }
  if (count == 0) return {last, last, 0, last, last};
  std::sort(sorted.begin(), sorted.begin() + count);
  const double mean = sum / count;
  double spread = 0;
  for (int i = 0; i < count; ++i) spread += std::fabs(sorted[i] - mean);
  const float median = 0.5f * sorted[(count - 1) / 2] + 0.5f * sorted[count / 2];
  return {static_cast<float>(mean), median, static_cast<float>(spread / count), sorted[count - 1],
          sorted[0]};
}

// Logarithm of a spread's ratio to the deviation.
float LogShare(double spread, double scale) {
  return static_cast<float>(std::log(std::max(spread / scale, kSpreadShareMin)));
}

float SampleAt(std::span<const float> samples, int64_t step) {
  return step >= 0 && step < std::ssize(samples) ? samples[step] : kNaN;
}

// Mean of the same time on the days before yesterday.
float ProfileAt(std::span<const float> samples, int64_t step, int day_steps) {
  double sum = 0;
  int count = 0;
  for (int day = 2; day <= kDaysBack; ++day) {
    const float sample = SampleAt(samples, step - static_cast<int64_t>(day) * day_steps);
    if (std::isnan(sample)) continue;
    sum += sample;
    ++count;
  }
  return count > 0 ? static_cast<float>(sum / count) : kNaN;
}

class Builder {
 public:
  Builder(const FeatureSpec& spec, std::span<const float> samples, int64_t end_ms, int64_t first,
          SequenceRows& rows)
      : spec_(spec), samples_(samples), end_ms_(end_ms), first_(first), rows_(rows) {
    const int64_t ahead = std::ssize(samples) - first + spec.horizon_steps + 1;
    yesterday_.resize(static_cast<size_t>(ahead));
    profile_.resize(static_cast<size_t>(ahead));
    for (int64_t i = 0; i < ahead; ++i) {
      yesterday_[i] = SampleAt(samples, first + i - spec.day_steps());
      profile_[i] = ProfileAt(samples, first + i, spec.day_steps());
    }
  }

  void Run(int64_t scored) {
    const int64_t end = std::ssize(samples_);
    Running running;
    for (int64_t t = std::max<int64_t>(0, first_ - kMemorySteps); t < end; ++t) {
      running.Add(samples_[t]);
      if (t < first_) continue;
      const Hour hour = SummarizeHour(samples_, t, spec_.hour_steps(), running.last);
      WriteFeatures(t, running, hour);
      if (t >= end - scored) WriteCandidates(t, t - (end - scored), running, hour);
    }
  }

 private:
  // A past sample of the step `ahead` of t, or `otherwise` where there was none.
  float Past(const std::vector<float>& past, int64_t t, int ahead, float otherwise) const {
    const float sample = past[t - first_ + ahead];
    return std::isnan(sample) ? otherwise : sample;
  }

  void WriteFeatures(int64_t t, const Running& running, const Hour& hour) {
    const double level = running.level.mean();
    const double scale = running.scale();
    const auto scaled = [&](double value) {
      return static_cast<float>(std::asinh((value - level) / scale));
    };
    const auto yesterday = [&](int ahead) {
      return Past(yesterday_, t, std::min(ahead, spec_.horizon_steps), hour.median);
    };
    const auto profile = [&](int ahead) {
      return Past(profile_, t, std::min(ahead, spec_.horizon_steps), yesterday(ahead));
    };
    const int64_t time_ms = end_ms_ - (std::ssize(samples_) - 1 - t) * spec_.step_ms;
    const double day = 2 * std::numbers::pi * static_cast<double>(time_ms % 86'400'000) / 86.4e6;
    const bool has_yesterday = !std::isnan(yesterday_[t - first_ + 1]);
    const double rms = std::sqrt(running.square.mean());

    const std::array<float, kFeatures> row = {
        scaled(running.last),
        static_cast<float>(running.age) / kAgeStepsMax,
        static_cast<float>(std::asinh((running.last - running.before_last) / scale)),
        scaled(hour.mean),
        scaled(hour.median),
        static_cast<float>(std::asinh(hour.spread / scale)),
        scaled(hour.max),
        scaled(hour.min),
        scaled(yesterday(1)),
        scaled(yesterday(3)),
        scaled(yesterday(6)),
        scaled(yesterday(12)),
        scaled(profile(1)),
        scaled(profile(6)),
        scaled(profile(12)),
        has_yesterday ? 1.0f : 0.0f,
        static_cast<float>(std::asinh((running.last - yesterday(0)) / scale)),
        static_cast<float>(std::log((std::fabs(level) + scale) / scale)) * 0.25f,
        static_cast<float>(std::log((rms + scale) / scale)),
        static_cast<float>(std::asinh(running.peak / scale)) * 0.5f,
        scaled(running.short_level.mean()),
        LogShare(running.short_step.mean(), scale) * 0.25f,
        LogShare(running.long_step.mean(), scale) * 0.25f,
        static_cast<float>(std::sin(day)),
        static_cast<float>(std::cos(day)),
    };
    std::ranges::copy(row, rows_.features + (t - first_) * rows_.features_stride);
  }

  void WriteCandidates(int64_t t, int64_t scored_index, const Running& running, const Hour& hour) {
    const double level = running.level.mean();
    const double scale = running.scale();
    rows_.levels[scored_index] = static_cast<float>(level);
    rows_.scales[scored_index] = static_cast<float>(scale);
    float* spread = rows_.spreads + scored_index * rows_.spreads_stride;
    *spread++ = 0;  // the deviation itself
    *spread++ = LogShare(hour.spread, scale);
    *spread++ = LogShare(running.short_step.mean(), scale);
    *spread++ = LogShare(running.long_step.mean(), scale);
    const auto scaled = [&](float value) { return static_cast<float>((value - level) / scale); };
    float* out = rows_.candidates + scored_index * rows_.candidates_stride;
    for (int ahead = 1; ahead <= spec_.horizon_steps; ++ahead) {
      const float yesterday = Past(yesterday_, t, ahead, hour.median);
      *out++ = scaled(running.last);
      *out++ = scaled(hour.mean);
      *out++ = scaled(hour.median);
      *out++ = 0;  // the level itself
      *out++ = scaled(yesterday);
      *out++ = scaled(Past(profile_, t, ahead, yesterday));
    }
  }

  const FeatureSpec& spec_;
  std::span<const float> samples_;
  int64_t end_ms_;
  int64_t first_;
  SequenceRows& rows_;
  std::vector<float> yesterday_;  // [step - first] sample a day before it
  std::vector<float> profile_;
};

}  // namespace

void BuildFeatures(const FeatureSpec& spec, std::span<const float> samples, int64_t end_ms,
                   int64_t first, int64_t scored, SequenceRows& rows) {
  FORESHADOW_CHECK(first >= 0 && first < std::ssize(samples));
  FORESHADOW_CHECK(scored >= 1 && scored <= std::ssize(samples) - first);
  rows.levels.resize(static_cast<size_t>(scored));
  rows.scales.resize(static_cast<size_t>(scored));
  Builder(spec, samples, end_ms, first, rows).Run(scored);
}

}  // namespace foreshadow::models
