#include "kernels/cuda/cuda_device.cuh"
#include "kernels/cuda/lstm_features.h"

namespace foreshadow::kernels::cuda {

template void LstmAdvance<CudaDevice>(const LstmAdvanceArgs&);
template void LstmDescribe<CudaDevice>(const LstmDescribeArgs&);

}  // namespace foreshadow::kernels::cuda
