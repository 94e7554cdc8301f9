#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/lstm_features.cc"
#include "kernels/algo/lstm_features.h"

#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/lstm.h"

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu::HWY_NAMESPACE {
namespace {

void Advance(const LstmAdvanceArgs& args) {
  for (int64_t first = 0; first < args.past.width; first += kLstmTile) {
    lstm::AdvanceTile<kLstmTile>(args, first);
  }
}

void Describe(const LstmDescribeArgs& args) {
  for (int64_t first = args.first; first < args.first + args.count; first += kLstmTile) {
    lstm::DescribeTile<kLstmTile>(args, first);
  }
}

}  // namespace
}  // namespace foreshadow::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace foreshadow::kernels::cpu {

HWY_EXPORT(Advance);
HWY_EXPORT(Describe);

void LstmAdvance(const LstmAdvanceArgs& args) {
  lstm::CheckLstmPast(args.past);
  HWY_DYNAMIC_DISPATCH(Advance)(args);
}

void LstmDescribe(const LstmDescribeArgs& args) {
  lstm::CheckLstmDescribe(args);
  HWY_DYNAMIC_DISPATCH(Describe)(args);
}

}  // namespace foreshadow::kernels::cpu

#endif  // HWY_ONCE
