#include "kernels/cuda/cuda_device.cuh"
#include "kernels/cuda/stream.h"

namespace foreshadow::kernels::cuda {

template void StreamStart<CudaDevice>(const StreamStartArgs&);
template void StreamUpdate<CudaDevice>(const StreamUpdateArgs&);
template void StreamStray<CudaDevice>(const StreamStrayArgs&);

}  // namespace foreshadow::kernels::cuda
