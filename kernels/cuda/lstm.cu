#include "kernels/cuda/cuda_device.cuh"
#include "kernels/cuda/lstm.h"

namespace foreshadow::kernels::cuda {

template void LstmStep<CudaDevice>(const LstmStepArgs&);

}  // namespace foreshadow::kernels::cuda
