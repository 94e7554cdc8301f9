// What the models of a level carry from tick to tick: rings of samples and levels, and order
// statistics of the errors, so that a tick costs a few dozen vector operations a series instead of
// sorts. The answers are those of ForecastAnew.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "models/level/levels.h"
#include "models/sliding.h"

namespace foreshadow::models::level {

inline constexpr int kKinds = 3;
inline constexpr int32_t kNoSlot = -1;

// The samples that the levels rest on, as they were seen, once for all three models: in rings of
// ring_steps, a step's place being its remainder. A series that was not silent for a day has a slot
// in each of the arrays.
struct SeenSamples {
  int64_t end_step = 0;
  std::vector<int64_t> last_step;  // [series] of its newest sample
  std::vector<int32_t> slot;       // [series]; kNoSlot = nothing is known
  std::vector<int64_t> begun;      // [slot] when it was last filled from the history
  std::vector<float> filled;       // [slot][ring_steps] sample, or the last one where there is none
  std::vector<uint64_t> sampled;   // [slot] a bit for each place that has a sample
};

// What one of the models makes of them.
struct Followed {
  int64_t end_step = 0;
  std::vector<int64_t> begun;      // [slot] as of the samples that all below was made from
  std::vector<int64_t> last_step;  // [slot] of the newest sample
  std::vector<float> levels;  // [slot][ring_steps]; none of the last value, which `filled` holds
  std::vector<Ranks> ranks;   // [slot][distance] of the errors at it
};

// Shared by the models of all kinds.
struct LevelState {
  int steps = 0;  // horizon
  int64_t step_ms = 0;
  int64_t begun_step = 0;  // when all was made anew
  SeenSamples seen;
  std::array<Followed, kKinds> followed;
};

struct NewSteps {
  int64_t samples;  // steps that the samples have not seen
  int64_t own;      // that this model has not
};

// Room for all series; the state as new where it cannot be gone on from.
NewSteps Prepare(const Call& call, LevelState& state);

// One series of a call that carries: first the samples, unless another of the models brought them
// up to date at this step, then this model's own. Different series at once from any threads.
void GoOn(const Call& call, int64_t s, const NewSteps& new_steps, LevelState& state,
          Scratch& scratch, QuantileBlock& out);

}  // namespace foreshadow::models::level
