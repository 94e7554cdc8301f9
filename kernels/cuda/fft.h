// Fourier transforms of many rows: cuFFT on the GPU, KissFFT where the host emulates it. Neither
// scales, so a round trip multiplies by the length. For CUDA's streams and threads see ops.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/ops.h"

namespace foreshadow::kernels::cuda {

struct HostDevice;
struct CudaDevice;

struct RowTransforms {
  int64_t length;  // of the real side; even
  int64_t rows;
  int64_t row_floats;  // from one row to the next, on either side; even
};

// Makes what the transforms need beforehand. SIZE_MAX / 2 = the device has no room for it, which no
// allocation survives.
template <typename Device>
size_t TransformWorkspaceBytes(const RowTransforms& shape);

// Real to complex: length / 2 + 1 pairs. Work is at least as large as was asked for, aligned to 256
// bytes, and the transforms' own until they are done.
template <typename Device>
void TransformForward(const RowTransforms& shape, const float* real, float* complex,
                      std::span<std::byte> work, Stream stream);

// Complex to real; what the complex side holds afterwards is undefined.
template <typename Device>
void TransformBack(const RowTransforms& shape, float* complex, float* real,
                   std::span<std::byte> work, Stream stream);

template <>
size_t TransformWorkspaceBytes<HostDevice>(const RowTransforms&);
template <>
void TransformForward<HostDevice>(const RowTransforms&, const float*, float*, std::span<std::byte>,
                                  Stream);
template <>
void TransformBack<HostDevice>(const RowTransforms&, float*, float*, std::span<std::byte>, Stream);
template <>
size_t TransformWorkspaceBytes<CudaDevice>(const RowTransforms&);
template <>
void TransformForward<CudaDevice>(const RowTransforms&, const float*, float*, std::span<std::byte>,
                                  Stream);
template <>
void TransformBack<CudaDevice>(const RowTransforms&, float*, float*, std::span<std::byte>, Stream);

}  // namespace foreshadow::kernels::cuda
