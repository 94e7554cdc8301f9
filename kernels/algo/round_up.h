// Whole groups: of lanes, columns, rows or bytes.
#pragma once

#include <concepts>
#include <type_traits>

#include "kernels/algo/portable.h"

namespace foreshadow::kernels {

// The least multiple of `group` (> 0) that is not below `count` (>= 0).
template <std::integral T>
FORESHADOW_PORTABLE constexpr T RoundUp(T count, std::type_identity_t<T> group) {
  return (count + group - 1) / group * group;
}

}  // namespace foreshadow::kernels
