#include <cufft.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

#include "kernels/check.h"
#include "kernels/cuda/cuda_device.cuh"
#include "kernels/cuda/fft.h"

namespace foreshadow::kernels::cuda {
namespace {

struct Plan {
  cufftHandle handle;
  size_t work_bytes;
};

// Plans by shape. They stay for good: graphs that were captured refer to their tables, and a
// program has few shapes. A plan's stream and work area are its state, so whoever uses one holds
// the lock until its work is queued.
class Plans {
 public:
  std::mutex mutex;

  // nullptr = the device has no room for it.
  const Plan* Get(const RowTransforms& shape, cufftType type) {
    int device = 0;
    cudaGetDevice(&device);
    const Key key{device, type, shape.length, shape.rows, shape.row_floats};
    const auto known = plans_.find(key);
    if (known != plans_.end()) return &known->second;
    Plan plan{};
    if (!Make(shape, type, plan)) return nullptr;
    return &plans_.emplace(key, plan).first->second;
  }

 private:
  using Key = std::tuple<int, cufftType, int64_t, int64_t, int64_t>;

  static bool Make(const RowTransforms& shape, cufftType type, Plan& plan) {
    if (cufftCreate(&plan.handle) != CUFFT_SUCCESS) return false;
    long long length = shape.length;
    long long ordinates = shape.length / 2 + 1;
    const bool forward = type == CUFFT_R2C;
    const bool made = cufftSetAutoAllocation(plan.handle, 0) == CUFFT_SUCCESS &&
                      cufftMakePlanMany64(plan.handle, 1, &length, forward ? &length : &ordinates,
                                          1, forward ? shape.row_floats : shape.row_floats / 2,
                                          forward ? &ordinates : &length, 1,
                                          forward ? shape.row_floats / 2 : shape.row_floats, type,
                                          shape.rows, &plan.work_bytes) == CUFFT_SUCCESS;
    if (!made) cufftDestroy(plan.handle);
    return made;
  }

  std::map<Key, Plan> plans_;
};

Plans& ThePlans() {
  static auto* const plans = new Plans;  // never destroyed: the driver may be gone by then
  return *plans;
}

template <typename Execute>
void Run(const RowTransforms& shape, cufftType type, std::span<std::byte> work, Stream stream,
         Execute execute) {
  Plans& plans = ThePlans();
  const std::lock_guard lock(plans.mutex);
  const Plan* plan = plans.Get(shape, type);
  FORESHADOW_CHECK(plan != nullptr && work.size() >= plan->work_bytes);
  FORESHADOW_CHECK(cufftSetStream(plan->handle, static_cast<cudaStream_t>(stream)) ==
                   CUFFT_SUCCESS);
  FORESHADOW_CHECK(cufftSetWorkArea(plan->handle, work.data()) == CUFFT_SUCCESS);
  execute(plan->handle);  // a launch that fails stays with the runtime until Ops::wait
}

}  // namespace

template <>
size_t TransformWorkspaceBytes<CudaDevice>(const RowTransforms& shape) {
  Plans& plans = ThePlans();
  const std::lock_guard lock(plans.mutex);
  const Plan* forward = plans.Get(shape, CUFFT_R2C);
  const Plan* back = plans.Get(shape, CUFFT_C2R);
  if (forward == nullptr || back == nullptr) return SIZE_MAX / 2;
  return std::max(forward->work_bytes, back->work_bytes);
}

template <>
void TransformForward<CudaDevice>(const RowTransforms& shape, const float* real, float* complex,
                                  std::span<std::byte> work, Stream stream) {
  Run(shape, CUFFT_R2C, work, stream, [&](cufftHandle plan) {
    cufftExecR2C(plan, const_cast<cufftReal*>(real), reinterpret_cast<cufftComplex*>(complex));
  });
}

template <>
void TransformBack<CudaDevice>(const RowTransforms& shape, float* complex, float* real,
                               std::span<std::byte> work, Stream stream) {
  Run(shape, CUFFT_C2R, work, stream, [&](cufftHandle plan) {
    cufftExecC2R(plan, reinterpret_cast<cufftComplex*>(complex), real);
  });
}

}  // namespace foreshadow::kernels::cuda
