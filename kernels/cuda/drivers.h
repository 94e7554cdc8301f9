// The operations of a device of this folder, for its table. Each is written once over the device
// that launches it and instantiated in a file of its own.
#pragma once

#include "kernels/algo/mstl.h"
#include "kernels/algo/stl_plan.h"
#include "kernels/ops.h"

namespace foreshadow::kernels::cuda {

template <typename Device>
size_t StlWorkspaceBytes(const StlParams& params, int64_t steps, int64_t series);
template <typename Device>
void Stl(const StlArgs& args);
template <typename Device>
size_t MstlWorkspaceBytes(const MstlArgs& args);
template <typename Device>
void Mstl(const MstlArgs& args);
template <typename Device>
size_t PeriodsWorkspaceBytes(const PeriodArgs& args);
template <typename Device>
void Periods(const PeriodArgs& args);
template <typename Device>
size_t EventsWorkspaceBytes(const EventArgs& args);
template <typename Device>
void Events(const EventArgs& args);
template <typename Device>
void Lags(const LagArgs& args);
template <typename Device>
void LagPool(const LagPoolArgs& args);
template <typename Device>
void Pinball(const PinballArgs& args);
template <typename Device>
void NaiveScale(const NaiveScaleArgs& args);
template <typename Device>
void Mase(const MaseArgs& args);

template <typename Device>
void Gather(const GatherArgs& args);
template <typename Device>
void Deseason(const DeseasonArgs& args);

template <typename Device>
void StreamStart(const StreamStartArgs& args);
template <typename Device>
void StreamUpdate(const StreamUpdateArgs& args);
template <typename Device>
void StreamStray(const StreamStrayArgs& args);
template <typename Device>
void LstmAdvance(const LstmAdvanceArgs& args);
template <typename Device>
void LstmDescribe(const LstmDescribeArgs& args);
template <typename Device>
void LstmStep(const LstmStepArgs& args);
template <typename Device>
size_t RollingQuantilesWorkspaceBytes(const RollingQuantileArgs& args);
template <typename Device>
void RollingQuantiles(const RollingQuantileArgs& args);

template <typename Device>
size_t AutoregressionWorkspaceBytes(const AutoregressionArgs& args);
template <typename Device>
void Autoregression(const AutoregressionArgs& args);

template <typename Device>
void SetDrivers(Ops& ops) {
  ops.stl_check = CheckStl;
  ops.stl_workspace_bytes = StlWorkspaceBytes<Device>;
  ops.stl = Stl<Device>;
  ops.mstl_check = CheckMstl;
  ops.mstl_workspace_bytes = MstlWorkspaceBytes<Device>;
  ops.mstl = Mstl<Device>;
  ops.periods_workspace_bytes = PeriodsWorkspaceBytes<Device>;
  ops.periods = Periods<Device>;
  ops.events_workspace_bytes = EventsWorkspaceBytes<Device>;
  ops.events = Events<Device>;
  ops.lags_workspace_bytes = [](const LagArgs&) { return size_t{0}; };
  ops.lags = Lags<Device>;
  ops.lag_pool = LagPool<Device>;
  ops.pinball = Pinball<Device>;
  ops.naive_scale = NaiveScale<Device>;
  ops.mase = Mase<Device>;
  ops.gather = Gather<Device>;
  ops.deseason = Deseason<Device>;
  ops.stream_start_workspace_bytes = [](const StreamStartArgs&) { return size_t{0}; };
  ops.stream_start = StreamStart<Device>;
  ops.stream_update = StreamUpdate<Device>;
  ops.stream_stray = StreamStray<Device>;
  ops.lstm_advance = LstmAdvance<Device>;
  ops.lstm_describe = LstmDescribe<Device>;
  ops.lstm_step_workspace_bytes = [](const LstmModel&, int) { return size_t{0}; };
  ops.lstm_step = LstmStep<Device>;
  ops.rolling_quantiles_workspace_bytes = RollingQuantilesWorkspaceBytes<Device>;
  ops.rolling_quantiles = RollingQuantiles<Device>;
  ops.autoregression_workspace_bytes = AutoregressionWorkspaceBytes<Device>;
  ops.autoregression = Autoregression<Device>;
}

}  // namespace foreshadow::kernels::cuda
