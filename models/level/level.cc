#include "models/level/level.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "models/empirical.h"
#include "models/parallel.h"
#include "models/sliding.h"

namespace foreshadow::models {
namespace {

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kChunkSeries = 64;
constexpr int kStepsMax = 2'016;  // a week of 5 min: as far as the hot window looks back
constexpr int kErrorsMax = 288;   // a day of 5 min: enough for the outer levels
constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kSilenceMs = 24 * kHourMs;  // a series silent for longer is taken as gone
constexpr int64_t kNever = std::numeric_limits<int64_t>::min() / 2;
// Silence up to which the errors at the distances since the last sample are found in what is
// carried; they are farther back by it.
constexpr int kSpareSteps = 16;
constexpr int64_t kEpochSteps = int64_t{1} << 40;  // steps are counted from so long before 1970
constexpr int kLateSteps = 12;  // samples that come so much later than their step are seen

// What is the same for all series of a call.
struct Call {
  LevelKind kind;
  int steps;
  History newest;         // the part that the forecast rests on, however long that of others
  int64_t silence_steps;  // a level older than these is none
  int hour_steps;
  int64_t ring_steps;  // that are carried
  int64_t end_step;    // counted, like all steps, from kEpochSteps before 1970
  std::vector<int> distances;
  std::vector<float> spread;  // [steps] as a random walk's

  // Errors at a distance, at most; the first steps of those that are carried are their levels only.
  int64_t ErrorsAt(int distance) const { return kErrorsMax + steps - distance; }
  float sample(int64_t row, int64_t s) const {
    const float value = newest.values.at(row, s);
    return std::isfinite(value) ? value : kNone;
  }
};

// What is carried of a series that was not silent for a day.
struct Carried {
  std::vector<float>
      rings;  // [2][ring_steps] samples, then levels; a step's place is its remainder
  std::vector<Ranks> ranks;  // [distance] of the errors at it
};

struct LevelState {
  LevelKind kind = LevelKind::kLastValue;
  int steps = 0;  // horizon
  int64_t step_ms = 0;
  int64_t end_step = 0;
  std::vector<int64_t> last_step;  // [series] of its newest sample
  std::vector<Carried> series;     // empty where nothing is known
};

// Of one thread, reused from series to series.
struct Scratch {
  std::vector<float> samples;  // of one series, NaN = missing
  std::vector<float> levels;   // what the model says at each step
  std::vector<float> errors;
  std::vector<float> recent;
  std::vector<float> points;
  std::vector<AtDistance> measured;
};

float Median(std::span<float> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle;
  return 0.5f * *middle + 0.5f * *std::max_element(values.begin(), middle);
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

float Cut(float error) {
  constexpr float kMost = std::numeric_limits<float>::max();
  return std::clamp(error, -kMost, kMost);
}

// The level of the newest of the steps whose samples sample_ago(steps ago) gives: that of its hour,
// or, where the hour is empty, the last sample.
template <typename SampleAgo>
float LevelOf(const Call& call, int64_t age, const SampleAgo& sample_ago, Scratch& scratch) {
  if (age > call.silence_steps) return kNone;
  if (call.kind == LevelKind::kLastValue || age >= call.hour_steps) return sample_ago(age);
  scratch.recent.resize(static_cast<size_t>(call.hour_steps));
  size_t count = 0;
  for (int64_t ago = call.hour_steps - 1; ago >= 0; --ago) {
    const float sample = sample_ago(ago);
    scratch.recent[count] = sample;
    count += std::isnan(sample) ? 0 : 1;
  }
  const std::span<float> recent = std::span(scratch.recent).first(count);
  return call.kind == LevelKind::kLastHourMean ? Mean(recent) : Median(recent);
}

// Levels of the steps from `first` on, each from the samples up to it.
void FillLevels(const Call& call, int64_t first, Scratch& scratch) {
  const auto length = std::ssize(scratch.samples);
  scratch.levels.assign(scratch.samples.size(), kNone);
  int64_t last = kNever;
  for (int64_t t = 0; t < length; ++t) {
    if (!std::isnan(scratch.samples[t])) last = t;
    if (t < first || last == kNever) continue;
    const auto sample_ago = [&](int64_t ago) { return ago > t ? kNone : scratch.samples[t - ago]; };
    scratch.levels[t] = LevelOf(call, t - last, sample_ago, scratch);
  }
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
    scratch.errors.clear();
    for (int64_t t = first + distance + age; t < length; ++t) {
      const float error = scratch.samples[t] - scratch.levels[t - distance - age];
      if (!std::isnan(error)) scratch.errors.push_back(error);
    }
    SortErrors(scratch.errors);
    scratch.measured.push_back(
        {distance, static_cast<int>(scratch.errors.size()), OffsetsOf(scratch.errors, level)});
  }
  Write(call, s, level, scratch, out);
}

void WriteCarried(const Call& call, int64_t s, const Carried& carried, Scratch& scratch,
                  QuantileBlock& out) {
  const float level = carried.rings[call.ring_steps + call.end_step % call.ring_steps];
  scratch.measured.clear();
  for (size_t d = 0; d < call.distances.size(); ++d) {
    const Ranks& ranks = carried.ranks[d];
    scratch.measured.push_back({call.distances[d], ranks.count, OffsetsOf(ranks, level)});
  }
  Write(call, s, level, scratch, out);
}

// Leaves in `carried` what the history says, which lies in the scratch.
void Keep(const Call& call, Scratch& scratch, Carried& carried) {
  const auto length = std::ssize(scratch.samples);
  carried.rings.assign(static_cast<size_t>(2 * call.ring_steps), kNone);
  for (int64_t t = std::max<int64_t>(0, length - call.ring_steps); t < length; ++t) {
    const int64_t place = (call.end_step - (length - 1 - t)) % call.ring_steps;
    carried.rings[place] = scratch.samples[t];
    carried.rings[call.ring_steps + place] = scratch.levels[t];
  }
  carried.ranks.clear();
  for (const int distance : call.distances) {
    scratch.errors.clear();
    for (int64_t t = std::max<int64_t>(distance, length - call.ErrorsAt(distance)); t < length;
         ++t) {
      const float error = scratch.samples[t] - scratch.levels[t - distance];
      if (!std::isnan(error)) scratch.errors.push_back(error);
    }
    SortErrors(scratch.errors);
    carried.ranks.push_back(RanksOf(scratch.errors));
  }
}

// From the history alone; what is to be carried goes to `keep`, if there is one.
void ForecastAnew(const Call& call, int64_t s, int64_t* last_step, Carried* keep, Scratch& scratch,
                  QuantileBlock& out) {
  const int64_t length = call.newest.values.steps;
  if (keep != nullptr) {
    *keep = {};
    *last_step = kNever;
  }
  scratch.samples.resize(static_cast<size_t>(length));
  CopyColumn(call.newest, s, scratch.samples);
  int64_t last = length - 1;
  while (last >= 0 && std::isnan(scratch.samples[last])) --last;
  if (last < 0) return WriteMissing(ForecastStatus::kNoHistory, s, out);
  const int64_t age = length - 1 - last;
  if (keep != nullptr) *last_step = call.end_step - age;
  if (age > call.silence_steps) return WriteMissing(ForecastStatus::kCannot, s, out);
  const int64_t back = kErrorsMax + call.steps + std::max<int64_t>(age, kSpareSteps + 1);
  FillLevels(call, length - back, scratch);
  if (keep != nullptr) Keep(call, scratch, *keep);
  if (keep != nullptr && age == 0) return WriteCarried(call, s, *keep, scratch, out);
  WriteSorted(call, s, age, scratch, out);
}

// Takes one step in; `last` of several puts the order statistics in place.
void Push(const Call& call, int64_t s, int64_t row, int64_t& last_step, Carried& carried,
          Scratch& scratch) {
  const std::span<float> samples = std::span(carried.rings).first(call.ring_steps);
  const std::span<float> levels = std::span(carried.rings).last(call.ring_steps);
  const int64_t step = call.end_step - (call.newest.values.steps - 1 - row);
  const int64_t place = step % call.ring_steps;
  const auto ago = [&](int64_t steps) {
    return place >= steps ? place - steps : place - steps + call.ring_steps;
  };
  const float sample = call.sample(row, s);
  samples[place] = sample;
  if (!std::isnan(sample)) last_step = step;
  const auto sample_ago = [&](int64_t steps) { return samples[ago(steps)]; };
  const int64_t age = step - last_step;
  if (age > 0 && age >= call.hour_steps && age <= call.silence_steps) {
    levels[place] = levels[ago(1)];  // the last sample, which is not carried for ever
  } else {
    levels[place] = LevelOf(call, age, sample_ago, scratch);
  }
  for (size_t d = 0; d < call.distances.size(); ++d) {
    const int distance = call.distances[d];
    const int64_t count = call.ErrorsAt(distance);
    const float leaves = Cut(samples[ago(count)] - levels[ago(count + distance)]);
    const float comes = Cut(sample - levels[ago(distance)]);
    if (Slide(leaves, comes, carried.ranks[d]) || row + 1 < call.newest.values.steps) continue;
    ErrorsOfRing(samples, levels, step, distance, count, scratch.errors);
    Settle(scratch.errors, carried.ranks[d]);
  }
}

// Whether the steps before the new ones are other ones than they were.
bool CameLate(const Call& call, int64_t s, int64_t new_steps, const Carried& carried) {
  const int64_t length = call.newest.values.steps;
  for (int64_t back = new_steps; back < std::min(length, new_steps + kLateSteps); ++back) {
    const float now = call.sample(length - 1 - back, s);
    const float then = carried.rings[(call.end_step - back) % call.ring_steps];
    if (now != then && !(std::isnan(now) && std::isnan(then))) return true;
  }
  return false;
}

bool AnySample(const Call& call, int64_t s, int64_t steps) {
  const int64_t length = call.newest.values.steps;
  for (int64_t row = std::max<int64_t>(0, length - steps); row < length; ++row) {
    if (!std::isnan(call.sample(row, s))) return true;
  }
  return false;
}

void Follow(const Call& call, int64_t s, int64_t new_steps, LevelState& state, Scratch& scratch,
            QuantileBlock& out) {
  Carried& carried = state.series[s];
  int64_t& last_step = state.last_step[s];
  const int64_t length = call.newest.values.steps;
  const bool is_known = !carried.rings.empty();
  if (is_known ? CameLate(call, s, new_steps, carried)
               : AnySample(call, s, new_steps + kLateSteps)) {
    return ForecastAnew(call, s, &last_step, &carried, scratch, out);
  }
  for (int64_t row = length - new_steps; is_known && row < length; ++row) {
    Push(call, s, row, last_step, carried, scratch);
  }
  const int64_t age = call.end_step - last_step;
  if (age > call.silence_steps) {
    carried = {};
    const bool gone = age < length;
    return WriteMissing(gone ? ForecastStatus::kCannot : ForecastStatus::kNoHistory, s, out);
  }
  if (age == 0) return WriteCarried(call, s, carried, scratch, out);
  if (age > kSpareSteps) return ForecastAnew(call, s, nullptr, nullptr, scratch, out);
  const auto oldest = carried.rings.begin() + (call.end_step + 1) % call.ring_steps;
  const auto unroll = [&](auto first, std::vector<float>& to) {
    const auto split = first + (oldest - carried.rings.begin());
    to.assign(split, first + call.ring_steps);
    to.insert(to.end(), first, split);
  };
  unroll(carried.rings.begin(), scratch.samples);
  unroll(carried.rings.begin() + call.ring_steps, scratch.levels);
  WriteSorted(call, s, age, scratch, out);
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
    return Run(history, steps, nullptr, out);
  }

  bool carries() const override { return true; }

  absl::Status Continue(const History& history, int steps, std::any& carried,
                        QuantileBlock& out) const override {
    if (std::any_cast<LevelState>(&carried) == nullptr) carried = LevelState{};
    return Run(history, steps, std::any_cast<LevelState>(&carried), out);
  }

 private:
  absl::Status Run(const History& history, int steps, LevelState* state, QuantileBlock& out) const {
    if (absl::Status status = CheckHistory(history, steps, kStepsMax); !status.ok()) return status;
    const Call call = CallOf(history, steps);
    const int64_t series = history.values.series;
    out.Resize(series, steps);
    const int64_t new_steps = state == nullptr ? 0 : NewSteps(call, *state);
    int64_t known = 0;
    if (state != nullptr) {
      if (new_steps == 0) *state = LevelState{kind_, steps, history.step_ms, 0, {}, {}};
      known = std::ssize(state->series);
      state->end_step = call.end_step;
      state->series.resize(static_cast<size_t>(series));
      state->last_step.resize(static_cast<size_t>(series), kNever);
    }
    const int threads = ThreadCount(0);
    std::vector<Scratch> scratches(static_cast<size_t>(threads));
    ForChunks(series, kChunkSeries, threads, [&](int64_t first, int64_t last, int worker) {
      for (int64_t s = first; s < last; ++s) {
        Scratch& scratch = scratches[worker];
        if (s < known) {
          Follow(call, s, new_steps, *state, scratch, out);
        } else if (state != nullptr) {
          ForecastAnew(call, s, &state->last_step[s], &state->series[s], scratch, out);
        } else {
          ForecastAnew(call, s, nullptr, nullptr, scratch, out);
        }
      }
    });
    return absl::OkStatus();
  }

  Call CallOf(const History& history, int steps) const {
    Call call{.kind = kind_,
              .steps = steps,
              .newest = history,
              .silence_steps = kSilenceMs / history.step_ms,
              .hour_steps = static_cast<int>(std::max<int64_t>(1, kHourMs / history.step_ms)),
              .ring_steps = 0,
              .end_step = kEpochSteps + history.end_ms / history.step_ms,
              .distances = MeasuredDistances(steps),
              .spread = {}};
    call.ring_steps = std::max<int64_t>(kErrorsMax + steps + 1 + kSpareSteps, call.hour_steps);
    auto& values = call.newest.values;
    const int64_t wanted = kErrorsMax + steps + 2 * call.silence_steps + 1;
    values.data += std::max<int64_t>(0, values.steps - wanted) * values.stride;
    values.steps = std::min(values.steps, wanted);
    for (int step = 1; step <= steps; ++step) {
      call.spread.push_back(std::sqrt(static_cast<float>(step)));
    }
    return call;
  }

  // Steps of the history that follow the state; 0 = all is made anew.
  int64_t NewSteps(const Call& call, const LevelState& state) const {
    if (state.kind != kind_ || state.steps != call.steps || state.step_ms != call.newest.step_ms ||
        std::ssize(state.series) > call.newest.values.series) {
      return 0;
    }
    const int64_t steps = call.end_step - state.end_step;
    return steps > 0 && steps <= kLateSteps && steps < call.newest.values.steps ? steps : 0;
  }

  LevelKind kind_;
};

}  // namespace

std::shared_ptr<const Forecaster> MakeLevel(LevelKind kind) {
  return std::make_shared<Level>(kind);
}

}  // namespace foreshadow::models
