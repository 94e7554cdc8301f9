#include "models/level/level.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <span>
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
constexpr int kKinds = 3;
constexpr int32_t kNoSlot = -1;
constexpr int64_t kWordBits = 64;

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
  int64_t step_of(int64_t row) const { return end_step - (newest.values.steps - 1 - row); }
  int64_t words() const { return (ring_steps + kWordBits - 1) / kWordBits; }
};

// The samples that the levels rest on, as they were seen, once for all three models: in rings of
// ring_steps, a step's place being its remainder. A series that was not silent for a day has a slot
// in each of the arrays.
struct SeenSamples {
  int64_t end_step = 0;
  std::vector<int64_t> last_step;  // [series] of its newest sample
  std::vector<int32_t> slot;       // [series]; kNoSlot = nothing is known
  std::vector<int64_t> begun;      // [slot] when it was last filled from the history
  std::vector<float> filled;       // [slot][ring_steps] sample, or the last one where there is none
  std::vector<uint64_t> sampled;   // [slot] a bit for each place that has a sample
};

// What one of the models makes of them.
struct Followed {
  int64_t end_step = 0;
  std::vector<int64_t> begun;      // [slot] as of the samples that all below was made from
  std::vector<int64_t> last_step;  // [slot] of the newest sample
  std::vector<float> levels;  // [slot][ring_steps]; none of the last value, which `filled` holds
  std::vector<Ranks> ranks;   // [slot][distance] of the errors at it
};

// Shared by the models of all kinds.
struct LevelState {
  int steps = 0;  // horizon
  int64_t step_ms = 0;
  int64_t begun_step = 0;  // when all was made anew
  SeenSamples seen;
  std::array<Followed, kKinds> followed;
};

// Of one thread, reused from series to series.
struct Scratch {
  std::vector<float> samples;  // of one series, NaN = missing
  std::vector<float> levels;   // what the model says at each step
  std::vector<float> errors;
  std::vector<float> recent;
  std::vector<float> sorted;  // the last hour's
  std::vector<float> ring;    // samples by place
  std::vector<float> points;
  std::vector<AtDistance> measured;
};

// Zero is the positive one, whichever of the two came first.
float Middle(float low, float high) { return 0.5f * low + 0.5f * high + 0.0f; }

float Median(std::span<float> values) {
  const auto middle = values.begin() + std::ssize(values) / 2;
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2 == 1) return *middle + 0.0f;
  return Middle(*std::max_element(values.begin(), middle), *middle);
}

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

// Levels of the steps from `first` on, each from the samples up to it, as LevelOf has them.
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
      const auto sample_ago = [&](int64_t ago) { return ago > t ? kNone : samples[t - ago]; };
      scratch.levels[t] = LevelOf(call, age, sample_ago, scratch);
    }
  }
}

void Write(const Call& call, int64_t s, float level, Scratch& scratch, QuantileBlock& out) {
  scratch.points.assign(static_cast<size_t>(call.steps), level);
  WriteRows(scratch.points, call.spread, scratch.measured, out.at(s, 0).data());
}

// Errors of the levels `lag` steps before, of the steps from `first` on that have one.
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

// The parts of a state that are a series'.
struct Place {
  int32_t slot;
  std::span<float> filled;
  std::span<uint64_t> sampled;
  std::span<float> levels;
  std::span<Ranks> ranks;

  float sample(int64_t at) const {
    return (sampled[at / kWordBits] >> (at % kWordBits) & 1) != 0 ? filled[at] : kNone;
  }
};

Place PlaceOf(const Call& call, int32_t slot, LevelState& state) {
  const auto ring = static_cast<size_t>(call.ring_steps);
  const auto words = static_cast<size_t>(call.words());
  const size_t distances = call.distances.size();
  const auto index = static_cast<size_t>(slot);
  Followed& followed = state.followed[static_cast<size_t>(call.kind)];
  const auto filled = std::span(state.seen.filled).subspan(index * ring, ring);
  return {slot, filled, std::span(state.seen.sampled).subspan(index * words, words),
          call.kind == LevelKind::kLastValue
              ? filled
              : std::span(followed.levels).subspan(index * ring, ring),
          std::span(followed.ranks).subspan(index * distances, distances)};
}

void PutSample(const Call& call, int64_t step, float sample, float last, const Place& place) {
  const int64_t at = step % call.ring_steps;
  const bool is_there = !std::isnan(sample);
  const uint64_t bit = uint64_t{1} << (at % kWordBits);
  uint64_t& word = place.sampled[at / kWordBits];
  word = is_there ? word | bit : word & ~bit;
  place.filled[at] = is_there ? sample : last;
}

// Samples by place, which the vector operations read: of a series without a gap as they are.
std::span<const float> Spread(const Place& place, Scratch& scratch) {
  const size_t ring = place.filled.size();
  size_t there = 0;
  for (const uint64_t word : place.sampled) there += std::popcount(word);
  if (there == ring) return place.filled;
  scratch.ring.resize(ring);
  for (size_t at = 0; at < ring; ++at) scratch.ring[at] = place.sample(at);
  return scratch.ring;
}

void WriteCarried(const Call& call, int64_t s, const Place& place, Scratch& scratch,
                  QuantileBlock& out) {
  const float level = place.levels[call.end_step % call.ring_steps];
  scratch.measured.clear();
  for (size_t d = 0; d < call.distances.size(); ++d) {
    const Ranks& ranks = place.ranks[d];
    scratch.measured.push_back({call.distances[d], ranks.count, OffsetsOf(ranks, level)});
  }
  Write(call, s, level, scratch, out);
}

// The newest part of the history; returns how old its newest sample is, kNever's age if it has
// none.
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

// From the history alone.
void ForecastAnew(const Call& call, int64_t s, Scratch& scratch, QuantileBlock& out) {
  const int64_t age = TakeSamples(call, s, scratch);
  if (age == -kNever) return WriteMissing(ForecastStatus::kNoHistory, s, out);
  if (age > call.silence_steps) return WriteMissing(ForecastStatus::kCannot, s, out);
  MakeLevels(call, age, scratch);
  WriteSorted(call, s, age, scratch, out);
}

// The samples that are carried, from the history.
void BeginSamples(const Call& call, int64_t s, const Place& place, SeenSamples& seen) {
  std::ranges::fill(place.filled, kNone);
  std::ranges::fill(place.sampled, uint64_t{0});
  int64_t& last_step = seen.last_step[s];
  last_step = kNever;
  const int64_t length = call.newest.values.steps;
  const int64_t first = std::max<int64_t>(0, length - call.ring_steps);
  float last = kNone;
  for (int64_t row = first; row-- > 0 && last_step == kNever;) {
    last = call.sample(row, s);
    if (!std::isnan(last)) last_step = call.step_of(row);
  }
  for (int64_t row = first; row < length; ++row) {
    const float sample = call.sample(row, s);
    const int64_t step = call.step_of(row);
    if (!std::isnan(sample)) {
      last = sample;
      last_step = step;
    } else if (step - last_step > call.silence_steps) {
      last = kNone;
    }
    PutSample(call, step, sample, last, place);
  }
  seen.begun[place.slot] = call.end_step;
}

void PushSamples(const Call& call, int64_t s, int64_t new_steps, const Place& place,
                 SeenSamples& seen) {
  int64_t& last_step = seen.last_step[s];
  const int64_t length = call.newest.values.steps;
  for (int64_t row = length - new_steps; row < length; ++row) {
    const float sample = call.sample(row, s);
    const int64_t step = call.step_of(row);
    if (!std::isnan(sample)) last_step = step;
    const bool is_gone = step - last_step > call.silence_steps;
    PutSample(call, step, sample, is_gone ? kNone : place.filled[(step - 1) % call.ring_steps],
              place);
  }
}

// Levels and order statistics from the history, whose samples are carried; and the answer.
void Begin(const Call& call, int64_t s, const Place& place, LevelState& state, Scratch& scratch,
           QuantileBlock& out) {
  const int64_t age = TakeSamples(call, s, scratch);
  MakeLevels(call, age, scratch);
  const auto length = std::ssize(scratch.samples);
  if (call.kind != LevelKind::kLastValue) {
    std::ranges::fill(place.levels, kNone);
    for (int64_t t = std::max<int64_t>(0, length - call.ring_steps); t < length; ++t) {
      place.levels[call.step_of(t) % call.ring_steps] = scratch.levels[t];
    }
  }
  for (size_t d = 0; d < call.distances.size(); ++d) {
    const int distance = call.distances[d];
    GatherErrors(std::max<int64_t>(distance, length - call.ErrorsAt(distance)), distance, scratch);
    SortErrors(scratch.errors);
    place.ranks[d] = RanksOf(scratch.errors);
  }
  Followed& followed = state.followed[static_cast<size_t>(call.kind)];
  followed.begun[place.slot] = state.seen.begun[place.slot];
  followed.last_step[place.slot] = state.seen.last_step[s];
  if (age == 0) return WriteCarried(call, s, place, scratch, out);
  WriteSorted(call, s, age, scratch, out);
}

// Takes one step in; `last` of several puts the order statistics in place.
void Push(const Call& call, int64_t step, int64_t& last_step, const Place& place,
          Scratch& scratch) {
  const int64_t at = step % call.ring_steps;
  const auto ago = [&](int64_t steps) {
    return at >= steps ? at - steps : at - steps + call.ring_steps;
  };
  const float sample = place.sample(at);
  if (!std::isnan(sample)) last_step = step;
  const auto sample_ago = [&](int64_t steps) { return place.sample(ago(steps)); };
  const int64_t age = step - last_step;
  if (call.kind != LevelKind::kLastValue) {
    if (age > 0 && age >= call.hour_steps && age <= call.silence_steps) {
      place.levels[at] = place.levels[ago(1)];  // the last sample, which is not carried for ever
    } else {
      place.levels[at] = LevelOf(call, age, sample_ago, scratch);
    }
  }
  std::span<const float> samples;
  for (size_t d = 0; d < call.distances.size(); ++d) {
    const int distance = call.distances[d];
    const int64_t count = call.ErrorsAt(distance);
    const float leaves = Cut(sample_ago(count) - place.levels[ago(count + distance)]);
    const float comes = Cut(sample - place.levels[ago(distance)]);
    if (Slide(leaves, comes, place.ranks[d]) || step < call.end_step) continue;
    if (samples.empty()) samples = Spread(place, scratch);
    ErrorsOfRing(samples, place.levels, step, distance, count, scratch.errors);
    Settle(scratch.errors, place.ranks[d]);
  }
}

// Whether the steps before the new ones are other ones than they were.
bool CameLate(const Call& call, int64_t s, int64_t new_steps, const Place& place) {
  const int64_t length = call.newest.values.steps;
  for (int64_t back = new_steps; back < std::min(length, new_steps + kLateSteps); ++back) {
    const float now = call.sample(length - 1 - back, s);
    const float then = place.sample((call.end_step - back) % call.ring_steps);
    if (now != then && !(std::isnan(now) && std::isnan(then))) return true;
  }
  return false;
}

// The answer from what is carried. new_steps: those of this model.
void Follow(const Call& call, int64_t s, int64_t new_steps, const Place& place, LevelState& state,
            Scratch& scratch, QuantileBlock& out) {
  int64_t& last_step = state.followed[static_cast<size_t>(call.kind)].last_step[place.slot];
  for (int64_t step = call.end_step - new_steps + 1; step <= call.end_step; ++step) {
    Push(call, step, last_step, place, scratch);
  }
  const int64_t age = call.end_step - last_step;
  if (age == 0) return WriteCarried(call, s, place, scratch, out);
  if (age > kSpareSteps) return ForecastAnew(call, s, scratch, out);
  const auto unroll = [&](std::span<const float> ring, std::vector<float>& to) {
    const auto oldest = ring.begin() + (call.end_step + 1) % call.ring_steps;
    to.assign(oldest, ring.end());
    to.insert(to.end(), ring.begin(), oldest);
  };
  unroll(Spread(place, scratch), scratch.samples);
  unroll(place.levels, scratch.levels);
  WriteSorted(call, s, age, scratch, out);
}

// Step of the newest sample.
int64_t NewestStep(const Call& call, int64_t s) {
  int64_t row = call.newest.values.steps - 1;
  while (row >= 0 && std::isnan(call.sample(row, s))) --row;
  return row < 0 ? kNever : call.step_of(row);
}

// [series] whether it has a sample in the newest `steps`.
std::vector<uint8_t> WithSamples(const Call& call, int64_t steps) {
  const auto& values = call.newest.values;
  std::vector<uint8_t> found(static_cast<size_t>(values.series));
  for (int64_t row = std::max<int64_t>(0, values.steps - steps); row < values.steps; ++row) {
    const float* samples = &values.at(row, 0);
    for (int64_t s = 0; s < values.series; ++s) found[s] |= std::isfinite(samples[s]) ? 1 : 0;
  }
  return found;
}

// To the number, without room for more: few come later.
template <typename T>
void Grow(int64_t size, std::vector<T>& values) {
  values.reserve(static_cast<size_t>(size));
  values.resize(static_cast<size_t>(size));
}

// Gives a slot to each series that has samples of late and none yet; those from `known` on are new.
// Slots of series that fell silent are used again.
void GiveSlots(const Call& call, int64_t known, int64_t new_steps, LevelState& state) {
  SeenSamples& seen = state.seen;
  const int64_t series = call.newest.values.series;
  std::vector<uint8_t> taken(seen.begun.size());
  for (const int32_t slot : seen.slot) {
    if (slot != kNoSlot) taken[slot] = 1;
  }
  std::vector<int32_t> free;
  for (size_t i = 0; i < taken.size(); ++i) {
    if (taken[i] == 0) free.push_back(static_cast<int32_t>(i));
  }
  seen.slot.resize(static_cast<size_t>(series), kNoSlot);
  seen.last_step.resize(static_cast<size_t>(series), kNever);
  const std::vector<uint8_t> late = WithSamples(call, new_steps + kLateSteps);
  const std::vector<uint8_t> ever =
      known < series ? WithSamples(call, call.silence_steps + 1) : late;
  auto slots = static_cast<int32_t>(taken.size());
  for (int64_t s = 0; s < series; ++s) {
    if (seen.slot[s] != kNoSlot || (s < known ? late : ever)[s] == 0) continue;
    if (free.empty()) {
      seen.slot[s] = slots++;
    } else {
      seen.slot[s] = free.back();
      free.pop_back();
      seen.begun[seen.slot[s]] = 0;
    }
  }
  for (int64_t s = known; s < series; ++s) {
    if (seen.slot[s] == kNoSlot) seen.last_step[s] = NewestStep(call, s);
  }
  Grow(slots, seen.begun);
  Grow(slots * call.ring_steps, seen.filled);
  Grow(slots * call.words(), seen.sampled);
}

void GrowTo(const Call& call, int64_t slots, Followed& followed) {
  Grow(slots, followed.begun);
  Grow(slots, followed.last_step);
  Grow(slots * std::ssize(call.distances), followed.ranks);
  if (call.kind != LevelKind::kLastValue) Grow(slots * call.ring_steps, followed.levels);
}

// One series of a call that carries: first the samples, unless another of the models brought them
// up to date at this step, then this model's own.
struct NewSteps {
  int64_t samples;  // steps that the samples have not seen
  int64_t own;      // that this model has not
};
void GoOn(const Call& call, int64_t s, const NewSteps& new_steps, LevelState& state,
          Scratch& scratch, QuantileBlock& out) {
  SeenSamples& seen = state.seen;
  int32_t& slot = seen.slot[s];
  if (slot != kNoSlot) {
    const Place place = PlaceOf(call, slot, state);
    const Followed& followed = state.followed[static_cast<size_t>(call.kind)];
    const bool is_new = seen.begun[slot] == 0;
    const bool follows = seen.begun[slot] == followed.begun[slot];
    if (new_steps.samples > 0) {
      if (is_new || !follows || CameLate(call, s, new_steps.samples, place)) {
        BeginSamples(call, s, place, seen);
      } else {
        PushSamples(call, s, new_steps.samples, place, seen);
      }
    } else if (!follows && seen.begun[slot] != call.end_step) {
      BeginSamples(call, s, place, seen);
    }
    if (call.end_step - seen.last_step[s] <= call.silence_steps) {
      if (seen.begun[slot] == followed.begun[slot]) {
        return Follow(call, s, new_steps.own, place, state, scratch, out);
      }
      return Begin(call, s, place, state, scratch, out);
    }
    slot = kNoSlot;
  }
  const bool is_gone = call.end_step - seen.last_step[s] < call.newest.values.steps;
  WriteMissing(is_gone ? ForecastStatus::kCannot : ForecastStatus::kNoHistory, s, out);
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
    if (absl::Status status = CheckHistory(history, steps, kStepsMax); !status.ok()) return status;
    const Call call = CallOf(history, steps);
    out.Resize(history.values.series, steps);
    ForEach(call, [&](int64_t s, Scratch& scratch) { ForecastAnew(call, s, scratch, out); });
    return absl::OkStatus();
  }

  bool carries() const override { return true; }
  std::string_view carries_with() const override { return "levels"; }

  absl::Status Continue(const History& history, int steps, std::any& carried,
                        QuantileBlock& out) const override {
    if (absl::Status status = CheckHistory(history, steps, kStepsMax); !status.ok()) return status;
    const Call call = CallOf(history, steps);
    out.Resize(history.values.series, steps);
    if (std::any_cast<LevelState>(&carried) == nullptr) carried = LevelState{};
    LevelState& state = *std::any_cast<LevelState>(&carried);
    const NewSteps new_steps = Prepare(call, state);
    ForEach(call,
            [&](int64_t s, Scratch& scratch) { GoOn(call, s, new_steps, state, scratch, out); });
    return absl::OkStatus();
  }

 private:
  template <typename Work>
  static void ForEach(const Call& call, const Work& work) {
    const int threads = ThreadCount(0);
    std::vector<Scratch> scratches(static_cast<size_t>(threads));
    ForChunks(call.newest.values.series, kChunkSeries, threads,
              [&](int64_t first, int64_t last, int worker) {
                for (int64_t s = first; s < last; ++s) work(s, scratches[worker]);
              });
  }

  // Room for all series; the state as new where it cannot be gone on from.
  NewSteps Prepare(const Call& call, LevelState& state) const {
    const int64_t series = call.newest.values.series;
    SeenSamples& seen = state.seen;
    Followed& followed = state.followed[static_cast<size_t>(kind_)];
    const auto near = [&](int64_t end_step, int64_t least) {
      const int64_t steps = call.end_step - end_step;
      return steps >= least && steps <= kLateSteps && steps < call.newest.values.steps;
    };
    const bool fits = state.steps == call.steps && state.step_ms == call.newest.step_ms &&
                      std::ssize(seen.slot) <= series && near(seen.end_step, 0);
    const bool is_first = followed.end_step == 0 && state.begun_step == call.end_step;
    if (!fits || !(is_first || near(followed.end_step, 1))) {
      state = {};
      state.steps = call.steps;
      state.step_ms = call.newest.step_ms;
      state.begun_step = call.end_step;
    }
    const int64_t known = std::ssize(seen.slot);
    const NewSteps new_steps{call.end_step - seen.end_step, call.end_step - followed.end_step};
    if (new_steps.samples > 0) GiveSlots(call, known, new_steps.samples, state);
    GrowTo(call, std::ssize(seen.begun), followed);
    seen.end_step = followed.end_step = call.end_step;
    return new_steps;
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

  LevelKind kind_;
};

}  // namespace

std::shared_ptr<const Forecaster> MakeLevel(LevelKind kind) {
  return std::make_shared<Level>(kind);
}

}  // namespace foreshadow::models
