#include "models/level/carried.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "kernels/algo/round_up.h"
#include "models/empirical.h"
#include "models/sliding.h"

namespace foreshadow::models::level {
namespace {

constexpr int64_t kWordBits = 64;

int64_t WordsOf(const Call& call) { return (call.ring_steps + kWordBits - 1) / kWordBits; }

float Cut(float error) {
  constexpr float kMost = std::numeric_limits<float>::max();
  return std::clamp(error, -kMost, kMost);
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
  const auto words = static_cast<size_t>(WordsOf(call));
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

bool HasGaps(const Place& place) {
  const size_t left = place.filled.size() % kWordBits;  // in the last word
  const uint64_t last = left == 0 ? ~uint64_t{0} : (uint64_t{1} << left) - 1;
  return place.sampled.back() != last ||
         std::ranges::any_of(place.sampled.first(place.sampled.size() - 1),
                             [](uint64_t word) { return word != ~uint64_t{0}; });
}

// Samples by place, which the vector operations read: of a series without a gap as they are.
std::span<const float> Spread(const Place& place, Scratch& scratch) {
  if (!HasGaps(place)) return place.filled;
  const size_t ring = place.filled.size();
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

// Of the hour up to `at` in the ring of samples, one of which is there. A median is sought from the
// one before.
float LevelOfHour(const Call& call, std::span<const float> samples, int64_t at, float before,
                  Scratch& scratch) {
  const auto hour = static_cast<int64_t>(call.hour_steps);
  std::vector<float>& recent = scratch.recent;
  recent.resize(static_cast<size_t>(kernels::RoundUp(hour, kErrorLanes)));
  const int64_t newer = std::min(hour, at + 1);
  size_t count = KeepThere(samples.last(hour - newer), recent.data());
  count += KeepThere(samples.subspan(at + 1 - newer, newer), recent.data() + count);
  if (call.kind == LevelKind::kLastHourMean) return Mean(std::span(recent).first(count));
  std::fill(recent.begin() + static_cast<int64_t>(count), recent.end(), kNone);
  const float guess = std::isnan(before) ? recent[0] : before;
  return MedianNear(guess, recent, static_cast<int>(count));
}

// Takes one step in; the newest of several puts the order statistics in place.
void Push(const Call& call, int64_t step, int64_t& last_step, const Place& place,
          Scratch& scratch) {
  const int64_t at = step % call.ring_steps;
  const auto ago = [&](int64_t steps) {
    return at >= steps ? at - steps : at - steps + call.ring_steps;
  };
  const std::span<const float> samples = Spread(place, scratch);
  const float sample = samples[at];
  if (!std::isnan(sample)) last_step = step;
  const int64_t age = step - last_step;
  if (call.kind != LevelKind::kLastValue) {
    const float before = place.levels[ago(1)];
    if (age > call.silence_steps) {
      place.levels[at] = kNone;
    } else if (age >= call.hour_steps) {
      place.levels[at] = before;  // the last sample, which is not carried for ever
    } else {
      place.levels[at] = LevelOfHour(call, samples, at, before, scratch);
    }
  }
  for (size_t d = 0; d < call.distances.size(); ++d) {
    const int distance = call.distances[d];
    const int64_t count = call.ErrorsAt(distance);
    const float leaves = Cut(samples[ago(count)] - place.levels[ago(count + distance)]);
    const float comes = Cut(sample - place.levels[ago(distance)]);
    if (Slide(leaves, comes, place.ranks[d]) || step < call.end_step) continue;
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
  Grow(slots * WordsOf(call), seen.sampled);
}

void GrowTo(const Call& call, int64_t slots, Followed& followed) {
  Grow(slots, followed.begun);
  Grow(slots, followed.last_step);
  Grow(slots * std::ssize(call.distances), followed.ranks);
  if (call.kind != LevelKind::kLastValue) Grow(slots * call.ring_steps, followed.levels);
}

}  // namespace

NewSteps Prepare(const Call& call, LevelState& state) {
  const int64_t series = call.newest.values.series;
  SeenSamples& seen = state.seen;
  Followed& followed = state.followed[static_cast<size_t>(call.kind)];
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

}  // namespace foreshadow::models::level
