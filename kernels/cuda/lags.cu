#include "kernels/cuda/cuda_device.cuh"
#include "kernels/cuda/lags.h"

namespace foreshadow::kernels::cuda {

template void Lags<CudaDevice>(const LagArgs&);

}  // namespace foreshadow::kernels::cuda
