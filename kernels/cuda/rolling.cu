#include "kernels/cuda/cuda_device.cuh"
#include "kernels/cuda/rolling.h"

namespace foreshadow::kernels::cuda {

template size_t RollingQuantilesWorkspaceBytes<CudaDevice>(const RollingQuantileArgs&);
template void RollingQuantiles<CudaDevice>(const RollingQuantileArgs&);

}  // namespace foreshadow::kernels::cuda
