// The LSTM's features on the GPU: a thread a series, whose neighbours read and write neighbouring
// floats.
#pragma once

#include "kernels/algo/lstm_features.h"

namespace foreshadow::kernels::cuda {

template <typename Device>
void LstmAdvance(const LstmAdvanceArgs& args) {
  lstm::CheckLstmPast(args.past);
  Device::ForEach(args.past.width, args.stream,
                  [=] FORESHADOW_PORTABLE(int64_t s) { lstm::AdvanceTile<1>(args, s); });
}

template <typename Device>
void LstmDescribe(const LstmDescribeArgs& args) {
  lstm::CheckLstmDescribe(args);
  Device::ForEach(args.count, args.stream, [=] FORESHADOW_PORTABLE(int64_t i) {
    lstm::DescribeTile<1>(args, args.first + i);
  });
}

}  // namespace foreshadow::kernels::cuda
