// Batches of series for the kernels' tests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/ops.h"

namespace foreshadow::kernels::testing {

inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Batch {
  std::vector<float> values;
  int64_t steps;
  int64_t series;

  Batch(int64_t steps_count, int64_t series_count, float fill = kNan)
      : values(static_cast<size_t>(steps_count * series_count), fill),
        steps(steps_count),
        series(series_count) {}
  StepMajor<float> view() { return {values.data(), steps, series, series}; }
  float& at(int64_t step, int64_t s) { return values[static_cast<size_t>(step * series + s)]; }
};

// Memory aligned as workspaces must be.
class Workspace {
 public:
  explicit Workspace(size_t bytes) : bytes_(bytes), memory_(bytes / sizeof(Line) + 1) {}
  std::span<std::byte> span() { return {reinterpret_cast<std::byte*>(memory_.data()), bytes_}; }

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  size_t bytes_;
  std::vector<Line> memory_;
};

}  // namespace foreshadow::kernels::testing
