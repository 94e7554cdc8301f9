#include "models/level/levels.h"

#include <algorithm>
#include <array>

#include "models/empirical.h"

namespace foreshadow::models::level {
namespace {

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kSilenceMs = 24 * kHourMs;  // a series silent for longer is taken as gone

float MedianOfSorted(std::span<const float> values) {
  const size_t middle = values.size() / 2;
  if (values.size() % 2 == 1) return values[middle] + 0.0f;
  return Middle(values[middle - 1], values[middle]);
}

int64_t CountBelow(std::span<const float> sorted, float value) {
  int32_t below = 0;
  for (const float other : sorted) below += other < value ? 1 : 0;
  return below;
}

// NaN = none leaves, or comes.
void SlideSorted(float leaves, float comes, std::vector<float>& sorted) {
  if (std::isnan(leaves) && std::isnan(comes)) return;
  const auto at = [&](float value) { return sorted.begin() + CountBelow(sorted, value); };
  if (std::isnan(leaves)) {
    sorted.insert(at(comes), comes);
  } else if (std::isnan(comes)) {
    sorted.erase(at(leaves));
  } else if (comes > leaves) {
    const auto begin = at(leaves);
    const auto end = at(comes);
    std::copy(begin + 1, end, begin);
    *(end - 1) = comes;
  } else {
    const auto end = at(leaves);
    const auto begin = at(comes);
    std::copy_backward(begin, end, end + 1);
    *begin = comes;
  }
}

// Levels of the steps from `first` on, each from the samples up to it.
void FillLevels(const Call& call, int64_t first, Scratch& scratch) {
  const std::vector<float>& samples = scratch.samples;
  const auto length = std::ssize(samples);
  const int64_t hour = call.hour_steps;
  const int64_t oldest = std::max<int64_t>(0, first - hour + 1);  // that a level rests on
  scratch.levels.assign(samples.size(), kNone);
  scratch.sorted.clear();
  int64_t last = kNever;
  int64_t gap = kNever;  // the newest step without a sample
  for (int64_t t = 0; t < length; ++t) {
    const bool is_there = !std::isnan(samples[t]);
    (is_there ? last : gap) = t;
    if (call.kind == LevelKind::kLastHourMedian && t >= oldest) {
      SlideSorted(t - hour >= oldest ? samples[t - hour] : kNone, samples[t], scratch.sorted);
    }
    const int64_t age = t - last;
    if (t < first || last == kNever || age > call.silence_steps) continue;
    const int64_t begin = std::max<int64_t>(0, t - hour + 1);
    if (call.kind == LevelKind::kLastValue || age >= hour) {
      scratch.levels[t] = samples[last];
    } else if (call.kind == LevelKind::kLastHourMedian) {
      scratch.levels[t] = MedianOfSorted(scratch.sorted);
    } else if (gap < begin) {
      scratch.levels[t] = Mean(std::span(samples).subspan(begin, t - begin + 1));
    } else {
      scratch.recent.resize(static_cast<size_t>(hour));
      const size_t count =
          KeepThere(std::span(samples).subspan(begin, t - begin + 1), scratch.recent.data());
      scratch.levels[t] = Mean(std::span(scratch.recent).first(count));
    }
  }
}

}  // namespace

Call CallOf(LevelKind kind, const History& history, int steps) {
  Call call{.kind = kind,
            .steps = steps,
            .newest = history,
            .silence_steps = kSilenceMs / history.step_ms,
            .hour_steps = static_cast<int>(std::max<int64_t>(1, kHourMs / history.step_ms)),
            .ring_steps = 0,
            .end_step = kEpochSteps + history.end_ms / history.step_ms,
            .distances = MeasuredDistances(steps),
            .spread = {}};
  call.ring_steps =
      std::max<int64_t>(kErrorsMax + steps + 1 + kSpareSteps, call.hour_steps + kLateSteps);
  auto& values = call.newest.values;
  const int64_t wanted = kErrorsMax + steps + 2 * call.silence_steps + 1;
  values.data += std::max<int64_t>(0, values.steps - wanted) * values.stride;
  values.steps = std::min(values.steps, wanted);
  for (int step = 1; step <= steps; ++step) {
    call.spread.push_back(std::sqrt(static_cast<float>(step)));
  }
  return call;
}

// In four sums, which need not wait for each other.
float Mean(std::span<const float> values) {
  std::array<double, 4> sums{};
  size_t i = 0;
  for (; i + sums.size() <= values.size(); i += sums.size()) {
    for (size_t lane = 0; lane < sums.size(); ++lane) sums[lane] += values[i + lane];
  }
  for (; i < values.size(); ++i) sums[0] += values[i];
  const double sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  return static_cast<float>(sum / static_cast<double>(values.size()));
}

size_t KeepThere(std::span<const float> samples, float* there) {
  int32_t missing = 0;
  for (const float sample : samples) missing += sample == sample ? 0 : 1;
  if (missing == 0) {
    std::ranges::copy(samples, there);
    return samples.size();
  }
  size_t count = 0;
  for (const float sample : samples) {
    there[count] = sample;
    count += std::isnan(sample) ? 0 : 1;
  }
  return count;
}

int64_t TakeSamples(const Call& call, int64_t s, Scratch& scratch) {
  const int64_t length = call.newest.values.steps;
  scratch.samples.resize(static_cast<size_t>(length));
  CopyColumn(call.newest, s, scratch.samples);
  int64_t last = length - 1;
  while (last >= 0 && std::isnan(scratch.samples[last])) --last;
  return last < 0 ? -kNever : length - 1 - last;
}

void MakeLevels(const Call& call, int64_t age, Scratch& scratch) {
  const int64_t back = kErrorsMax + call.steps + std::max<int64_t>(age, kSpareSteps + 1);
  FillLevels(call, std::ssize(scratch.samples) - back, scratch);
}

void GatherErrors(int64_t first, int64_t lag, Scratch& scratch) {
  const auto length = std::ssize(scratch.samples);
  scratch.errors.resize(static_cast<size_t>(std::max<int64_t>(0, length - first)));
  size_t count = 0;
  for (int64_t t = first; t < length; ++t) {
    const float error = scratch.samples[t] - scratch.levels[t - lag];
    scratch.errors[count] = error;
    count += std::isnan(error) ? 0 : 1;
  }
  scratch.errors.resize(count);
}

void Write(const Call& call, int64_t s, float level, Scratch& scratch, QuantileBlock& out) {
  scratch.points.assign(static_cast<size_t>(call.steps), level);
  WriteRows(scratch.points, call.spread, scratch.measured, out.at(s, 0).data());
}

// From the samples and levels of the steps up to now, of which the last `age` had no sample: an
// answer for so many steps ahead is one for as many more from the last sample.
void WriteSorted(const Call& call, int64_t s, int64_t age, Scratch& scratch, QuantileBlock& out) {
  const auto length = std::ssize(scratch.samples);
  const int64_t first = std::max<int64_t>(0, length - kErrorsMax - call.steps - age);
  const float level = scratch.levels.back();
  scratch.measured.clear();
  for (const int distance : call.distances) {
    GatherErrors(first + distance + age, distance + age, scratch);
    SortErrors(scratch.errors);
    scratch.measured.push_back(
        {distance, static_cast<int>(scratch.errors.size()), OffsetsOf(scratch.errors, level)});
  }
  Write(call, s, level, scratch, out);
}

void ForecastAnew(const Call& call, int64_t s, Scratch& scratch, QuantileBlock& out) {
  const int64_t age = TakeSamples(call, s, scratch);
  if (age == -kNever) return WriteMissing(ForecastStatus::kNoHistory, s, out);
  if (age > call.silence_steps) return WriteMissing(ForecastStatus::kCannot, s, out);
  MakeLevels(call, age, scratch);
  WriteSorted(call, s, age, scratch, out);
}

}  // namespace foreshadow::models::level
