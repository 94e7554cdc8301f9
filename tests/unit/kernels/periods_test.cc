#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>

#include "tests/unit/kernels/backends.h"

namespace foreshadow::kernels {
namespace {

using testing::Array;
using testing::Batch;
using testing::BatchOn;
using testing::kNan;

struct Found {
  int64_t kept;
  std::vector<int32_t> periods;
  std::vector<float> strengths;
  std::vector<SeriesStatus> status;

  int32_t period(int64_t s, int64_t k = 0) const {
    return periods[static_cast<size_t>(s * kept + k)];
  }
  float strength(int64_t s, int64_t k = 0) const {
    return strengths[static_cast<size_t>(s * kept + k)];
  }
  // Ascending, without the zeros.
  std::vector<int32_t> all(int64_t s) const {
    std::vector<int32_t> sorted;
    for (int64_t k = 0; k < kept; ++k) {
      if (period(s, k) != 0) sorted.push_back(period(s, k));
    }
    std::sort(sorted.begin(), sorted.end());
    return sorted;
  }
};

Found FindOn(const Ops& ops, const Batch& batch, PeriodArgs args = {}) {
  const auto n = static_cast<size_t>(batch.series);
  const size_t kept = n * static_cast<size_t>(args.max_periods);
  const BatchOn batch_on(ops, batch);
  const Array<int32_t> periods(ops, kept, -1);
  const Array<float> strengths(ops, kept, -1);
  const Array<SeriesStatus> status(ops, n, SeriesStatus::kPrecision);
  args.observed = batch_on.view();
  args.periods = periods.span();
  args.strengths = strengths.span();
  args.status = status.span();
  const Array<std::byte> workspace(ops, ops.periods_workspace_bytes(args), std::byte{0xff});
  args.workspace = workspace.span();
  ops.periods(args);
  return {args.max_periods, periods.Read(), strengths.Read(), status.Read()};
}

class Periods : public testing::OnBackend {
 protected:
  Found Find(const Batch& batch, const PeriodArgs& args = {}) { return FindOn(ops(), batch, args); }
};

FORESHADOW_ON_BACKENDS(Periods);

double Turns(int64_t step, double period) {
  return 2 * std::numbers::pi * static_cast<double>(step) / period;
}

// `red` = lag-one correlation of the noise.
Batch Noise(int64_t steps, int64_t series, double red, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal(0, 1);
  Batch batch(steps, series);
  for (int64_t s = 0; s < series; ++s) {
    double x = normal(random);
    for (int64_t i = 0; i < steps; ++i) {
      batch.at(i, s) = static_cast<float>(x);
      x = red * x + std::sqrt(1 - red * red) * normal(random);
    }
  }
  return batch;
}

TEST_P(Periods, FindsADayInNoiseAcrossGaps) {
  Batch batch = Noise(2'016, 20, 0, 1);
  for (int64_t s = 0; s < 20; ++s) {
    for (int64_t i = 0; i < 2'016; ++i) {
      batch.at(i, s) += static_cast<float>(std::sin(Turns(i, 288)) + 1e-3 * double(i));
      if (s % 2 == 1 && i % 9 == 0) batch.at(i, s) = kNan;
    }
  }
  const Found found = Find(batch);
  for (int64_t s = 0; s < 20; ++s) {
    EXPECT_NEAR(found.period(s), 288, 5) << s;
    EXPECT_NEAR(found.strength(s), 0.33, 0.12) << s;
  }
}

// A third of each day is missing, always the same hours: the mask itself has the period of a day
// and must not be taken for one of the noise, nor hide the one that is there.
TEST_P(Periods, GapsThatRecurAreNoCycle) {
  constexpr int64_t kDay = 48;
  Batch batch = Noise(kDay * 30, 40, 0, 6);
  for (int64_t s = 0; s < 40; ++s) {
    for (int64_t i = 0; i < batch.steps; ++i) {
      if (s % 2 == 1) batch.at(i, s) += static_cast<float>(1.5 * std::sin(Turns(i, 36)));
      if (i % kDay < kDay / 3) batch.at(i, s) = kNan;
    }
  }
  const Found found = Find(batch);
  int alarms = 0;
  for (int64_t s = 0; s < 40; ++s) {
    if (s % 2 == 0) {
      alarms += found.period(s) != 0;
    } else {
      EXPECT_EQ(found.period(s), 36) << s;
    }
  }
  EXPECT_LE(alarms, 2);
}

// The strength is the autocorrelation over the pairs that are there.
TEST_P(Periods, StrengthIsTheCorrelationOfPairs) {
  constexpr int64_t kPeriod = 25;
  Batch batch = Noise(1'000, 8, 0, 7);
  std::mt19937 random(8);
  for (int64_t s = 0; s < 8; ++s) {
    for (int64_t i = 0; i < batch.steps; ++i) {
      batch.at(i, s) += static_cast<float>(2 * std::sin(Turns(i, kPeriod)));
      if (s > 0 && random() % 10 < static_cast<uint32_t>(s)) batch.at(i, s) = kNan;
    }
  }
  const Found found = Find(batch);
  for (int64_t s = 0; s < 8; ++s) {
    double mean = 0;
    double present = 0;
    for (int64_t i = 0; i < batch.steps; ++i) {
      if (std::isnan(batch.at(i, s))) continue;
      mean += batch.at(i, s);
      ++present;
    }
    mean /= present;
    double variance = 0;
    double product = 0;
    double pairs = 0;
    for (int64_t i = 0; i < batch.steps; ++i) {
      const double here = batch.at(i, s) - mean;
      if (std::isnan(here)) continue;
      variance += here * here / present;
      const double later = i + kPeriod < batch.steps ? batch.at(i + kPeriod, s) - mean : kNan;
      if (std::isnan(later)) continue;
      product += here * later;
      ++pairs;
    }
    EXPECT_EQ(found.period(s), kPeriod) << s;
    EXPECT_NEAR(found.strength(s), product / pairs / variance, 0.005) << s;
  }
}

TEST_P(Periods, FindsSeveralAndNoHarmonics) {
  Batch batch = Noise(1'200, 10, 0, 2);
  for (int64_t s = 0; s < 10; ++s) {
    for (int64_t i = 0; i < 1'200; ++i) {
      // A saw of period 24 has strong harmonics at 12, 8, 6; a wave of period 7 is its own.
      batch.at(i, s) += static_cast<float>(0.5 * double(i % 24) + 3 * std::sin(Turns(i, 7)));
    }
  }
  const Found found = Find(batch);
  for (int64_t s = 0; s < 10; ++s) EXPECT_EQ(found.all(s), (std::vector<int32_t>{7, 24})) << s;
}

// Weekdays and weekends differ in level and a day has two humps: the day and the week are there,
// the half day and the harmonics of the week are not.
TEST_P(Periods, FindsDayAndWeek) {
  constexpr int kDay = 48;
  Batch batch = Noise(kDay * 7 * 8, 6, 0.5, 4);
  for (int64_t i = 0; i < batch.steps; ++i) {
    const double level = i / kDay % 7 < 5 ? 1 : 0.4;
    const double humps = 3 + std::sin(Turns(i, kDay)) + 0.6 * std::sin(Turns(i, kDay / 2));
    for (int64_t s = 0; s < 6; ++s) batch.at(i, s) += static_cast<float>(4 * level * humps);
  }
  const Found found = Find(batch);
  for (int64_t s = 0; s < 6; ++s) {
    EXPECT_EQ(found.all(s), (std::vector<int32_t>{kDay, 7 * kDay})) << s;
  }
}

// One sample in twelve is high: no harmonic of that is a cycle of its own.
TEST_P(Periods, FindsPulses) {
  Batch batch = Noise(2'016, 20, 0.3, 5);
  for (int64_t s = 0; s < 20; ++s) {
    for (int64_t i = s; i < 2'016; i += 12) batch.at(i, s) += 4;
  }
  const Found found = Find(batch);
  for (int64_t s = 0; s < 20; ++s) EXPECT_EQ(found.all(s), (std::vector<int32_t>{12})) << s;
}

// A job that runs once a day: every harmonic of the day is as strong as the day itself.
TEST_P(Periods, FindsADailySpike) {
  Batch batch = Noise(4'032, 20, 0, 16);
  for (int64_t s = 0; s < 20; ++s) {
    for (int64_t i = 7 * s; i < batch.steps; i += 288) batch.at(i, s) += 15;
  }
  const Found found = Find(batch);
  for (int64_t s = 0; s < 20; ++s) EXPECT_EQ(found.all(s), (std::vector<int32_t>{288})) << s;
}

// Smooth cycles of any shape: the heights and phases of the harmonics are drawn at random.
TEST_P(Periods, FindsCyclesOfAnyShape) {
  constexpr int64_t kSeries = 200;
  Batch batch = Noise(1'000, kSeries, 0, 9);
  std::mt19937 random(10);
  std::normal_distribution<double> normal(0, 1.5);
  std::vector<int32_t> periods(kSeries);
  for (int64_t s = 0; s < kSeries; ++s) {
    const auto period = static_cast<int32_t>(12 + random() % 80);
    periods[static_cast<size_t>(s)] = period;
    for (int harmonic = 1; harmonic <= 5; ++harmonic) {
      const double sine = normal(random) / harmonic;
      const double cosine = normal(random) / harmonic;
      for (int64_t i = 0; i < batch.steps; ++i) {
        const double angle = harmonic * Turns(i, period);
        batch.at(i, s) += static_cast<float>(sine * std::sin(angle) + cosine * std::cos(angle));
      }
    }
  }
  const Found found = Find(batch);
  int right = 0;
  for (int64_t s = 0; s < kSeries; ++s) {
    right += found.period(s) == periods[static_cast<size_t>(s)];
  }
  EXPECT_GE(right, 190);
}

// At a significance of 1 % noise, white or red, whole or with gaps, must not look periodic much
// more often; and it is the significance that decides.
TEST_P(Periods, SaysNoneOfNoise) {
  const auto alarms = [](const Found& found) {
    return std::count_if(found.periods.begin(), found.periods.end(), [](int32_t p) { return p; });
  };
  PeriodArgs args;
  args.max_periods = 1;
  std::mt19937 random(17);
  for (const double red : {0.0, 0.5, 0.9, 0.98}) {
    Batch batch = Noise(1'000, 400, red, 3);
    EXPECT_LE(alarms(Find(batch, args)), 12) << "lag-one correlation " << red;
    for (float& value : batch.values) {
      if (random() % 5 == 0) value = kNan;
    }
    EXPECT_LE(alarms(Find(batch, args)), 12) << "with gaps, lag-one correlation " << red;
  }
  args.significance = 0.9f;
  EXPECT_GE(alarms(Find(Noise(120, 400, 0, 3), args)), 15);
}

// A cycle of a tenth of the variance has hardly a hill of its own in the noise, and its multiples
// have some by chance: it is told by its own period nevertheless, and alone.
TEST_P(Periods, AWeakCycleIsNotTakenForAMultiple) {
  for (const int32_t period : {7, 24, 96}) {
    Batch batch = Noise(2'016, 100, 0, 18);
    for (int64_t i = 0; i < batch.steps; ++i) {
      for (int64_t s = 0; s < 100; ++s) {
        batch.at(i, s) += static_cast<float>(0.47 * std::sin(Turns(i + s, period)));
      }
    }
    const Found found = Find(batch);
    int right = 0;
    for (int64_t s = 0; s < 100; ++s) {
      right += found.period(s, 1) == 0 && std::abs(found.period(s) - period) <= 1 + period / 50;
    }
    EXPECT_GE(right, 95) << period;
  }
}

// Two sines hide each other's hills in the correlation.
TEST_P(Periods, FindsTwoThatHideEachOther) {
  Batch batch = Noise(1'500, 20, 0, 19);
  for (int64_t i = 0; i < batch.steps; ++i) {
    const double both = 3 * std::sin(Turns(i, 100)) + 2 * std::sin(Turns(i, 23));
    for (int64_t s = 0; s < 20; ++s) batch.at(i, s) += static_cast<float>(both);
  }
  const Found found = Find(batch);
  for (int64_t s = 0; s < 20; ++s) EXPECT_EQ(found.all(s), (std::vector<int32_t>{23, 100})) << s;
}

// A shift of level makes the spectrum steep; a cycle stands out of it all the same.
TEST_P(Periods, FindsADayAcrossAShift) {
  Batch batch = Noise(960, 20, 0, 20);
  for (int64_t i = 0; i < batch.steps; ++i) {
    const double load = 8 * std::sin(Turns(i, 24)) + (i < 600 ? 0 : 25);
    for (int64_t s = 0; s < 20; ++s) batch.at(i, s) += static_cast<float>(load);
  }
  const Found found = Find(batch);
  for (int64_t s = 0; s < 20; ++s) EXPECT_EQ(found.all(s), (std::vector<int32_t>{24})) << s;
}

TEST_P(Periods, ACycleWithoutNoiseIsFoundAlone) {
  for (const int64_t steps : {240, 241, 271, 326, 480}) {
    Batch batch(steps, 3);
    for (int64_t i = 0; i < steps; ++i) {
      for (int64_t s = 0; s < 3; ++s) {
        batch.at(i, s) = 5 + 3 * std::sin(static_cast<float>(Turns(i, double(18 + 6 * s))));
      }
    }
    const Found found = Find(batch);
    for (int64_t s = 0; s < 3; ++s) {
      EXPECT_EQ(found.all(s), (std::vector<int32_t>{static_cast<int32_t>(18 + 6 * s)})) << steps;
    }
  }
}

// A line that floats cannot hold exactly leaves a pattern of rounding, which is no cycle.
TEST_P(Periods, ALineHasNone) {
  Batch batch(500, 3);
  for (int64_t i = 0; i < 500; ++i) {
    batch.at(i, 0) = static_cast<float>(i);
    batch.at(i, 1) = 0.1f * static_cast<float>(i);
    batch.at(i, 2) = 1e6f + 0.3f * static_cast<float>(i);
  }
  const Found found = Find(batch);
  for (int64_t s = 0; s < 3; ++s) {
    EXPECT_EQ(found.status[static_cast<size_t>(s)], SeriesStatus::kOk) << s;
    EXPECT_EQ(found.period(s), 0) << s;
  }
}

TEST_P(Periods, NeitherUnitNorLevelMatter) {
  Batch batch = Noise(700, 5, 0, 11);
  for (int64_t i = 0; i < 700; ++i) {
    const auto x = batch.at(i, 0) + static_cast<float>(std::sin(Turns(i, 50)));
    batch.at(i, 0) = x;
    batch.at(i, 1) = 1e30f * x;
    batch.at(i, 2) = 1e-30f * x;
    batch.at(i, 3) = x + 1'000;
    batch.at(i, 4) = -x;
  }
  const Found found = Find(batch);
  EXPECT_NEAR(found.period(0), 50, 1);
  for (int64_t s = 1; s < 5; ++s) {
    EXPECT_EQ(found.period(s), found.period(0)) << s;
    EXPECT_NEAR(found.strength(s), found.strength(0), 1e-3) << s;
  }
}

TEST_P(Periods, KeepsToTheRangeAskedFor) {
  Batch batch = Noise(1'200, 4, 0, 12);
  for (int64_t i = 0; i < 1'200; ++i) {
    const double x = 3 * std::sin(Turns(i, 100)) + 2 * std::sin(Turns(i, 23));
    for (int64_t s = 0; s < 4; ++s) batch.at(i, s) += static_cast<float>(x);
  }
  const auto all = [&](int min_period, int max_period, int max_periods) {
    PeriodArgs args;
    args.min_period = min_period;
    args.max_period = max_period;
    args.max_periods = max_periods;
    return Find(batch, args).all(0);
  };
  EXPECT_EQ(all(2, 0, 3), (std::vector<int32_t>{23, 100}));
  EXPECT_EQ(all(2, 0, 1), (std::vector<int32_t>{100}));
  EXPECT_EQ(all(2, 60, 3), (std::vector<int32_t>{23}));
  EXPECT_EQ(all(30, 0, 2), (std::vector<int32_t>{100}));  // the shorter hides it all the same
  EXPECT_EQ(all(700, 0, 3), (std::vector<int32_t>{}));
}

// Whatever batch a series is part of, and wherever in it: more series than are worked on at a time.
TEST_P(Periods, ASeriesIsIndependentOfTheOthers) {
  constexpr int64_t kSeries = 8'205;
  constexpr int64_t kShift = 3'001;
  Batch batch = Noise(48, kSeries, 0, 13);
  Batch shifted(48, kSeries);
  for (int64_t s = 0; s < kSeries; ++s) {
    for (int64_t i = 0; i < 48; ++i) {
      batch.at(i, s) = 0.2f * batch.at(i, s) + static_cast<float>(std::sin(Turns(i, 6)));
      if (s % 7 == 0 && i % 10 == 3) batch.at(i, s) = kNan;
      shifted.at(i, (s + kShift) % kSeries) = batch.at(i, s);
    }
  }
  const Found found = Find(batch);
  const Found again = Find(shifted);
  int64_t right = 0;
  for (int64_t s = 0; s < kSeries; ++s) {
    right += found.period(s) == 6;
    ASSERT_EQ(found.all(s), again.all((s + kShift) % kSeries)) << s;
    ASSERT_EQ(found.strength(s), again.strength((s + kShift) % kSeries)) << s;
  }
  EXPECT_GE(right, kSeries * 9 / 10);
}

// The twins run one text over different transforms and orders of summation.
TEST_P(Periods, BackendsAgree) {
  std::mt19937 random(14);
  int64_t series = 0;
  int64_t same = 0;
  for (const int64_t steps : {19, 64, 333, 1'000, 2'016}) {
    Batch batch = Noise(steps, 40, 0.5, 15);
    for (int64_t s = 0; s < 40; ++s) {
      const double period = 4 + static_cast<double>(random() % static_cast<uint32_t>(steps / 3));
      const double height = 0.5 * static_cast<double>(random() % 8);
      for (int64_t i = 0; i < steps; ++i) {
        batch.at(i, s) +=
            static_cast<float>(height * std::sin(Turns(i, period)) + 0.01 * double(i));
        if (s % 3 == 0 && random() % 20 == 0) batch.at(i, s) = kNan;
      }
    }
    const Found mine = Find(batch);
    const Found other = FindOn(&ops() == &EmulatedGpuOps() ? CpuOps() : EmulatedGpuOps(), batch);
    EXPECT_EQ(mine.status, other.status);
    for (int64_t s = 0; s < 40; ++s) {
      ++series;
      if (mine.all(s) != other.all(s)) continue;
      ++same;
      for (int64_t k = 0; k < mine.kept; ++k) {
        EXPECT_NEAR(mine.strength(s, k), other.strength(s, k), 1e-4) << steps << ' ' << s;
      }
    }
  }
  EXPECT_GE(same, series * 99 / 100);
}

TEST_P(Periods, BadSeriesAreNamed) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Batch batch(100, 6);
  for (int64_t i = 0; i < 100; ++i) {
    batch.at(i, 1) = 4;
    batch.at(i, 2) = i == 0 ? kInfinity : 0;
    batch.at(i, 3) = i == 99 ? -kInfinity : static_cast<float>(i % 5);
    if (i % 10 == 0) batch.at(i, 4) = static_cast<float>(i % 20);
    batch.at(i, 5) = static_cast<float>(i % 5);
  }
  const Found found = Find(batch);
  EXPECT_EQ(found.status,
            (std::vector{SeriesStatus::kNoData, SeriesStatus::kConstant, SeriesStatus::kNotFinite,
                         SeriesStatus::kNotFinite, SeriesStatus::kTooShort, SeriesStatus::kOk}));
  for (int64_t s = 0; s < 5; ++s) {
    for (int64_t k = 0; k < 3; ++k) {
      EXPECT_EQ(found.period(s, k), 0) << s;
      EXPECT_EQ(found.strength(s, k), 0) << s;
    }
  }
  EXPECT_EQ(found.period(5), 5);
  for (const int64_t steps : {0, 1, 3, 15}) {
    const Found tiny = Find(Batch(steps, 2, 1));
    EXPECT_EQ(tiny.status, (std::vector{SeriesStatus::kTooShort, SeriesStatus::kTooShort}));
    EXPECT_EQ(tiny.periods, std::vector<int32_t>(6));
  }
  EXPECT_EQ(Find(Batch(100, 0)).status.size(), 0u);
}

}  // namespace
}  // namespace foreshadow::kernels
