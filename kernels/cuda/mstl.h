// MSTL on the GPU.
#pragma once

#include <algorithm>

#include "kernels/algo/mstl.h"
#include "kernels/check.h"
#include "kernels/cuda/drivers.h"

namespace foreshadow::kernels::cuda {

template <typename Device>
size_t MstlWorkspaceBytes(const MstlArgs& args) {
  size_t most = 0;
  for (const StlParams& season : args.seasons) {
    most = std::max(most,
                    StlWorkspaceBytes<Device>(season, args.observed.steps, args.observed.series));
  }
  return MstlBytes(args.observed.steps, args.observed.series, most);
}

template <typename F>
struct Cell {
  int64_t series;
  F f;
  FORESHADOW_PORTABLE void operator()(int64_t i) const { f(i / series, i % series); }
};

template <typename Device>
struct MstlBackend {
  static void Stl(const StlArgs& args) { cuda::Stl<Device>(args); }
  template <typename F>
  static void ForCells(const MstlArgs& args, int64_t steps, F f) {
    Device::ForEach(steps * args.observed.series, args.stream, Cell<F>{args.observed.series, f});
  }
};

template <typename Device>
void Mstl(const MstlArgs& args) {
  FORESHADOW_CHECK(CheckMstl(args.seasons, args.observed.steps).empty() && args.iterations >= 1);
  FORESHADOW_CHECK(args.workspace.size() >= MstlWorkspaceBytes<Device>(args));
  RunMstl<MstlBackend<Device>>(args);
}

}  // namespace foreshadow::kernels::cuda
