// Every kernel of this folder, compiled for the host.
#include "kernels/cuda/autoregression.h"
#include "kernels/cuda/columns.h"
#include "kernels/cuda/drivers.h"
#include "kernels/cuda/events.h"
#include "kernels/cuda/host_device.h"
#include "kernels/cuda/lag_pool.h"
#include "kernels/cuda/lags.h"
#include "kernels/cuda/lstm.h"
#include "kernels/cuda/lstm_features.h"
#include "kernels/cuda/mstl.h"
#include "kernels/cuda/periods.h"
#include "kernels/cuda/rolling.h"
#include "kernels/cuda/scores.h"
#include "kernels/cuda/stl.h"
#include "kernels/cuda/stream.h"
#include "kernels/host_memory.h"

namespace foreshadow::kernels {

const Ops& EmulatedGpuOps() {
  static const Ops ops = [] {
    Ops filled{};
    filled.name = "cuda emulated by the cpu";
    SetHostMemory(filled);
    cuda::SetDrivers<cuda::HostDevice>(filled);
    return filled;
  }();
  return ops;
}

}  // namespace foreshadow::kernels
