#include "kernels/cuda/columns.h"
#include "kernels/cuda/cuda_device.cuh"

namespace foreshadow::kernels::cuda {

template void Gather<CudaDevice>(const GatherArgs&);
template void Deseason<CudaDevice>(const DeseasonArgs&);

}  // namespace foreshadow::kernels::cuda
