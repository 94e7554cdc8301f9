#include "kernels/cuda/autoregression.h"

#include "kernels/cuda/cuda_device.cuh"

namespace foreshadow::kernels::cuda {

template size_t AutoregressionWorkspaceBytes<CudaDevice>(const AutoregressionArgs&);
template void Autoregression<CudaDevice>(const AutoregressionArgs&);

}  // namespace foreshadow::kernels::cuda
