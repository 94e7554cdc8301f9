#include "kernels/cuda/lag_pool.h"

#include "kernels/cuda/cuda_device.cuh"

namespace foreshadow::kernels::cuda {

template void LagPool<CudaDevice>(const LagPoolArgs&);

}  // namespace foreshadow::kernels::cuda
