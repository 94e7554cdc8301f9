#include <kissfft/kiss_fftr.h>

#include <algorithm>

#include "kernels/check.h"
#include "kernels/cuda/fft.h"
#include "kernels/cuda/host_device.h"

namespace foreshadow::kernels::cuda {
namespace {

kiss_fftr_cfg Configure(const RowTransforms& shape, bool back, std::span<std::byte> work) {
  size_t bytes = work.size();
  const kiss_fftr_cfg made =
      kiss_fftr_alloc(static_cast<int>(shape.length), back ? 1 : 0, work.data(), &bytes);
  FORESHADOW_CHECK(made != nullptr);
  return made;
}

}  // namespace

template <>
size_t TransformWorkspaceBytes<HostDevice>(const RowTransforms& shape) {
  size_t forward = 0;
  size_t back = 0;
  kiss_fftr_alloc(static_cast<int>(shape.length), 0, nullptr, &forward);
  kiss_fftr_alloc(static_cast<int>(shape.length), 1, nullptr, &back);
  return std::max(forward, back);
}

template <>
void TransformForward<HostDevice>(const RowTransforms& shape, const float* real, float* complex,
                                  std::span<std::byte> work, Stream /*stream*/) {
  const kiss_fftr_cfg plan = Configure(shape, false, work);
  for (int64_t row = 0; row < shape.rows; ++row) {
    const int64_t at = row * shape.row_floats;
    kiss_fftr(plan, real + at, reinterpret_cast<kiss_fft_cpx*>(complex + at));
  }
}

template <>
void TransformBack<HostDevice>(const RowTransforms& shape, float* complex, float* real,
                               std::span<std::byte> work, Stream /*stream*/) {
  const kiss_fftr_cfg plan = Configure(shape, true, work);
  for (int64_t row = 0; row < shape.rows; ++row) {
    const int64_t at = row * shape.row_floats;
    kiss_fftri(plan, reinterpret_cast<const kiss_fft_cpx*>(complex + at), real + at);
  }
}

}  // namespace foreshadow::kernels::cuda
