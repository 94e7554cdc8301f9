#include "kernels/algo/events.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>
#include <random>

#include "tests/unit/kernels/backends.h"

namespace foreshadow::kernels {
namespace {

using testing::Array;
using testing::Batch;
using testing::BatchOn;
using testing::kNan;

struct Found {
  std::vector<float> scale, threshold;
  std::vector<Event> events;
  int64_t count = 0;
  std::vector<SeriesStatus> status;

  std::vector<Event> Of(EventKind kind) const {
    std::vector<Event> of_kind;
    for (const Event& event : events) {
      if (event.kind == kind) of_kind.push_back(event);
    }
    return of_kind;
  }
};

struct Options {
  float false_alarms = 1e-6f;
  float shift_false_alarms = 0.01f;
  size_t room = 10'000;
};

class Events : public testing::OnBackend {
 protected:
  Found Find(const Batch& remainder, const Options& options = {}, const Batch* level = nullptr) {
    return Find(ops(), remainder, options, level);
  }
  static Found Find(const Ops& ops, const Batch& remainder, const Options& options,
                    const Batch* level) {
    const auto n = static_cast<size_t>(remainder.series);
    const BatchOn remainder_on(ops, remainder);
    const BatchOn level_on(ops, level != nullptr ? *level : Batch(1, 1));
    const Array<float> scale(ops, n);
    const Array<float> threshold(ops, n);
    const Array<Event> events(ops, options.room);
    const Array<int64_t> count(ops, 1);
    const Array<SeriesStatus> status(ops, n);
    EventArgs args;
    args.remainder = remainder_on.view();
    if (level != nullptr) args.level = level_on.view();
    args.false_alarms = options.false_alarms;
    args.shift_false_alarms = options.shift_false_alarms;
    args.scale = scale.span();
    args.threshold = threshold.span();
    args.events = events.span();
    args.events_count = count.span().data();
    args.status = status.span();
    const Array<std::byte> workspace(ops, ops.events_workspace_bytes(args));
    args.workspace = workspace.span();
    ops.events(args);
    Found found{scale.Read(), threshold.Read(), events.Read(), count.Read()[0], status.Read()};
    found.events.resize(std::min(options.room, static_cast<size_t>(found.count)));
    return found;
  }
};

FORESHADOW_ON_BACKENDS(Events);

using Draw = std::function<float(std::mt19937&)>;

float Normal(std::mt19937& random) { return std::normal_distribution<float>()(random); }
float Laplace(std::mt19937& random) {
  const float size = std::exponential_distribution<float>()(random);
  return random() % 2 == 0 ? size : -size;
}
float Student3(std::mt19937& random) { return std::student_t_distribution<float>(3)(random); }
float Count(std::mt19937& random) {
  return static_cast<float>(std::poisson_distribution<int>(1.5)(random));
}

// Autoregressive when carry > 0.
Batch Noise(int64_t steps, int64_t series, uint32_t seed, const Draw& draw = Normal,
            float carry = 0) {
  std::mt19937 random(seed);
  Batch batch(steps, series);
  std::vector<float> state(static_cast<size_t>(series), 0);
  for (int64_t i = carry > 0 ? -200 : 0; i < steps; ++i) {
    for (int64_t s = 0; s < series; ++s) {
      float& now = state[static_cast<size_t>(s)];
      now = carry * now + draw(random);
      if (i >= 0) batch.at(i, s) = now;
    }
  }
  return batch;
}

// Normal noise of mean 3 and deviation 2.
Batch Usual(int64_t steps, int64_t series, uint32_t seed) {
  Batch batch = Noise(steps, series, seed);
  for (float& value : batch.values) value = 3 + 2 * value;
  return batch;
}

// --- Scale and threshold -------------------------------------------------------------------------

// Medians and the tail's order statistics by sorting, series by series.
struct ByHand {
  float scale;
  float threshold;
};

ByHand ThresholdByHand(Batch& batch, int64_t s, float false_alarms) {
  std::vector<float> values;
  for (int64_t i = 0; i < batch.steps; ++i) {
    if (!std::isnan(batch.at(i, s))) values.push_back(batch.at(i, s));
  }
  const auto median_of = [](std::vector<float> v) {
    std::sort(v.begin(), v.end());
    return (v[(v.size() - 1) / 2] + v[v.size() / 2]) / 2;
  };
  const float median = median_of(values);
  for (float& value : values) value = std::abs(value - median);
  const float scale = 1.4826f * median_of(values);
  std::sort(values.begin(), values.end());
  const auto present = static_cast<int32_t>(values.size());
  const TailRanks ranks = RanksOfTail(present);
  const auto above = [&](float height) {
    return static_cast<int32_t>(values.end() -
                                std::upper_bound(values.begin(), values.end(), height));
  };
  TailSample tail{};
  tail.base = values[static_cast<size_t>(ranks.base)];
  tail.half = values[static_cast<size_t>(ranks.half)];
  tail.three_quarters = values[static_cast<size_t>(ranks.three_quarters)];
  tail.above_base = above(tail.base);
  tail.next = tail.above_base > 0 ? values[values.size() - static_cast<size_t>(tail.above_base)]
                                  : std::numeric_limits<float>::infinity();
  tail.above_far = above(std::max(tail.three_quarters, tail.next));
  EventArgs args;
  args.remainder = batch.view();
  args.false_alarms = false_alarms;
  return {scale, SpikeThreshold(PlanEvents(args), scale, tail, present)};
}

// Every length up to a few vectors, then some with tails; values that tie, gaps, a huge outlier.
TEST_P(Events, ScaleAndThresholdAreThoseOfSortedSamples) {
  std::mt19937 random(3);
  for (const int64_t steps : {8, 9, 10, 17, 64, 201, 500, 1'023, 2'016}) {
    Batch batch = Noise(steps, 37, static_cast<uint32_t>(steps), Student3);
    for (int64_t i = 0; i < steps; ++i) {
      for (int64_t s = 0; s < 37; ++s) {
        float& value = batch.at(i, s);
        if (s % 4 == 1) value = std::floor(4 * value);
        if (s % 4 == 2) value = 1e-20f * value;
        if (s % 4 == 3 && i == steps / 2) value = 1e30f;
        if (s % 3 == 0 && steps > 20 && random() % 5 == 0) value = kNan;
      }
    }
    const Found found = Find(batch, {.false_alarms = 1e-3f, .shift_false_alarms = 0});
    for (int64_t s = 0; s < 37; ++s) {
      const auto at = static_cast<size_t>(s);
      const ByHand by_hand = ThresholdByHand(batch, s, 1e-3f);
      SCOPED_TRACE(::testing::Message() << steps << " steps, series " << s);
      ASSERT_FLOAT_EQ(found.scale[at], by_hand.scale);
      if (by_hand.scale == 0) {
        EXPECT_EQ(found.status[at], SeriesStatus::kConstant);
      } else {
        ASSERT_EQ(found.status[at], SeriesStatus::kOk);
        ASSERT_FLOAT_EQ(found.threshold[at], by_hand.threshold);
      }
    }
  }
}

// The chance chosen is kept within a factor of three whatever the noise, and whether samples are
// fewer than describe a tail well.
TEST_P(Events, SpikesOfNoiseAreAsRareAsChosen) {
  struct Case {
    const char* name;
    Draw draw;
    float carry;
  };
  for (const Case& of : {Case{"normal", Normal, 0}, Case{"Laplace", Laplace, 0},
                         Case{"t3", Student3, 0}, Case{"counts", Count, 0}}) {
    for (const int64_t steps : {288, 2'016}) {
      const int64_t series = 400'000 / steps;
      const Found found = Find(Noise(steps, series, 7, of.draw, of.carry),
                               {.false_alarms = 1e-3f, .shift_false_alarms = 0});
      SCOPED_TRACE(::testing::Message() << of.name << ", " << steps << " steps");
      EXPECT_LT(found.count, 3.3 * 400);
      EXPECT_GT(found.count, 400 / 3.3);
    }
  }
}

// The normal threshold at any chance.
TEST(EventPlan, HeightsAreThoseOfTheNormalDistribution) {
  const std::vector<std::pair<float, double>> quantiles = {
      {0.5f, 0.67449},  {0.1f, 1.64485},  {0.05f, 1.95996},  {1e-2f, 2.57583},
      {1e-4f, 3.89059}, {1e-9f, 6.10941}, {1e-30f, 11.52388}};
  for (const auto& [chance, height] : quantiles) {
    EventArgs args;
    args.false_alarms = chance;
    EXPECT_NEAR(PlanEvents(args).spike_height, height, 1e-4) << chance;
  }
}

// --- Spikes --------------------------------------------------------------------------------------

TEST_P(Events, SpikesHaveOnsetDurationAndHeight) {
  Batch batch = Usual(2'000, 3, 1);
  for (int64_t i = 500; i < 504; ++i) batch.at(i, 1) = 3 + 40 + static_cast<float>(i - 500);
  batch.at(900, 1) = 3 - 60;
  const Found found = Find(batch);
  ASSERT_EQ(found.count, 2);
  EXPECT_EQ(found.events[0].kind, EventKind::kSpike);
  EXPECT_EQ(found.events[0].series, 1);
  EXPECT_EQ(found.events[0].onset, 500);
  EXPECT_EQ(found.events[0].duration, 4);
  EXPECT_NEAR(found.events[0].height, 43, 0.5);
  EXPECT_NEAR(found.events[0].score, 43 / 2.0, 1.5);
  EXPECT_NEAR(found.events[0].before, 3, 0.2);
  EXPECT_EQ(found.events[0].before, found.events[0].after);
  EXPECT_EQ(found.events[1].onset, 900);
  EXPECT_NEAR(found.events[1].height, -60, 0.5);
  for (const float scale : found.scale) EXPECT_NEAR(scale, 2, 0.2);
}

// Heights over a level of 3, by step. A quiet step inside belongs to the spike, two end it.
struct Drawn {
  std::vector<float> heights;
  EventShape shape;
  int32_t duration;
};

const Drawn kDrawn[] = {
    {{80}, EventShape::kPulse, 1},
    {{80, 40}, EventShape::kPulse, 2},
    {{50, 55, 52, 50, 54}, EventShape::kPlateau, 5},
    {{-50, -55, -52, -50, -54}, EventShape::kPlateau, 5},
    {{20, 40, 60, 80, 100}, EventShape::kRampUp, 5},
    {{100, 70, 50, 35, 25, 20}, EventShape::kDecay, 6},
    {{20, 50, 100, 50, 20}, EventShape::kHump, 5},
    {{100, 0, 60, 30, 20}, EventShape::kDecay, 5},
};

TEST_P(Events, SpikesHaveTheShapeDrawn) {
  const auto cases = static_cast<int64_t>(std::size(kDrawn));
  Batch batch = Usual(1'000, cases, 11);
  for (int64_t s = 0; s < cases; ++s) {
    for (size_t i = 0; i < kDrawn[s].heights.size(); ++i) {
      batch.at(600 + static_cast<int64_t>(i), s) = 3 + kDrawn[s].heights[i];
    }
  }
  const Found found = Find(batch, {.false_alarms = 1e-5f});
  ASSERT_EQ(found.count, cases);
  for (int64_t s = 0; s < cases; ++s) {
    SCOPED_TRACE(s);
    const Event& event = found.events[static_cast<size_t>(s)];
    EXPECT_EQ(event.kind, EventKind::kSpike);
    EXPECT_EQ(event.onset, 600);
    EXPECT_EQ(event.duration, kDrawn[s].duration);
    EXPECT_EQ(event.shape, kDrawn[s].shape);
  }
}

TEST_P(Events, ASpikeEndsAtTwoQuietStepsAndWhereTheSignTurns) {
  Batch batch = Usual(1'000, 2, 12);
  batch.at(400, 0) = batch.at(403, 0) = 80;
  batch.at(400, 1) = 80;
  batch.at(401, 1) = -80;
  const Found found = Find(batch);
  ASSERT_EQ(found.count, 4);
  const std::vector<int32_t> onsets = {400, 403, 400, 401};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(found.events[i].onset, onsets[i]);
    EXPECT_EQ(found.events[i].duration, 1);
  }
}

TEST_P(Events, BeyondTheRoomTheyAreCountedNotKept) {
  const Batch batch = Usual(4'000, 100, 2);
  const Found all = Find(batch, {.false_alarms = 1e-3f});
  const Found few = Find(batch, {.false_alarms = 1e-3f, .room = 7});
  ASSERT_GT(all.count, 100);
  EXPECT_EQ(few.count, all.count);
  ASSERT_EQ(few.events.size(), 7u);
  for (size_t i = 0; i < 7; ++i) {
    EXPECT_EQ(few.events[i].series, all.events[i].series);
    EXPECT_EQ(few.events[i].onset, all.events[i].onset);
  }
  EXPECT_TRUE(std::is_sorted(all.events.begin(), all.events.end(), [](auto& a, auto& b) {
    return std::pair(a.series, a.onset) < std::pair(b.series, b.onset);
  }));
}

// --- Level shifts --------------------------------------------------------------------------------

TEST_P(Events, ShiftsOfNoiseAreRarerThanChosen) {
  struct Case {
    const char* name;
    Draw draw;
    float carry;
  };
  for (const Case& of :
       {Case{"normal", Normal, 0}, Case{"Laplace", Laplace, 0}, Case{"t3", Student3, 0},
        Case{"counts", Count, 0}, Case{"AR 0.5", Normal, 0.5f}, Case{"AR 0.95", Normal, 0.95f}}) {
    const Found found = Find(Noise(2'016, 300, 21, of.draw, of.carry),
                             {.false_alarms = 1e-9f, .shift_false_alarms = 0.01f});
    std::vector<bool> has(300, false);
    for (const Event& shift : found.Of(EventKind::kLevelShift)) {
      has[static_cast<size_t>(shift.series)] = true;
    }
    // Three are expected at most; ten come with a chance of one in a thousand.
    EXPECT_LT(std::count(has.begin(), has.end(), true), 10) << of.name;
  }
}

// Shifts of ten deviations are placed to the step, told with their levels, and are no spikes.
TEST_P(Events, ShiftsHaveOnsetDurationAndLevels) {
  Batch batch = Usual(2'016, 35, 5);
  for (int64_t s = 0; s < 35; ++s) {
    for (int64_t i = 700 + s; i < 2'016; ++i) batch.at(i, s) += 20;
    for (int64_t i = 1'500; i < 2'016; ++i) batch.at(i, s) -= 50;
  }
  const Found found = Find(batch);
  ASSERT_EQ(found.count, 70);
  for (size_t s = 0; s < 35; ++s) {
    const Event& up = found.events[2 * s];
    const Event& down = found.events[2 * s + 1];
    EXPECT_EQ(up.kind, EventKind::kLevelShift);
    EXPECT_EQ(up.shape, EventShape::kStep);
    EXPECT_EQ(up.series, static_cast<int32_t>(s));
    EXPECT_EQ(up.onset, 700 + static_cast<int32_t>(s));
    EXPECT_EQ(up.duration, 1'500 - up.onset);
    EXPECT_NEAR(up.height, 20, 2);
    EXPECT_NEAR(up.before, 3, 1.5);
    EXPECT_NEAR(up.after, 23, 1.5);
    EXPECT_GT(up.score, 10);
    EXPECT_EQ(down.onset, 1'500);
    EXPECT_EQ(down.duration, 516);
    EXPECT_NEAR(down.height, -50, 2);
    // The noise is measured within the levels.
    EXPECT_NEAR(found.scale[s], 2, 0.2);
  }
}

// Of a hundred shifts of three deviations at any step nearly all are found, near their step.
TEST_P(Events, ShiftsOfThreeDeviationsAreFound) {
  Batch batch = Usual(2'016, 100, 6);
  std::mt19937 random(8);
  std::vector<int64_t> at(100);
  for (int64_t s = 0; s < 100; ++s) {
    at[static_cast<size_t>(s)] = std::uniform_int_distribution<int64_t>(100, 1'900)(random);
    for (int64_t i = at[static_cast<size_t>(s)]; i < 2'016; ++i) batch.at(i, s) += 6;
  }
  const Found found = Find(batch);
  int64_t near = 0;
  for (const Event& shift : found.Of(EventKind::kLevelShift)) {
    near += std::abs(shift.onset - at[static_cast<size_t>(shift.series)]) <= 3;
  }
  EXPECT_GE(near, 90);
  EXPECT_LE(std::ssize(found.Of(EventKind::kLevelShift)), 103);
}

// A plateau that comes back within 14 steps is a spike; from 35 on it is two shifts.
TEST_P(Events, APlateauIsASpikeUntilItLasts) {
  const std::vector<int64_t> spikes = {2, 7, 14};
  const std::vector<int64_t> shifts = {35, 49, 100, 400};
  Batch batch = Usual(2'016, 7, 9);
  for (int64_t s = 0; s < 7; ++s) {
    const int64_t lasts =
        s < 3 ? spikes[static_cast<size_t>(s)] : shifts[static_cast<size_t>(s - 3)];
    for (int64_t i = 1'000; i < 1'000 + lasts; ++i) batch.at(i, s) += 60;
  }
  const Found found = Find(batch);
  for (size_t s = 0; s < 7; ++s) {
    SCOPED_TRACE(s);
    std::vector<Event> of_series;
    for (const Event& event : found.events) {
      if (event.series == static_cast<int32_t>(s)) of_series.push_back(event);
    }
    if (s < 3) {
      ASSERT_EQ(of_series.size(), 1u);
      EXPECT_EQ(of_series[0].kind, EventKind::kSpike);
      EXPECT_EQ(of_series[0].onset, 1'000);
      EXPECT_EQ(of_series[0].duration, spikes[s]);
      EXPECT_EQ(of_series[0].shape, spikes[s] <= 2 ? EventShape::kPulse : EventShape::kPlateau);
    } else {
      ASSERT_EQ(of_series.size(), 2u);
      EXPECT_EQ(of_series[0].kind, EventKind::kLevelShift);
      EXPECT_EQ(of_series[0].onset, 1'000);
      EXPECT_EQ(of_series[0].duration, shifts[s - 3]);
      EXPECT_EQ(of_series[1].kind, EventKind::kLevelShift);
      EXPECT_EQ(of_series[1].onset, 1'000 + shifts[s - 3]);
    }
  }
}

// The two are found in one series, spikes measured from the level they stand on.
TEST_P(Events, ASpikeOnANewLevelIsMeasuredFromIt) {
  Batch batch = Usual(2'016, 1, 13);
  for (int64_t i = 800; i < 2'016; ++i) batch.at(i, 0) += 30;
  batch.at(400, 0) = 3 + 30;
  batch.at(1'400, 0) = 33 - 30;
  const Found found = Find(batch, {.false_alarms = 1e-5f});
  ASSERT_EQ(found.count, 3);
  EXPECT_EQ(found.events[0].kind, EventKind::kSpike);
  EXPECT_NEAR(found.events[0].height, 30, 1);
  EXPECT_EQ(found.events[1].kind, EventKind::kLevelShift);
  EXPECT_EQ(found.events[1].onset, 800);
  EXPECT_EQ(found.events[2].kind, EventKind::kSpike);
  EXPECT_NEAR(found.events[2].height, -30, 1);
  EXPECT_NEAR(found.events[2].before, 33, 0.5);
}

// A shift that takes some steps is no spike beside a shift.
TEST_P(Events, TheWayToANewLevelIsNoSpike) {
  Batch batch = Usual(2'016, 1, 14);
  for (int64_t i = 1'000; i < 2'016; ++i) {
    batch.at(i, 0) += 80 * std::min(1.0f, static_cast<float>(i - 999) / 5);
  }
  const Found found = Find(batch);
  ASSERT_EQ(found.count, 1);
  EXPECT_EQ(found.events[0].kind, EventKind::kLevelShift);
  EXPECT_NEAR(found.events[0].onset, 1'002, 2);
}

TEST_P(Events, ASlowDriftIsNoShift) {
  Batch batch = Usual(2'016, 20, 15);
  for (int64_t i = 0; i < 2'016; ++i) {
    for (int64_t s = 0; s < 20; ++s) {
      batch.at(i, s) += static_cast<float>(s) * static_cast<float>(i) * 0.01f;
    }
  }
  EXPECT_EQ(Find(batch).count, 0);
}

// A staircase without noise has no scale for spikes; its step is seen all the same.
TEST_P(Events, AShiftWithoutNoiseIsFound) {
  Batch batch(2'016, 1, 5);
  for (int64_t i = 999; i < 2'016; ++i) batch.at(i, 0) = 9;
  const Found found = Find(batch);
  EXPECT_EQ(found.status[0], SeriesStatus::kConstant);
  ASSERT_EQ(found.count, 1);
  EXPECT_EQ(found.events[0].kind, EventKind::kLevelShift);
  EXPECT_EQ(found.events[0].onset, 999);
  EXPECT_EQ(found.events[0].before, 5);
  EXPECT_EQ(found.events[0].after, 9);
}

// Shifts of 24 deviations under gaps: a tenth of the samples, and a hole around the shift itself.
TEST_P(Events, ShiftsAreFoundAmongGaps) {
  Batch batch = Usual(2'016, 2, 16);
  std::mt19937 random(17);
  for (int64_t i = 0; i < 2'016; ++i) {
    for (int64_t s = 0; s < 2; ++s) {
      if (i >= 1'200) batch.at(i, s) += 48;
      if (random() % 10 == 0 && i != 1'200) batch.at(i, s) = kNan;
    }
    if (i >= 1'190 && i < 1'210) batch.at(i, 1) = kNan;
  }
  batch.at(1'210, 1) = 51;
  const Found found = Find(batch);
  ASSERT_EQ(found.count, 2);
  EXPECT_EQ(found.events[0].onset, 1'200);
  EXPECT_EQ(found.events[1].onset, 1'210);  // the first sample on the new level
}

// With a level of its own a shift is found there, spikes in the remainder.
TEST_P(Events, ShiftsAreSoughtInTheLevelGiven) {
  Batch remainder = Usual(2'016, 1, 18);
  Batch level = remainder;
  for (int64_t i = 600; i < 2'016; ++i) level.at(i, 0) += 40;
  remainder.at(1'700, 0) = 50;
  const Found found = Find(remainder, {}, &level);
  ASSERT_EQ(found.count, 2);
  EXPECT_EQ(found.events[0].kind, EventKind::kLevelShift);
  EXPECT_EQ(found.events[0].onset, 600);
  EXPECT_NEAR(found.events[0].height, 40, 2);
  EXPECT_EQ(found.events[1].kind, EventKind::kSpike);
  EXPECT_EQ(found.events[1].onset, 1'700);
}

// --- Bad input -----------------------------------------------------------------------------------

TEST_P(Events, BadSeriesAreNamed) {
  Batch batch(300, 9);
  std::mt19937 random(19);
  for (int64_t i = 0; i < 300; ++i) {
    batch.at(i, 1) = i == 9 ? 100.0f : 0.0f;
    batch.at(i, 2) = static_cast<float>(i % 5);
    batch.at(i, 3) = i == 7 ? std::numeric_limits<float>::infinity() : Normal(random);
    batch.at(i, 4) = 7;
    if (i < 5) batch.at(i, 5) = Normal(random);
    batch.at(i, 6) = 1e9f + static_cast<float>(random() % 2) * 64;
    batch.at(i, 7) = i % 2 == 0 ? 3e38f : -3e38f;
    batch.at(i, 8) = Normal(random);
  }
  batch.at(150, 8) = 1e6f;
  const Found found = Find(batch);
  const std::vector<SeriesStatus> expected = {
      SeriesStatus::kNoData,    SeriesStatus::kConstant,  SeriesStatus::kOk,
      SeriesStatus::kNotFinite, SeriesStatus::kConstant,  SeriesStatus::kTooShort,
      SeriesStatus::kPrecision, SeriesStatus::kPrecision, SeriesStatus::kOk};
  for (size_t s = 0; s < expected.size(); ++s) {
    SCOPED_TRACE(s);
    EXPECT_EQ(found.status[s], expected[s]);
    EXPECT_EQ(std::isnan(found.threshold[s]), expected[s] != SeriesStatus::kOk);
  }
  ASSERT_EQ(found.count, 1);
  EXPECT_EQ(found.events[0].series, 8);
  EXPECT_EQ(found.events[0].onset, 150);
}

TEST_P(Events, ABadLevelAsWell) {
  Batch remainder = Usual(300, 2, 20);
  Batch level = remainder;
  level.at(3, 1) = -std::numeric_limits<float>::infinity();
  remainder.at(100, 0) = remainder.at(100, 1) = 90;
  const Found found = Find(remainder, {}, &level);
  EXPECT_EQ(found.status[0], SeriesStatus::kOk);
  EXPECT_EQ(found.status[1], SeriesStatus::kNotFinite);
  ASSERT_EQ(found.count, 1);
  EXPECT_EQ(found.events[0].series, 0);
}

TEST_P(Events, ABatchWithoutSeriesOrStepsHasNone) {
  EXPECT_EQ(Find(Batch(100, 0)).count, 0);
  const Found found = Find(Batch(0, 3));
  EXPECT_EQ(found.count, 0);
  EXPECT_EQ(found.status[2], SeriesStatus::kNoData);
}

// One text of the method: the backend gives what the emulated GPU gives, event by event.
TEST_P(Events, AgreeWithTheOtherTwins) {
  Batch batch = Noise(2'016, 53, 22, Student3, 0.4f);
  std::mt19937 random(23);
  for (int64_t s = 0; s < 53; ++s) {
    for (int k = 0; k < static_cast<int>(s % 5); ++k) {
      const auto at = static_cast<int64_t>(random() % 2'000);
      const auto height = static_cast<float>(10 + random() % 50);
      const int64_t end = s % 2 == 0 ? 2'016 : std::min<int64_t>(2'016, at + 6);
      for (int64_t i = at; i < end; ++i) batch.at(i, s) += height;
    }
  }
  const Found mine = Find(batch, {.false_alarms = 1e-3f});
  EXPECT_GT(mine.count, 100);
  const Found other = Find(EmulatedGpuOps(), batch, {.false_alarms = 1e-3f}, nullptr);
  ASSERT_EQ(mine.count, other.count);
  for (size_t i = 0; i < mine.events.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(mine.events[i].series, other.events[i].series);
    EXPECT_EQ(mine.events[i].onset, other.events[i].onset);
    EXPECT_EQ(mine.events[i].duration, other.events[i].duration);
    EXPECT_EQ(mine.events[i].kind, other.events[i].kind);
    EXPECT_EQ(mine.events[i].shape, other.events[i].shape);
    EXPECT_FLOAT_EQ(mine.events[i].height, other.events[i].height);
    EXPECT_NEAR(mine.events[i].score, other.events[i].score, 1e-4f * mine.events[i].score);
  }
}

}  // namespace
}  // namespace foreshadow::kernels
