#include "service/plan/cost.h"

#include <algorithm>
#include <cmath>

namespace foreshadow {
namespace {

constexpr double kZNone = 6;  // so many deviations below capacity nothing is exceeded
constexpr double kSqrt2 = 1.4142135623730951;
constexpr double kInverseSqrt2Pi = 0.3989422804014327;

struct Tail {
  double chance = 0;  // P(X > capacity)
  double excess = 0;  // E[max(0, X - capacity)]
};

Tail TailOf(double capacity, double mean, double deviation) {
  if (capacity <= 0) return {};
  if (deviation <= 0) return {mean > capacity ? 1.0 : 0.0, std::max(0.0, mean - capacity)};
  const double z = (capacity - mean) / deviation;
  if (z > kZNone) return {};
  const double chance = 0.5 * std::erfc(z / kSqrt2);
  const double density = kInverseSqrt2Pi * std::exp(-0.5 * z * z);
  return {chance, std::max(0.0, deviation * (density - z * chance))};
}

}  // namespace

double ExpectedExcess(double capacity, double mean, double deviation) {
  return TailOf(capacity, mean, deviation).excess;
}

double StepCost(const CostModel& model, int32_t cell, const CellForecast& forecast, int step) {
  const Resources& capacity = model.fleet.cells[cell].capacity;
  const double cores = capacity[0] > 0 ? capacity[0] : 1;
  double share = 0;   // of the cell, that is asked for in vain
  double chance = 0;  // of any overload, at least that of the worst resource
  for (int r = 0; r < kResources; ++r) {
    if (capacity[r] <= 0) continue;
    const double deviation = std::sqrt(std::max(0.0, forecast.variance[r][step])) *
                             Widening(model.errors, cell, r, step);
    const Tail tail = TailOf(capacity[r], forecast.mean[r][step], deviation);
    share += tail.excess / capacity[r];
    chance = std::max(chance, tail.chance);
  }
  return model.step_hours * cores *
         (model.settings.unserved_cost * share + model.settings.overloaded_cost * chance);
}

double Cost(const CostModel& model, int32_t cell, const CellForecast& forecast, int first,
            int last) {
  double cost = 0;
  for (int step = first; step < std::min(last, forecast.steps); ++step) {
    cost += StepCost(model, cell, forecast, step);
  }
  return cost;
}

}  // namespace foreshadow
