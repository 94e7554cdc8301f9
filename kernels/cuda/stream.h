// The streaming update on the GPU, a thread a series: neighbouring threads touch neighbouring
// columns of the same rows, since the rows of a tick are the same for all series.
#pragma once

#include "kernels/algo/stream.h"
#include "kernels/algo/stream_checks.h"

namespace foreshadow::kernels::cuda {

template <typename Device>
void StreamStart(const StreamStartArgs& args) {
  CheckStreamStart(args);
  Device::ForEach(args.observed.series, args.stream,
                  [args] FORESHADOW_PORTABLE(int64_t s) { StreamStartOf(args, s); });
}

template <typename Device>
void StreamUpdate(const StreamUpdateArgs& args) {
  CheckStreamUpdate(args);
  Device::ForEach(args.state.series, args.stream,
                  [args] FORESHADOW_PORTABLE(int64_t s) { StreamUpdateOf(args, s); });
}

template <typename Device>
void StreamStray(const StreamStrayArgs& args) {
  CheckStreamStray(args);
  Device::ForEach(args.state.series, args.stream,
                  [args] FORESHADOW_PORTABLE(int64_t s) { StreamStrayOf(args, s); });
}

}  // namespace foreshadow::kernels::cuda
