#include "service/history/window.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <random>

namespace foreshadow {
namespace {

constexpr int64_t kStep = 60'000;

TEST(Window, KeepsTheNewestSteps) {
  Window window(kStep, 3);
  window.Grow(kSignals);
  for (int64_t i = 1; i <= 100; ++i) {
    window.AdvanceTo(i * kStep);
    const Sample sample{0, SignalKind::kCpu, i * kStep, static_cast<float>(i)};
    EXPECT_EQ(window.Write({&sample, 1}), 0);
  }
  const WindowView view = window.view();
  ASSERT_EQ(view.values.steps, 3);
  EXPECT_EQ(view.values.at(0, 0), 98);
  EXPECT_EQ(view.values.at(2, 0), 100);
  EXPECT_EQ(view.at(0, 0), 100);
  EXPECT_TRUE(std::isnan(view.at(3, 0)));
  EXPECT_EQ(view.Before(1).at(0, 0), 99);
  EXPECT_EQ(view.Before(1).end_ms, 99 * kStep);
}

TEST(Window, SkippedStepsAreMissing) {
  Window window(kStep, 10);
  window.Grow(kSignals);
  window.AdvanceTo(1 * kStep);
  window.AdvanceTo(4 * kStep);
  EXPECT_EQ(window.view().values.steps, 4);
  for (int64_t back = 0; back < 4; ++back) EXPECT_TRUE(std::isnan(window.view().at(back, 0)));
  window.AdvanceTo(1'000 * kStep);
  EXPECT_EQ(window.view().values.steps, 1);
}

TEST(Window, AveragesSamplesOfOneStepThatComeTogether) {
  Window window(kStep, 4);
  window.Grow(kSignals);
  window.AdvanceTo(5 * kStep);
  const std::vector<Sample> samples = {{0, SignalKind::kCpu, 5 * kStep + 10'000, 1},
                                       {0, SignalKind::kMemory, 5 * kStep, 7},
                                       {0, SignalKind::kCpu, 5 * kStep + 50'000, 3}};
  EXPECT_EQ(window.Write(samples), 0);
  EXPECT_EQ(window.view().at(0, 0), 2);
  EXPECT_EQ(window.view().at(0, 1), 7);
}

TEST(Window, CountsWhatFallsOutside) {
  Window window(kStep, 4);
  window.Grow(kSignals);
  window.AdvanceTo(5 * kStep);
  const std::vector<Sample> samples = {{0, SignalKind::kCpu, 4 * kStep, 1},
                                       {0, SignalKind::kCpu, 6 * kStep, 1},
                                       {7, SignalKind::kCpu, 5 * kStep, 1}};
  EXPECT_EQ(window.Write(samples), 3);
}

// Against a plain map, with growth, gaps, late samples and jumps drawn at random.
TEST(Window, AgreesWithAMap) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 50; ++round) {
    const int64_t steps_max = 1 + static_cast<int64_t>(random() % 20);
    Window window(kStep, steps_max);
    std::map<std::pair<int64_t, int64_t>, float> truth;  // (step, series)
    int32_t accounts = 1;
    int64_t now = 100;
    window.Grow(accounts * kSignals);
    window.AdvanceTo(now * kStep);
    for (int tick = 0; tick < 100; ++tick) {
      if (random() % 5 == 0) window.Grow(++accounts * kSignals);
      now += static_cast<int64_t>(random() % 3);
      window.AdvanceTo(now * kStep);
      for (int i = 0; i < 5; ++i) {
        const Sample sample{static_cast<int32_t>(random() % accounts),
                            static_cast<SignalKind>(random() % kSignals),
                            (now - static_cast<int64_t>(random() % 25)) * kStep,
                            static_cast<float>(random() % 1000)};
        const bool outside = window.Write({&sample, 1}) == 1;
        if (!outside)
          truth[{sample.time_ms / kStep, SeriesOf(sample.account, sample.signal)}] = sample.value;
      }
      const WindowView view = window.view();
      for (int64_t back = 0; back < view.values.steps; ++back) {
        for (int64_t series = 0; series < accounts * kSignals; ++series) {
          const auto it = truth.find({now - back, series});
          const float value = view.at(back, series);
          if (it == truth.end()) {
            ASSERT_TRUE(std::isnan(value));
          } else {
            ASSERT_EQ(value, it->second);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace foreshadow
