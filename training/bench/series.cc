#include "training/bench/series.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <random>

#include "kernels/algo/round_up.h"

namespace foreshadow::training {
namespace {

constexpr double kNoiseKept = 0.7;          // of a step's noise that lasts into the next
constexpr double kSpikeChance = 1.0 / 500;  // a step

void MakeColumn(const Shape& shape, int64_t column, std::mt19937_64& random, SeriesSet& set) {
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  const double level = std::exp(normal(random));
  const double day = level * (0.2 + 0.6 * uniform(random));
  const double half_day = 0.4 * day * uniform(random);
  const double phase = uniform(random);
  const double noise_sd = level * (0.03 + 0.07 * uniform(random));
  const double slope = 0.2 * level * normal(random) / static_cast<double>(shape.steps);

  std::vector<double> shocks(static_cast<size_t>(shape.steps + kLeadSteps));
  for (double& shock : shocks) shock = noise_sd * normal(random);

  double noise = 0;
  double wander = 0;
  double spike = 0;
  for (int64_t step = 0; step < shape.steps; ++step) {
    const double turn = static_cast<double>(step % shape.period) / shape.period + phase;
    const double angle = 2 * std::numbers::pi * turn;
    noise = kNoiseKept * noise + shocks[static_cast<size_t>(step)];
    wander += 0.02 * noise_sd * normal(random);
    spike = uniform(random) < kSpikeChance ? level * (0.5 + uniform(random)) : 0.5 * spike;
    const double seasonal = day * std::sin(angle) + half_day * std::cos(2 * angle);
    const double trend = 2 * level + slope * static_cast<double>(step) + wander;
    const auto at = static_cast<size_t>(step * set.stride + column);
    set.remainder[at] = static_cast<float>(noise + spike);
    set.observed[at] = static_cast<float>(seasonal + trend + noise + spike);
    // The shock that reaches `observed` kLeadSteps later.
    set.leader[at] = static_cast<float>(shocks[static_cast<size_t>(step + kLeadSteps)]);
  }
}

}  // namespace

SeriesSet MakeSeries(const Shape& shape, uint64_t seed) {
  SeriesSet set;
  set.steps = shape.steps;
  set.series = shape.series;
  set.stride = kernels::RoundUp(shape.series, kColumnsAlign);
  for (auto* values : {&set.observed, &set.leader, &set.remainder}) {
    values->assign(static_cast<size_t>(set.steps * set.stride), 0);
  }
  for (int64_t column = 0; column < shape.series; ++column) {
    // A column does not depend on how many there are: a peer that gets few gets the same ones.
    std::seed_seq seeds{seed, static_cast<uint64_t>(column)};
    std::mt19937_64 random(seeds);
    MakeColumn(shape, column, random, set);
  }
  return set;
}

}  // namespace foreshadow::training
