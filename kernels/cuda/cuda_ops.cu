// The table that libforeshadow_cuda.so gives to kernels/gpu.cc.
#include <cuda_runtime.h>

#include <cstdio>

#include "kernels/cuda/cuda_device.cuh"
#include "kernels/cuda/drivers.h"

namespace foreshadow::kernels::cuda {
namespace {

void* Allocate(size_t bytes) {
  void* memory = nullptr;
  if (cudaMalloc(&memory, bytes) == cudaSuccess) return memory;
  cudaGetLastError();  // told by the nullptr: the next wait is not to report it
  return nullptr;
}

void Copy(void* to, const void* from, size_t bytes, Stream stream) {
  cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream));
}

std::string_view Wait(Stream stream) {
  const cudaError_t of_work = cudaStreamSynchronize(static_cast<cudaStream_t>(stream));
  const cudaError_t of_launches = cudaGetLastError();
  const cudaError_t error = of_work != cudaSuccess ? of_work : of_launches;
  return error == cudaSuccess ? "" : cudaGetErrorString(error);
}

struct Table {
  char name[300];
  const char* missing = nullptr;
  Ops ops{};

  Table() {
    int devices = 0;
    cudaDeviceProp properties{};
    cudaError_t error = cudaGetDeviceCount(&devices);
    if (error == cudaSuccess) error = cudaGetDeviceProperties(&properties, 0);
    if (error != cudaSuccess) {
      missing = cudaGetErrorString(error);
      return;
    }
    std::snprintf(name, sizeof(name), "cuda %s", properties.name);
    ops.name = name;
    ops.host_memory = false;
    ops.allocate = Allocate;
    ops.release = [](void* memory) { cudaFree(memory); };
    ops.copy_in = Copy;
    ops.copy_out = Copy;
    ops.copy = Copy;
    ops.wait = Wait;
    SetDrivers<CudaDevice>(ops);
  }
};

}  // namespace
}  // namespace foreshadow::kernels::cuda

// The operations, or nullptr and the reason in words.
extern "C" const foreshadow::kernels::Ops* ForeshadowCudaOps(const char** missing) {
  static const foreshadow::kernels::cuda::Table table;
  *missing = table.missing;
  return table.missing == nullptr ? &table.ops : nullptr;
}
