// Histories for the LSTM's states, and how far two answers are apart.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "models/lstm/runner.h"
#include "models/torch/lstm_network.h"

namespace foreshadow::models::testing {

inline constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
inline constexpr int64_t kStepMs = 300'000;
inline constexpr int64_t kStartMs = 1'700'000'100'000;  // of the step before the first
inline constexpr int kSteps = 12;

inline LstmCard Card(int window_steps, int hidden = 64) {
  LstmCard card;
  card.hidden = hidden;
  card.layers = 2;
  card.window_steps = window_steps;
  card.spec.horizon_steps = 48;
  card.applications = {"web", "batch"};
  return card;
}

// A network of the card, untrained, and what runs it.
inline void MakeNetwork(const LstmCard& card, std::unique_ptr<LstmNetwork>& network,
                        LstmRunner& runner) {
  auto made = LstmNetwork::Create(card.shape(), 3, 1);
  ASSERT_TRUE(made.ok()) << made.status();
  network = *std::move(made);
  auto made_runner = MakeLstmRunner(card, network->Weights());
  ASSERT_TRUE(made_runner.ok()) << made_runner.status();
  runner = *std::move(made_runner);
}

// Series of daily waves and noise of any size, some with gaps.
struct World {
  int64_t steps;
  int64_t series;
  std::vector<float> values;
  std::vector<SignalKind> signals;
  std::vector<int32_t> periods;
  std::vector<int32_t> applications;
  std::vector<std::string> names = {"batch", "other", "web"};
  std::vector<Driver> drivers;

  World(int64_t steps_count, int64_t series_count)
      : steps(steps_count),
        series(series_count),
        values(static_cast<size_t>(steps * series)),
        periods(static_cast<size_t>(series), 288) {
    std::mt19937 random(5);
    std::normal_distribution<float> normal(0, 1);
    for (int64_t s = 0; s < series; ++s) {
      const float size = std::exp(normal(random) * 3);
      for (int64_t t = 0; t < steps; ++t) {
        const float wave = std::sin(static_cast<float>(t + s) * 6.2832f / 288);
        const bool gap = s % 7 == 3 && random() % 5 == 0;
        values[t * series + s] = gap ? kMissing : size * (6 + 2 * wave + normal(random));
      }
      signals.push_back(static_cast<SignalKind>(s % kSignalKinds));
      applications.push_back(static_cast<int32_t>(s / 5 % 4) - 1);
      // The account's mutation rate, and for one series something far away.
      const bool driven = s % kSignalKinds == 0 && s + 4 < series;
      drivers.push_back(driven ? Driver{static_cast<int32_t>(s + 4), 2, 0.5f} : Driver{});
    }
    drivers[1] = {static_cast<int32_t>(series - 1), 1, 0.3f};
  }

  // The first `count` series up to a step, of the last `length` steps (0 = all).
  History Until(int64_t end, int64_t count, int64_t length = 0) const {
    const int64_t first = length == 0 ? 0 : end - length;
    const auto n = static_cast<size_t>(count);
    return {kStartMs + end * kStepMs,
            kStepMs,
            {values.data() + first * series, end - first, count, series},
            std::span(signals).first(n),
            std::span(periods).first(n),
            std::span(applications).first(n),
            names,
            count == series ? std::span<const Driver>(drivers) : std::span<const Driver>()};
  }
};

// Largest difference of two blocks' answers, in deviations of the series (a step's spread).
inline double Difference(const QuantileBlock& a, const QuantileBlock& b, int64_t first,
                         int64_t end) {
  double worst = 0;
  EXPECT_EQ(a.steps, b.steps);
  for (int64_t s = first; s < end; ++s) {
    EXPECT_EQ(a.status[s], b.status[s]) << s;
    if (a.status[s] != ForecastStatus::kOk) continue;
    for (int step = 0; step < a.steps; ++step) {
      const double spread = 1e-30 + a.at(s, step)[kQuantiles - 1] - a.at(s, step)[0];
      for (int q = 0; q < kQuantiles; ++q) {
        worst = std::max(worst, std::fabs(a.at(s, step)[q] - b.at(s, step)[q]) / spread);
      }
    }
  }
  return worst;
}

}  // namespace foreshadow::models::testing
