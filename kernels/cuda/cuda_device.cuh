// Launches the kernels' bodies on the GPU. Errors of a launch stay with the runtime until
// Ops::wait reports them.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/check.h"
#include "kernels/ops.h"

namespace foreshadow::kernels::cuda {

inline constexpr int kWarp = 32;

// Plain data from the lane `away` from this one, word by word.
template <typename T>
__device__ T FromLane(T value, int away) {
  static_assert(sizeof(T) % sizeof(unsigned) == 0);
  unsigned words[sizeof(T) / sizeof(unsigned)];
  memcpy(words, &value, sizeof(T));
  for (unsigned& word : words) word = __shfl_xor_sync(0xffffffffu, word, away);
  memcpy(&value, words, sizeof(T));
  return value;
}

// A warp as a team; see HostTeam for the contract. All its lanes must make the same calls.
struct CudaWarp {
  template <typename F>
  __device__ void For(int64_t n, F f) const {
    for (int64_t i = lane(); i < n; i += kWarp) f(i);
    __syncwarp();
  }
  template <typename T, typename Add, typename Merge>
  __device__ T Fold(int64_t n, T start, Add add, Merge merge) const {
    for (int64_t i = lane(); i < n; i += kWarp) add(start, i);
    for (int away = kWarp / 2; away > 0; away /= 2) merge(start, FromLane(start, away));
    return start;
  }
  template <typename Keep, typename Write>
  __device__ int64_t Compact(int64_t n, Keep keep, Write write) const {
    int64_t kept = 0;
    for (int64_t first = 0; first < n; first += kWarp) {
      const int64_t i = first + lane();
      const bool is_kept = i < n && keep(i);
      const unsigned mask = __ballot_sync(0xffffffffu, is_kept);
      if (is_kept) write(i, kept + __popc(mask & ((1u << lane()) - 1)));
      kept += __popc(mask);
    }
    __syncwarp();
    return kept;
  }

 private:
  __device__ static int lane() { return static_cast<int>(threadIdx.x) % kWarp; }
};

// See HostTeam for the contract. Every thread of the block must make the same calls.
struct CudaTeam {
  std::byte* shared;

  template <typename F>
  __device__ void For(int64_t n, F f) const {
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) f(i);
    __syncthreads();
  }
  template <typename F>
  __device__ auto Sum(int64_t n, F f) const {
    decltype(f(int64_t{})) sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) sum += f(i);
    return Combine(sum, [](auto a, auto b) { return a + b; });
  }
  template <typename T, typename F>
  __device__ T Max(int64_t n, T least, F f) const {
    for (int64_t i = threadIdx.x; i < n; i += blockDim.x) {
      const T value = f(i);
      least = value > least ? value : least;
    }
    return Combine(least, [](T a, T b) { return a > b ? a : b; });
  }
  template <typename F>
  __device__ void Warps(int64_t n, F f) const {
    const int64_t warps = blockDim.x / kWarp;
    for (int64_t i = threadIdx.x / kWarp; i < n; i += warps) f(CudaWarp{}, i);
    __syncthreads();
  }

 private:
  template <typename T, typename Op>
  __device__ T Combine(T value, Op op) const {
    __shared__ T of_warp[kWarp];
    const int warps = static_cast<int>(blockDim.x) / kWarp;  // launches are whole warps
    for (int away = kWarp / 2; away > 0; away /= 2) {
      value = op(value, __shfl_xor_sync(0xffffffffu, value, away));
    }
    if (threadIdx.x % kWarp == 0) of_warp[threadIdx.x / kWarp] = value;
    __syncthreads();
    value = of_warp[0];
    for (int w = 1; w < warps; ++w) value = op(value, of_warp[w]);
    __syncthreads();  // before the next use of of_warp
    return value;
  }
};

template <typename Body>
constexpr int BlocksAtOnce() {
  if constexpr (requires { Body::kBlocksAtOnce; }) return Body::kBlocksAtOnce;
  return 1;
}

template <int kThreads, typename Body>
__global__ void __launch_bounds__(kThreads, BlocksAtOnce<Body>()) RunTeams(Body body) {
  extern __shared__ __align__(64) std::byte shared[];
  body(CudaTeam{shared}, int64_t{blockIdx.x});
}

template <typename Body>
__global__ void __launch_bounds__(128) RunItems(Body body, int64_t n) {
  const int64_t i = int64_t{blockIdx.x} * 128 + threadIdx.x;
  if (i < n) body(i);
}

struct CudaDevice {
  static size_t SharedBytesMax() {
    static const int bytes = [] {
      int most = 0;
      cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
      return most - 2 * 1'024;  // CudaTeam has some of its own
    }();
    return static_cast<size_t>(bytes);
  }

  template <typename Body>
  static void Launch(int64_t blocks, int threads, size_t shared_bytes, Stream stream, Body body) {
    if (blocks == 0) return;
    FORESHADOW_CHECK(threads % 32 == 0 && threads <= kThreadsMax);
    FORESHADOW_CHECK(blocks <= INT32_MAX);
    constexpr size_t kWithoutAsking = 48 * 1024;
    auto* kernel = RunTeams<kThreadsMax, Body>;
    if (shared_bytes > kWithoutAsking) {
      cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(shared_bytes));
    }
    kernel<<<static_cast<unsigned>(blocks), static_cast<unsigned>(threads), shared_bytes,
             static_cast<cudaStream_t>(stream)>>>(body);
  }
  template <typename Body>
  static void ForEach(int64_t n, Stream stream, Body body) {
    if (n == 0) return;
    const int64_t blocks = (n + 127) / 128;
    FORESHADOW_CHECK(blocks <= INT32_MAX);
    RunItems<<<static_cast<unsigned>(blocks), 128, 0, static_cast<cudaStream_t>(stream)>>>(body, n);
  }

 private:
  static constexpr int kThreadsMax = 512;
};

}  // namespace foreshadow::kernels::cuda
