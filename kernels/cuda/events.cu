#include "kernels/cuda/cuda_device.cuh"
#include "kernels/cuda/events.h"

namespace foreshadow::kernels::cuda {

template size_t EventsWorkspaceBytes<CudaDevice>(const EventArgs&);
template void Events<CudaDevice>(const EventArgs&);

}  // namespace foreshadow::kernels::cuda
