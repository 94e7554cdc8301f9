#include "kernels/cuda/cuda_device.cuh"
#include "kernels/cuda/mstl.h"

namespace foreshadow::kernels::cuda {

template size_t MstlWorkspaceBytes<CudaDevice>(const MstlArgs&);
template void Mstl<CudaDevice>(const MstlArgs&);

}  // namespace foreshadow::kernels::cuda
