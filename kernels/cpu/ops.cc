#include "kernels/ops.h"

#include "kernels/algo/stl_plan.h"
#include "kernels/cpu/patterns.h"
#include "kernels/cpu/stl.h"

namespace foreshadow::kernels {
namespace {

std::string_view Level() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("x86-64-v4")) return "cpu x86-64-v4";
  if (__builtin_cpu_supports("x86-64-v3")) return "cpu x86-64-v3";
#endif
  return "cpu";
}

}  // namespace

const Ops& CpuOps() {
  static const Ops ops = {
      .name = Level(),
      .stl_check = CheckStl,
      .stl_workspace_bytes = cpu::StlWorkspaceBytes,
      .stl = cpu::Stl,
      .periods_workspace_bytes = cpu::PeriodsWorkspaceBytes,
      .periods = cpu::Periods,
      .spikes_workspace_bytes = cpu::SpikesWorkspaceBytes,
      .spikes = cpu::Spikes,
      .lags_workspace_bytes = cpu::LagsWorkspaceBytes,
      .lags = cpu::Lags,
  };
  return ops;
}

}  // namespace foreshadow::kernels
