// How often Ops::periods finds a cycle in noise, and the right one in what has one or two.
//
//   build/release/bin/periods_accuracy
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <numbers>
#include <random>
#include <utility>
#include <vector>

#include "kernels/ops.h"
#include "training/workspace.h"

namespace foreshadow {
namespace {

constexpr int kKept = 3;

struct Batch {
  int64_t steps;
  int64_t series;
  std::vector<float> values = std::vector<float>(static_cast<size_t>(steps * series));

  float& at(int64_t step, int64_t s) { return values[static_cast<size_t>(step * series + s)]; }
};

// [series][kKept]
std::vector<int32_t> Find(Batch& batch) {
  const kernels::Ops& ops = kernels::CpuOps();
  const auto series = static_cast<size_t>(batch.series);
  std::vector<int32_t> periods(series * kKept);
  std::vector<float> strengths(series * kKept);
  std::vector<kernels::SeriesStatus> status(series);
  kernels::PeriodArgs args;
  args.observed = {batch.values.data(), batch.steps, batch.series, batch.series};
  args.max_periods = kKept;
  args.periods = periods;
  args.strengths = strengths;
  args.status = status;
  training::Workspace workspace(ops.periods_workspace_bytes(args));
  args.workspace = workspace.span();
  ops.periods(args);
  return periods;
}

bool IsNear(int32_t found, int64_t period) {
  return std::abs(found - period) <= std::max<int64_t>(1, period / 50);
}

double Percent(int64_t count, int64_t of) {
  return 100 * static_cast<double>(count) / static_cast<double>(of);
}

class Trial {
 public:
  double Normal() { return normal_(random_); }
  int64_t Below(uint32_t bound) { return random_() % bound; }

  // Of so many series of AR(1) noise of lag-one correlation `red`, those in which a cycle is found.
  double FalseAlarms(int64_t steps, double red, bool gaps) {
    Batch batch{steps, 4'000};
    for (int64_t s = 0; s < batch.series; ++s) {
      double x = Normal();
      for (int64_t i = 0; i < steps; ++i) {
        const bool missing = gaps && Below(5) == 0;
        batch.at(i, s) = missing ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(x);
        x = red * x + std::sqrt(1 - red * red) * Normal();
      }
    }
    const std::vector<int32_t> found = Find(batch);
    int64_t alarms = 0;
    for (size_t first = 0; first < found.size(); first += kKept) alarms += found[first] != 0;
    return Percent(alarms, batch.series);
  }

  // Of 400 sines with that share of the variance, in white noise, those found; and nothing else.
  double Right(int64_t steps, int64_t period, double share) {
    Batch batch{steps, 400};
    const double height = std::sqrt(2 * share / (1 - share));
    for (int64_t s = 0; s < batch.series; ++s) {
      const int64_t phase = Below(1'000);
      for (int64_t i = 0; i < steps; ++i) {
        batch.at(i, s) = static_cast<float>(height * Sine(i + phase, period) + Normal());
      }
    }
    const std::vector<int32_t> found = Find(batch);
    int64_t right = 0;
    for (size_t first = 0; first < found.size(); first += kKept) {
      right += IsNear(found[first], period) && found[first + 1] == 0;
    }
    return Percent(right, batch.series);
  }

  // Of 400 pairs of sines in white noise: one of them found, both found.
  std::pair<double, double> RightOfTwo(int64_t steps) {
    constexpr int64_t kTrials = 400;
    int64_t one = 0;
    int64_t both = 0;
    for (int64_t trial = 0; trial < kTrials;) {
      const int64_t first = 5 + Below(60);
      const int64_t second = 5 + Below(150);
      const double ratio = static_cast<double>(second) / static_cast<double>(first);
      if (ratio > 0.8 && ratio < 1.2) continue;
      ++trial;
      Batch batch{steps, 1};
      for (int64_t i = 0; i < steps; ++i) {
        const double waves = 1.5 * Sine(i, first) + 1.2 * Sine(i, second);
        batch.at(i, 0) = static_cast<float>(waves + Normal());
      }
      const std::vector<int32_t> found = Find(batch);
      const auto has = [&](int64_t period) {
        return std::any_of(found.begin(), found.end(),
                           [&](int32_t p) { return p != 0 && IsNear(p, period); });
      };
      one += has(first) || has(second);
      both += has(first) && has(second);
    }
    return {Percent(one, kTrials), Percent(both, kTrials)};
  }

 private:
  static double Sine(int64_t step, int64_t period) {
    return std::sin(2 * std::numbers::pi * static_cast<double>(step) / static_cast<double>(period));
  }

  std::mt19937 random_{5};
  std::normal_distribution<double> normal_;
};

void Print() {
  Trial trial;
  std::printf("false alarms, %% of series  white  AR 0.5  AR 0.9  AR 0.98\n");
  for (const bool gaps : {false, true}) {
    for (const int64_t steps : {100, 300, 1'000, 2'016}) {
      std::printf("%5d steps%-16s", static_cast<int>(steps), gaps ? ", a fifth missing" : "");
      for (const double red : {0.0, 0.5, 0.9, 0.98}) {
        std::printf(" %6.2f", trial.FalseAlarms(steps, red, gaps));
      }
      std::printf("\n");
    }
  }
  std::printf("right, %% of series; share of the variance:  0.05  0.1  0.2  0.4  0.8\n");
  for (const int64_t steps : {300, 1'000, 2'016}) {
    for (const int64_t period : {7, 24, 96}) {
      std::printf("%5d steps, period %2d", static_cast<int>(steps), static_cast<int>(period));
      for (const double share : {0.05, 0.1, 0.2, 0.4, 0.8}) {
        std::printf(" %6.1f", trial.Right(steps, period, share));
      }
      std::printf("\n");
    }
  }
  const auto [one, both] = trial.RightOfTwo(1'500);
  std::printf("two sines, %% of series: one found %.1f, both %.1f\n", one, both);
}

}  // namespace
}  // namespace foreshadow

int main() { foreshadow::Print(); }
