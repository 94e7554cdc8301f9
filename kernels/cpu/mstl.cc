#include "kernels/algo/mstl.h"

#include <algorithm>

#include "kernels/check.h"
#include "kernels/cpu/stl.h"

namespace foreshadow::kernels::cpu {
namespace {

struct Backend {
  static void Stl(const StlArgs& args) { cpu::Stl(args); }
  template <typename F>
  static void ForCells(const MstlArgs& args, int64_t steps, F f) {
    for (int64_t step = 0; step < steps; ++step) {
      for (int64_t s = 0; s < args.observed.series; ++s) f(step, s);
    }
  }
};

}  // namespace

size_t MstlWorkspaceBytes(const MstlArgs& args) {
  size_t most = 0;
  for (const StlParams& season : args.seasons) {
    most = std::max(most, StlWorkspaceBytes(season, args.observed.steps, args.observed.series));
  }
  return MstlBytes(args.observed.steps, args.observed.series, most);
}

void Mstl(const MstlArgs& args) {
  FORESHADOW_CHECK(CheckMstl(args.seasons, args.observed.steps).empty() && args.iterations >= 1);
  FORESHADOW_CHECK(args.workspace.size() >= MstlWorkspaceBytes(args));
  RunMstl<Backend>(args);
}

}  // namespace foreshadow::kernels::cpu
