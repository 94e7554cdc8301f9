#include "kernels/cuda/cuda_device.cuh"
#include "kernels/cuda/stl.h"

namespace foreshadow::kernels::cuda {

template size_t StlWorkspaceBytes<CudaDevice>(const StlParams&, int64_t, int64_t);
template void Stl<CudaDevice>(const StlArgs&);

}  // namespace foreshadow::kernels::cuda
