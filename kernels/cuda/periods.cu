#include "kernels/cuda/cuda_device.cuh"
#include "kernels/cuda/drivers.h"
#include "kernels/cuda/periods.h"

namespace foreshadow::kernels::cuda {

template size_t PeriodsWorkspaceBytes<CudaDevice>(const PeriodArgs&);
template void Periods<CudaDevice>(const PeriodArgs&);

}  // namespace foreshadow::kernels::cuda
