#include "kernels/algo/stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>

#include "kernels/algo/stl_taps.h"
#include "kernels/algo/stream_plan.h"
#include "tests/unit/kernels/backends.h"
#include "tests/unit/kernels/golden.h"

namespace foreshadow::kernels {
namespace {

using testing::Array;
using testing::Batch;
using testing::BatchOn;
using testing::kNan;

struct Now {
  std::vector<float> seasonal, trend, remainder;
  Batch expected{0, 0};
  std::vector<SeriesStatus> status;
};

struct Stray {
  std::vector<float> trend, seasonal;
};

// A stream of some series on a backend.
class Following {
 public:
  Following(const Ops& ops, const StlParams& params, int64_t window, int64_t series)
      : ops_(ops),
        params_(params),
        plan_(PlanStream(params, window)),
        tables_(ops, plan_.tables),
        state_(ops, StreamStateRows(plan_.model), series) {}

  // Decomposes the window and starts from it.
  void Start(const Batch& window, int64_t tick, const std::vector<int32_t>& columns = {}) {
    const auto series = static_cast<size_t>(window.series);
    const BatchOn observed(ops_, window);
    const BatchOn seasonal(ops_, window.steps, window.series);
    const BatchOn trend(ops_, window.steps, window.series);
    const BatchOn remainder(ops_, window.steps, window.series);
    const Array<SeriesStatus> status(ops_, series);
    const Array<std::byte> stl_workspace(
        ops_, ops_.stl_workspace_bytes(params_, window.steps, window.series));
    ops_.stl({params_,
              observed.view(),
              seasonal.view(),
              trend.view(),
              remainder.view(),
              {},
              status.span(),
              stl_workspace.span()});
    const Array<int32_t> columns_on(ops_, columns);
    StreamStartArgs args;
    args.model = plan_.model;
    args.tables = tables_.span();
    args.tick = tick;
    args.observed = observed.view();
    args.seasonal = seasonal.view();
    args.trend = trend.view();
    args.decomposed = status.span();
    if (!columns.empty()) args.columns = columns_on.span();
    args.state = state_.view();
    const Array<std::byte> workspace(ops_, ops_.stream_start_workspace_bytes(args));
    args.workspace = workspace.span();
    ops_.stream_start(args);
    EXPECT_EQ(ops_.wait(nullptr), "");
    tick_ = tick;
  }
  Now Update(const std::vector<float>& samples, int64_t ahead = 0) {
    const auto series = samples.size();
    const Array<float> observed(ops_, samples);
    const Array<float> seasonal(ops_, series);
    const Array<float> trend(ops_, series);
    const Array<float> remainder(ops_, series);
    const BatchOn expected(ops_, ahead, static_cast<int64_t>(series));
    const Array<SeriesStatus> status(ops_, series);
    ops_.stream_update({plan_.model, ++tick_, observed.span(), state_.view(), seasonal.span(),
                        trend.span(), remainder.span(), expected.view(), status.span()});
    return {seasonal.Read(), trend.Read(), remainder.Read(), expected.Read(), status.Read()};
  }
  Stray Bound() const {
    const auto series = static_cast<size_t>(state_.view().series);
    const Array<float> trend(ops_, series);
    const Array<float> seasonal(ops_, series);
    ops_.stream_stray({plan_.model, tables_.span(), state_.view(), trend.span(), seasonal.span()});
    return {trend.Read(), seasonal.Read()};
  }
  Batch Save() const { return state_.Read(); }
  void Restore(const Batch& saved, int64_t tick) {
    ops_.copy_in(state_.view().data, saved.values.data(), saved.values.size() * sizeof(float),
                 nullptr);
    tick_ = tick;
  }
  const StreamModel& model() const { return plan_.model; }

 private:
  const Ops& ops_;
  StlParams params_;
  StreamPlan plan_;
  Array<float> tables_;
  BatchOn state_;
  int64_t tick_ = 0;
};

Batch Window(const Batch& all, int64_t first, int64_t steps) {
  Batch window(steps, all.series);
  const auto begin = all.values.begin() + first * all.series;
  window.values.assign(begin, begin + steps * all.series);
  return window;
}

std::vector<float> Row(const Batch& all, int64_t step) {
  const auto begin = all.values.begin() + step * all.series;
  return {begin, begin + all.series};
}

// The full decomposition's last step, in double.
double Full(const std::vector<double>& taps, Batch& all, int64_t last, int64_t s) {
  double sum = 0;
  for (int64_t lag = 0; lag < std::ssize(taps); ++lag) {
    sum += taps[static_cast<size_t>(lag)] * double{all.at(last - lag, s)};
  }
  return sum;
}

struct Case {
  StlParams params;
  int64_t window;
};

const Case kCases[] = {
    {{.period = 24}, 168},
    {{.period = 24, .seasonal_window = 7}, 200},
    {{.period = 36, .seasonal_window = 11, .seasonal_degree = 1}, 36 * 5 + 1},
    {{.period = 7, .seasonal_window = 15}, 70},
    {{.period = 2}, 8},
    {{.period = 40, .seasonal_window = 5, .trend_window = 21, .trend_degree = 0}, 83},
    {{.period = 100, .trend_window = 61, .inner = 5}, 500}};

// Season, drift and noise; bursts in some columns, a shift of level in others. 19 columns: a whole
// vector and a rest on every backend.
Batch Samples(int64_t steps, int period, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, 1);
  Batch all(steps, 19);
  for (int64_t s = 0; s < all.series; ++s) {
    float drift = 0;
    for (int64_t i = 0; i < steps; ++i) {
      drift += 0.05f * normal(random);
      const float season =
          10 * std::sin(2 * std::numbers::pi_v<float> * static_cast<float>(i % period) /
                        static_cast<float>(period));
      all.at(i, s) = 50 + season + drift + normal(random);
      if (s % 5 == 1 && random() % 40 == 0) all.at(i, s) += 60;
      if (s % 5 == 2 && i > steps - period / 2) all.at(i, s) -= 25;
      if (s % 5 == 3) all.at(i, s) = normal(random) > 0 ? 1 : -1;
    }
  }
  return all;
}

class Streams : public testing::OnBackend {};

FORESHADOW_ON_BACKENDS(Streams);

TEST_P(Streams, StaysWithinTheBoundUpToTheHorizon) {
  for (const Case& of : kCases) {
    const StlTaps taps = LastStepTaps(PlanStl(of.params, of.window));
    Following stream(ops(), of.params, of.window, 19);
    const int64_t period = of.params.period;
    Batch all = Samples(of.window + period, of.params.period, 3);
    // Starts anywhere between knots.
    for (const int64_t tick : {int64_t{0}, int64_t{1}, 5 * period + 3, 7 * period - 1}) {
      stream.Start(Window(all, 0, of.window), tick);
      double largest = 0;
      for (int64_t k = 1; k <= period; ++k) {
        const Now now = stream.Update(Row(all, of.window - 1 + k));
        const Stray bound = stream.Bound();
        for (int64_t s = 0; s < 19; ++s) {
          const auto i = static_cast<size_t>(s);
          const int64_t last = of.window - 1 + k;
          const double trend_off = std::abs(now.trend[i] - Full(taps.trend, all, last, s));
          const double seasonal_off = std::abs(now.seasonal[i] - Full(taps.seasonal, all, last, s));
          ASSERT_LE(trend_off, bound.trend[i]) << "period " << period << " k " << k << " of " << s;
          ASSERT_LE(seasonal_off, bound.seasonal[i]) << period << " k " << k << " of " << s;
          ASSERT_EQ(now.status[i], SeriesStatus::kOk);
          const float sum = now.trend[i] + now.seasonal[i] + now.remainder[i];
          ASSERT_NEAR(sum, all.at(last, s), 1e-4);
          if (s % 5 == 0) largest = std::max({largest, trend_off, seasonal_off});
        }
      }
      EXPECT_LT(largest, 0.1) << "of noise with deviation 1, at period " << period;
    }
  }
}

// The bound says something: the samples that it names as worst do reach it.
TEST_P(Streams, TheWorstSamplesReachTheBound) {
  for (const Case& of : kCases) {
    const StlTaps taps = LastStepTaps(PlanStl(of.params, of.window));
    const int64_t period = of.params.period;
    Following stream(ops(), of.params, of.window, 19);
    Batch flat(of.window + period, 19, 0);
    for (int64_t s = 0; s < 19; ++s) flat.at(0, s) = 1e-6f;  // or it counts as constant
    // What the stream makes of one sample, step by step, from a state without deviations.
    stream.Start(Window(flat, 0, of.window), 3);
    std::vector<float> trend_errors;
    std::vector<float> seasonal_errors;
    for (int64_t lag = 0; lag < period; ++lag) {
      const Now now = stream.Update(std::vector<float>(19, lag == 0 ? 1.0f : 0.0f));
      const auto i = static_cast<size_t>(lag);
      trend_errors.push_back(now.trend[0] - static_cast<float>(taps.trend[i]));
      seasonal_errors.push_back(now.seasonal[0] - static_cast<float>(taps.seasonal[i]));
    }
    for (const auto* errors : {&trend_errors, &seasonal_errors}) {
      Batch all = flat;
      for (int64_t k = 1; k <= period; ++k) {
        const float error = (*errors)[static_cast<size_t>(period - k)];
        for (int64_t s = 0; s < 19; ++s) all.at(of.window - 1 + k, s) = error > 0 ? 1 : -1;
      }
      stream.Start(Window(all, 0, of.window), 3);
      Now now;
      for (int64_t k = 1; k <= period; ++k) now = stream.Update(Row(all, of.window - 1 + k));
      const Stray bound = stream.Bound();
      const int64_t last = of.window - 1 + period;
      for (int64_t s = 0; s < 19; s += 18) {
        const auto i = static_cast<size_t>(s);
        const bool trend = errors == &trend_errors;
        const double off = trend ? std::abs(now.trend[i] - Full(taps.trend, all, last, s))
                                 : std::abs(now.seasonal[i] - Full(taps.seasonal, all, last, s));
        const float limit = trend ? bound.trend[i] : bound.seasonal[i];
        EXPECT_LE(off, limit) << "period " << period;
        EXPECT_GE(off + 3e-5, 0.98 * limit) << "period " << period;
      }
    }
  }
}

TEST_P(Streams, BoundIsInfiniteBeyondTheHorizon) {
  const StlParams params{.period = 12};
  Following stream(ops(), params, 60, 19);
  const Batch all = Samples(73, 12, 4);
  stream.Start(Window(all, 0, 60), 59);
  for (int64_t k = 0; k < 12; ++k) stream.Update(Row(all, 60 + k));
  EXPECT_TRUE(std::isfinite(stream.Bound().trend[18]));
  stream.Update(Row(all, 72));
  EXPECT_TRUE(std::isinf(stream.Bound().trend[18]));
  EXPECT_TRUE(std::isinf(stream.Bound().seasonal[0]));
}

// A real series, R's parameters: strays by less than two hundredths of the remainder's spread.
TEST_P(Streams, FollowsARealSeriesClosely) {
  const testing::Golden golden = testing::ReadGolden("trace_periodic");
  const auto& observed = golden.columns[0];
  constexpr int64_t kWindow = 864;
  const StlParams params{.period = 288};
  const StlTaps taps = LastStepTaps(PlanStl(params, kWindow));
  Batch all(std::ssize(observed), 1);
  std::copy(observed.begin(), observed.end(), all.values.begin());
  double spread = 0;
  for (const double rest : golden.columns[3]) spread += rest * rest;
  spread = std::sqrt(spread / static_cast<double>(observed.size()));
  Following stream(ops(), params, kWindow, 1);
  stream.Start(Window(all, 0, kWindow), kWindow - 1);
  double square = 0;
  for (int64_t last = kWindow; last < all.steps; ++last) {
    const Now now = stream.Update(Row(all, last));
    square += std::pow(now.trend[0] - Full(taps.trend, all, last, 0), 2) +
              std::pow(now.seasonal[0] - Full(taps.seasonal, all, last, 0), 2);
  }
  EXPECT_LT(std::sqrt(square / static_cast<double>(all.steps - kWindow)), 0.02 * spread);
}

// A missing sample counts as the trend held and the season of the start.
TEST_P(Streams, FillsAMissingSampleWithTrendHeldAndSeason) {
  const StlParams params{.period = 24, .seasonal_window = 7};
  constexpr int64_t kWindow = 168;
  Batch all = Samples(kWindow + 24, 24, 6);
  Following gappy(ops(), params, kWindow, 19);
  Following filled(ops(), params, kWindow, 19);
  gappy.Start(Window(all, 0, kWindow), 10);
  filled.Start(Window(all, 0, kWindow), 10);
  std::vector<float> held(19);
  const Batch state = gappy.Save();
  for (int64_t k = 1; k <= 24; ++k) {
    std::vector<float> samples = Row(all, kWindow - 1 + k);
    std::vector<float> filling = samples;
    for (size_t s = 0; s < 19; ++s) {
      if (k < 5 || k > 15 || s % 3 == 0) continue;
      samples[s] = kNan;
      const auto phase = static_cast<size_t>(kStreamReference + (10 + k) % 24);
      filling[s] = held[s] + state.values[phase * 19 + s];
    }
    const Now with_gaps = gappy.Update(samples);
    const Now without = filled.Update(filling);
    for (size_t s = 0; s < 19; ++s) {
      EXPECT_NEAR(with_gaps.trend[s], without.trend[s], 2e-4);
      EXPECT_NEAR(with_gaps.seasonal[s], without.seasonal[s], 2e-4);
      EXPECT_EQ(std::isnan(with_gaps.remainder[s]), std::isnan(samples[s]));
      EXPECT_EQ(with_gaps.status[s], SeriesStatus::kOk);
      if (!std::isnan(samples[s])) held[s] = with_gaps.trend[s];
    }
  }
  for (size_t s = 0; s < 19; ++s) EXPECT_TRUE(std::isfinite(gappy.Bound().trend[s]));
}

TEST_P(Streams, AWindowWithGapsStartsAtItsDecomposition) {
  const StlParams params{.period = 24};
  Batch all = Samples(169, 24, 7);
  for (int64_t i = 0; i < 168; ++i) {
    if (i % 7 == 3 || (i > 100 && i < 120)) all.at(i, 4) = kNan;
  }
  Following stream(ops(), params, 168, 19);
  stream.Start(Window(all, 0, 168), 500);
  const Now now = stream.Update(Row(all, 168));
  EXPECT_NEAR(now.trend[4], 50, 5);
  EXPECT_NEAR(now.seasonal[4], 0, 3);
  EXPECT_TRUE(std::isfinite(now.remainder[4]));
}

TEST_P(Streams, BadSamplesAreToldAndTakenAsMissing) {
  const StlParams params{.period = 12};
  Following bad(ops(), params, 60, 19);
  Following missing(ops(), params, 60, 19);
  const Batch all = Samples(80, 12, 8);
  bad.Start(Window(all, 0, 60), 7);
  missing.Start(Window(all, 0, 60), 7);
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  for (const size_t s : {size_t{0}, size_t{18}}) {
    for (const float sample : {kInfinity, -kInfinity, 3e38f, kNan}) {
      std::vector<float> samples = Row(all, 60);
      samples[s] = sample;
      const Now now = bad.Update(samples, 2);
      samples[s] = kNan;
      const Now as_missing = missing.Update(samples, 2);
      EXPECT_EQ(now.status[s], std::isinf(sample)   ? SeriesStatus::kNotFinite
                               : std::isnan(sample) ? SeriesStatus::kOk
                                                    : SeriesStatus::kPrecision);
      EXPECT_EQ(now.status[9], SeriesStatus::kOk);
      EXPECT_EQ(now.trend, as_missing.trend);
      EXPECT_EQ(now.seasonal, as_missing.seasonal);
      EXPECT_EQ(now.expected.values, as_missing.expected.values);
      EXPECT_TRUE(std::isnan(now.remainder[s]));
    }
  }
}

TEST_P(Streams, ASeriesWithoutDecompositionHasNoState) {
  const StlParams params{.period = 12};
  Following stream(ops(), params, 60, 19);
  Batch all = Samples(62, 12, 9);
  for (int64_t i = 0; i < 60; ++i) {
    all.at(i, 2) = kNan;
    all.at(i, 18) = std::numeric_limits<float>::infinity();
  }
  stream.Start(Window(all, 0, 60), 3);
  for (int64_t k = 0; k < 2; ++k) {
    const Now now = stream.Update(Row(all, 60 + k), 1);
    const Stray bound = stream.Bound();
    for (size_t s = 0; s < 19; ++s) {
      const bool none = s == 2 || s == 18;
      EXPECT_EQ(now.status[s], none ? SeriesStatus::kNoData : SeriesStatus::kOk);
      EXPECT_EQ(std::isnan(now.trend[s]), none);
      EXPECT_EQ(std::isnan(now.seasonal[s]), none);
      EXPECT_EQ(std::isnan(now.remainder[s]), none);
      EXPECT_EQ(std::isnan(now.expected.values[s]), none);
      EXPECT_EQ(std::isinf(bound.trend[s]), none);
    }
  }
}

TEST_P(Streams, SavedAndRestoredGoesOnBitForBit) {
  const StlParams params{.period = 24, .seasonal_window = 7};
  const Batch all = Samples(168 + 90, 24, 10);
  Following stream(ops(), params, 168, 19);
  stream.Start(Window(all, 0, 168), 11);
  for (int64_t k = 0; k < 40; ++k) stream.Update(Row(all, 168 + k));
  Following restored(ops(), params, 168, 19);
  restored.Restore(stream.Save(), 51);
  for (int64_t k = 40; k < 90; ++k) {
    const Now one = stream.Update(Row(all, 168 + k), 3);
    const Now other = restored.Update(Row(all, 168 + k), 3);
    EXPECT_EQ(one.trend, other.trend);
    EXPECT_EQ(one.seasonal, other.seasonal);
    EXPECT_EQ(one.remainder, other.remainder);
    EXPECT_EQ(one.expected.values, other.expected.values);
  }
  EXPECT_EQ(stream.Save().values, restored.Save().values);
}

// Each series' refresh touches its column alone, and gives what a start of its own would.
TEST_P(Streams, RefreshesSomeSeriesAlone) {
  const StlParams params{.period = 24};
  Batch all = Samples(168 + 30, 24, 12);
  Following stream(ops(), params, 168, 19);
  Following anew(ops(), params, 168, 19);
  stream.Start(Window(all, 0, 168), 5);
  for (int64_t k = 0; k < 20; ++k) stream.Update(Row(all, 168 + k));
  const Batch before = stream.Save();
  anew.Start(Window(all, 20, 168), 25);
  const std::vector<int32_t> columns{17, 0, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 3, 2};
  Batch window(168, std::ssize(columns));
  for (int64_t i = 0; i < 168; ++i) {
    for (int64_t s = 0; s < window.series; ++s) {
      window.at(i, s) = all.at(20 + i, columns[static_cast<size_t>(s)]);
    }
  }
  stream.Start(window, 25, columns);
  const Batch after = stream.Save();
  const Batch fresh = anew.Save();
  for (size_t i = 0; i < after.values.size(); ++i) {
    const auto column = static_cast<int32_t>(i % 19);
    if (std::ranges::count(columns, column) == 0) {
      EXPECT_EQ(after.values[i], before.values[i]);
    } else {
      EXPECT_NEAR(after.values[i], fresh.values[i], 1e-4);
    }
  }
}

// Season and level known exactly are expected exactly, and a new level is reached and kept.
TEST_P(Streams, ExpectsTheSeasonAndFollowsANewLevel) {
  const StlParams params{.period = 24, .seasonal_window = 7};
  const auto pattern = [](int64_t i) {
    return static_cast<float>(i % 24 < 6 ? 5 : -5.0 / 3);  // mean zero
  };
  Batch window(168, 19);
  for (int64_t i = 0; i < 168; ++i) {
    for (int64_t s = 0; s < 19; ++s) window.at(i, s) = 100 + pattern(i);
  }
  Following stream(ops(), params, 168, 19);
  stream.Start(window, 167);
  Now now = stream.Update(std::vector<float>(19, 100 + pattern(168)), 50);
  for (int64_t ahead = 0; ahead < 50; ++ahead) {
    EXPECT_NEAR(now.expected.at(ahead, 0), 100 + pattern(169 + ahead), 1e-3);
    EXPECT_NEAR(now.expected.at(ahead, 18), 100 + pattern(169 + ahead), 1e-3);
  }
  for (int64_t i = 169; i < 169 + 60 * 24; ++i) {
    now = stream.Update(std::vector<float>(19, 300 + pattern(i)), 1);
  }
  for (const size_t s : {size_t{0}, size_t{18}}) {
    EXPECT_NEAR(now.trend[s], 300, 0.01);
    EXPECT_NEAR(now.seasonal[s], pattern(168), 0.01);
    EXPECT_NEAR(now.expected.values[s], 300 + pattern(169), 0.02);
  }
}

// A million ticks of noise and level shifts without a refresh leave no drift behind.
TEST_P(Streams, RunsAMillionTicksWithoutDrift) {
  const StlParams params{.period = 24, .seasonal_window = 7};
  const auto season = [](int64_t tick) {
    return 10 * std::sin(static_cast<float>(tick % 24) * std::numbers::pi_v<float> / 12);
  };
  Batch start(168, 19);
  for (int64_t i = 0; i < 168; ++i) {
    for (int64_t s = 0; s < 19; ++s) start.at(i, s) = 50 + season(i);
  }
  Following stream(ops(), params, 168, 19);
  stream.Start(start, 167);
  const StreamModel& model = stream.model();
  std::mt19937 random(13);
  std::normal_distribution<float> normal(0, 10);
  constexpr int64_t kKinds = 97;
  const BatchOn state(ops(), stream.Save());
  Batch samples(kKinds + 24, 19);
  for (float& value : samples.values) value = 1'000 + normal(random);
  for (int64_t k = 0; k < 24; ++k) {
    for (int64_t s = 0; s < 19; ++s) samples.at(kKinds + k, s) = 200 + season(k);
  }
  const BatchOn samples_on(ops(), samples);
  const Array<float> seasonal(ops(), 19);
  const Array<float> trend(ops(), 19);
  const Array<float> remainder(ops(), 19);
  const Array<SeriesStatus> status(ops(), 19);
  int64_t tick = 167;
  const auto update = [&](int64_t row) {
    ops().stream_update({model,
                         ++tick,
                         {&samples_on.view().at(row, 0), 19},
                         state.view(),
                         seasonal.span(),
                         trend.span(),
                         remainder.span(),
                         {},
                         status.span()});
  };
  for (int64_t i = 0; i < 1'000'000; ++i) update(static_cast<int64_t>(random() % kKinds));
  for (const float value : state.Read().values) ASSERT_LT(std::abs(value), 3e6);
  for (int64_t i = 0; i < 100 * 24; ++i) update(kKinds + (tick + 1) % 24);
  for (size_t s = 0; s < 19; ++s) {
    EXPECT_NEAR(trend.Read()[s], 200, 0.005);
    EXPECT_NEAR(seasonal.Read()[s], season(tick), 0.005);
    EXPECT_NEAR(remainder.Read()[s], 0, 0.005);
  }
}

// The table in docs/kernels-stream.md.
TEST(StreamPlans, BoundsAreSmallForUsualParameters) {
  for (const int seasonal_window : {kPeriodic, 7, 13}) {
    for (const auto& [period, window] : {std::pair{288, 2'016}, {24, 336}, {96, 672}}) {
      const StreamPlan plan =
          PlanStream({.period = period, .seasonal_window = seasonal_window}, window);
      const StreamModel& m = plan.model;
      const float* stray = TablesOf(m, plan.tables.data()).stray;
      const int64_t row = m.horizon + 1;
      for (int64_t k = 0; k <= m.horizon; ++k) {
        EXPECT_LE(stray[k], 0.01) << "new, trend, " << period << ", " << seasonal_window;
        EXPECT_LE(stray[row + k], 0.006) << "new, seasonal, " << period << ", " << seasonal_window;
        EXPECT_LE(stray[2 * row + k], 0.06) << "old, trend, " << period << ", " << seasonal_window;
        EXPECT_LE(stray[3 * row + k], 0.02)
            << "old, seasonal, " << period << ", " << seasonal_window;
      }
    }
  }
}

TEST(StreamPlans, RefusesWhatCannotBeFollowed) {
  EXPECT_EQ(CheckStream({.period = 24}, 48), "");
  EXPECT_NE(CheckStream({.period = 24}, 47), "");
  EXPECT_NE(CheckStream({.period = 24, .robust = true}, 480), "");
  EXPECT_NE(CheckStream({.period = 24, .outer = 1}, 480), "");
  EXPECT_NE(CheckStream({.period = 24}, 1 << 25), "");
}

}  // namespace
}  // namespace foreshadow::kernels
