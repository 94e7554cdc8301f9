#include "kernels/cuda/cuda_device.cuh"
#include "kernels/cuda/scores.h"

namespace foreshadow::kernels::cuda {

template void Pinball<CudaDevice>(const PinballArgs&);
template void NaiveScale<CudaDevice>(const NaiveScaleArgs&);
template void Mase<CudaDevice>(const MaseArgs&);

}  // namespace foreshadow::kernels::cuda
