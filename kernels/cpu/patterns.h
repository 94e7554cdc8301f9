// Periods, events and lagged correlation on the CPU. See kernels/ops.h for the contracts.
#pragma once

#include "kernels/ops.h"

namespace foreshadow::kernels::cpu {

size_t PeriodsWorkspaceBytes(const PeriodArgs& args);
void Periods(const PeriodArgs& args);

size_t EventsWorkspaceBytes(const EventArgs& args);
void Events(const EventArgs& args);

size_t LagsWorkspaceBytes(const LagArgs& args);
void Lags(const LagArgs& args);
void LagPool(const LagPoolArgs& args);

}  // namespace foreshadow::kernels::cpu
