// The analysis of some accounts together, on any backend: the large batches stay in its memory, and
// what is found comes to the host.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "kernels/series.h"
#include "service/analyze/analyze.h"
#include "service/analyze/arena.h"

namespace foreshadow {

struct AccountBlock {
  std::span<const int32_t> accounts;
  // [steps][series of these accounts, in their order], in the arena's backend.
  kernels::StepMajor<const float> observed;
  int64_t end_ms = 0;  // of the newest step
  int64_t step_ms = 0;
};

// Keeps what it finds in `memory`, which has room for these accounts; blocks of other accounts may
// be analysed at the same time, each with an arena of its own. INTERNAL: what the backend says;
// then nothing, or the periods alone, was kept. Throws std::bad_alloc where the backend has no
// room.
absl::Status AnalyzeBlock(const AccountBlock& block, const AnalyzeSettings& settings, Arena& arena,
                          PatternMemory& memory);

}  // namespace foreshadow
