// Views of batches of series, and the verdict on each. Plain data: any thread may use them; the
// caller owns the memory.
#pragma once

#include <cstdint>

namespace foreshadow::kernels {

// A batch of series, time-major: one row a step, one column a series, so that neighbouring series
// are neighbours in memory (they vectorise on the CPU and coalesce on the GPU). A missing sample is
// NaN. Host or device memory, as the operation says.
template <typename T>
struct StepMajor {
  T* data = nullptr;
  int64_t steps = 0;
  int64_t series = 0;
  int64_t stride = 0;  // elements from one step to the next; >= series

  constexpr T& at(int64_t step, int64_t column) const { return data[step * stride + column]; }
  constexpr operator StepMajor<const T>() const { return {data, steps, series, stride}; }
};

// What became of one series of a batch. Outputs of a series that is not kOk are NaN unless said
// otherwise; the rest of the batch is not affected.
enum class SeriesStatus : uint8_t {
  kOk = 0,
  kTooShort,   // fewer samples than the operation needs
  kNoData,     // every sample missing
  kConstant,   // no variation: the operation has no answer
  kNotFinite,  // an infinity among the samples
  kPrecision,  // so large against its variation that float cannot hold it
  kSingular,   // regressors that explain each other: the operation has no one answer
};

// The series whose moves show in another one a little later, such as the mutation rate of the same
// account in its CPU; found by Ops::lags.
struct Driver {
  int32_t series = -1;     // of the same batch; -1 = none is known
  int32_t lead_steps = 0;  // how much later its moves show
  float correlation = 0;   // at that lead
};

}  // namespace foreshadow::kernels
