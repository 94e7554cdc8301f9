#include "kernels/algo/events.h"

#include <algorithm>

#include "kernels/check.h"

namespace foreshadow::kernels {
namespace {

// Height that |noise| passes with the chance; by Newton's method on the normal tail, which is
// convex: from 0 it climbs to the root and never past it, by about 1 / z a step.
double NormalHeight(double chance) {
  constexpr int kStepsMax = 1'000;  // z = 38, where the tail leaves double, takes 720
  double z = 0;
  for (int i = 0; i < kStepsMax; ++i) {
    const double tail = std::erfc(z / std::sqrt(2.0));
    const double density = std::sqrt(2 / 3.14159265358979) * std::exp(-z * z / 2);
    const double step = (tail - chance) / density;
    z += step;
    if (std::abs(step) < 1e-9) break;
  }
  return z;
}

// The same when the deviation is itself an estimate, as good as one from so many differences: a
// normal height turned into Student's (Wallace 1959).
double StudentHeight(double chance, double freedom) {
  const double z = NormalHeight(chance);
  const double shrink = (8 * freedom + 1) / (8 * freedom + 3);
  const double r = z / (std::sqrt(freedom) * shrink);
  return std::sqrt(freedom * std::expm1(r * r));
}

}  // namespace

EventPlan PlanEvents(const EventArgs& args) {
  EventPlan plan;
  plan.steps = args.remainder.steps;
  plan.false_alarms = args.false_alarms;
  plan.spike_height = static_cast<float>(NormalHeight(args.false_alarms));
  const int64_t blocks = plan.steps / kBlock;
  const int64_t differences = blocks - 2 * kBlock + 1;
  if (args.shift_false_alarms == 0 || differences < kDifferencesMin) return plan;
  plan.blocks = blocks;
  plan.differences = differences;
  plan.shifts_max = static_cast<int32_t>(blocks / kBlocksAShift);
  // Neighbouring differences share samples: of 33 steps' worth one is new (their squared
  // correlation sums to two thirds of a level), and a MAD is worth 0.37 of a deviation. Where that
  // leaves few, six are enough: Bonferroni's bound has room, as noise shows
  // (docs/kernels-patterns).
  const double freedom = std::max(6.0, 0.37 * static_cast<double>(differences * kBlock) / 33);
  plan.shift_height = static_cast<float>(
      StudentHeight(args.shift_false_alarms / static_cast<double>(differences), freedom));
  return plan;
}

void CheckEvents(const EventArgs& args) {
  const auto series = static_cast<size_t>(args.remainder.series);
  FORESHADOW_CHECK(args.remainder.steps >= 0 && args.remainder.steps < INT32_MAX);
  FORESHADOW_CHECK(args.remainder.series >= 0 && args.remainder.series < INT32_MAX);
  FORESHADOW_CHECK(args.level.data == nullptr || (args.level.steps == args.remainder.steps &&
                                                  args.level.series == args.remainder.series));
  FORESHADOW_CHECK(args.scale.size() == series && args.threshold.size() == series);
  FORESHADOW_CHECK(args.status.size() == series && args.events_count != nullptr);
  FORESHADOW_CHECK(args.false_alarms > 0 && args.false_alarms < 1);
  FORESHADOW_CHECK(args.shift_false_alarms >= 0 && args.shift_false_alarms < 1);
}

}  // namespace foreshadow::kernels
