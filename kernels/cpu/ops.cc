#include "kernels/ops.h"

#include <hwy/highway.h>

#include <string>

#include "kernels/algo/mstl.h"
#include "kernels/algo/stl_plan.h"
#include "kernels/cpu/lstm.h"
#include "kernels/cpu/numbers.h"
#include "kernels/cpu/patterns.h"
#include "kernels/cpu/scores.h"
#include "kernels/cpu/stl.h"
#include "kernels/cpu/stream.h"
#include "kernels/host_memory.h"

namespace foreshadow::kernels {
namespace {

// Of the targets that are compiled in and this machine has, Highway runs the one with the lowest
// bit.
std::string Name() {
  const auto targets = hwy::SupportedTargets() & HWY_TARGETS;
  return std::string("cpu ") + hwy::TargetName(targets & -targets);
}

}  // namespace

const Ops& CpuOps() {
  static const std::string name = Name();
  static const Ops ops = [] {
    Ops filled{};
    filled.name = name;
    SetHostMemory(filled);
    filled.stl_check = CheckStl;
    filled.stl_workspace_bytes = cpu::StlWorkspaceBytes;
    filled.stl = cpu::Stl;
    filled.mstl_check = CheckMstl;
    filled.mstl_workspace_bytes = cpu::MstlWorkspaceBytes;
    filled.mstl = cpu::Mstl;
    filled.periods_workspace_bytes = cpu::PeriodsWorkspaceBytes;
    filled.periods = cpu::Periods;
    filled.events_workspace_bytes = cpu::EventsWorkspaceBytes;
    filled.events = cpu::Events;
    filled.lags_workspace_bytes = cpu::LagsWorkspaceBytes;
    filled.lags = cpu::Lags;
    filled.lag_pool = cpu::LagPool;
    filled.pinball = cpu::Pinball;
    filled.naive_scale = cpu::NaiveScale;
    filled.mase = cpu::Mase;
    filled.gather = cpu::Gather;
    filled.deseason = cpu::Deseason;
    filled.stream_start_workspace_bytes = cpu::StreamStartWorkspaceBytes;
    filled.stream_start = cpu::StreamStart;
    filled.stream_update = cpu::StreamUpdate;
    filled.stream_stray = cpu::StreamStray;
    filled.lstm_advance = cpu::LstmAdvance;
    filled.lstm_describe = cpu::LstmDescribe;
    filled.lstm_step_workspace_bytes = cpu::LstmStepWorkspaceBytes;
    filled.lstm_step = cpu::LstmStep;
    filled.rolling_quantiles_workspace_bytes = cpu::RollingQuantilesWorkspaceBytes;
    filled.rolling_quantiles = cpu::RollingQuantiles;
    filled.autoregression_workspace_bytes = cpu::AutoregressionWorkspaceBytes;
    filled.autoregression = cpu::Autoregression;
    return filled;
  }();
  return ops;
}

}  // namespace foreshadow::kernels
