// Sizes that workspaces of vectors of doubles need, whatever the instruction set.
#pragma once

#include <cstdint>

namespace foreshadow::kernels::cpu {

inline constexpr int64_t kWideLanesMax = 8;  // doubles of the widest vector
inline constexpr int64_t kPackSeries = 64;   // series packed together: some cache lines of a row

}  // namespace foreshadow::kernels::cpu
