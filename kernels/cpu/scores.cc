#include "kernels/cpu/scores.h"

#include "kernels/algo/scores.h"
#include "kernels/check.h"

namespace foreshadow::kernels::cpu {

void Pinball(const PinballArgs& args) {
  FORESHADOW_CHECK(args.actual.steps == args.forecast.steps);
  FORESHADOW_CHECK(args.actual.series == args.forecast.series);
  FORESHADOW_CHECK(std::ssize(args.loss) == args.actual.series);
  FORESHADOW_CHECK(args.level >= 0 && args.level <= 1);
  for (int64_t s = 0; s < args.actual.series; ++s) args.loss[s] = PinballOf(args, s);
}

void NaiveScale(const NaiveScaleArgs& args) {
  FORESHADOW_CHECK(args.season >= 1 && std::ssize(args.scale) == args.past.series);
  for (int64_t s = 0; s < args.past.series; ++s) args.scale[s] = NaiveScaleOf(args, s);
}

void Mase(const MaseArgs& args) {
  FORESHADOW_CHECK(args.actual.steps == args.forecast.steps);
  FORESHADOW_CHECK(args.actual.series == args.forecast.series);
  FORESHADOW_CHECK(std::ssize(args.scale) == args.actual.series);
  FORESHADOW_CHECK(std::ssize(args.mase) == args.actual.series);
  for (int64_t s = 0; s < args.actual.series; ++s) args.mase[s] = MaseOf(args, s);
}

}  // namespace foreshadow::kernels::cpu
