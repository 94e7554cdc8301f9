// The LSTM carried from step to step: what a series has left in its features and in the network
// stays in a state, so that a new step costs one step, whatever the past. Warming a state runs
// through a history once: the features through all of it, the network from a zero state through its
// last window, as it was trained. Functions over plain data; calls with different states may run on
// different threads.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "models/forecaster.h"
#include "models/lstm/runner.h"

namespace foreshadow::models {

// Series that take their steps together. 38 accounts of five signals: what drives a series is
// mostly in its block, and with two to spare they fill 12 vectors of 16.
inline constexpr int64_t kLstmBlockSeries = 190;

struct LstmBlock {
  std::vector<int64_t> columns;  // of the history: the block's series, then drivers from outside
  FeatureState features;         // of the columns
  std::vector<float> hidden;     // [layers * hidden][features.width]
  std::vector<float> cell;       // likewise
};

// What a state has seen.
struct LstmSeen {
  uint64_t fingerprint = 0;  // of the model
  int64_t end_ms = 0;        // Unix time of the newest step
  int64_t series = 0;
};

// As a value: copied, it goes on from there. 0 series = nothing is known yet.
struct LstmState : LstmSeen {
  std::vector<LstmBlock> blocks;  // of kLstmBlockSeries, the last may have less
};

// Forecasts `steps` steps from the end of the history, as Forecaster::Forecast does, and leaves the
// state there. Where the history goes on from the state, only its new steps are run; a block is
// warmed anew when series were added to it, when a driver is new, or when a series has samples from
// before its first one in the state; all of them when the state is of another model, or ends after
// the history or more than a window before its end. `state` may be null: all is run, and nothing
// kept.
void FollowLstm(const LstmRunner& runner, const History& history, int steps, int threads,
                LstmState* state, QuantileBlock& out);

// What FollowLstm would say, and the state is as it was. Of one step what it overwrites is put
// back, which costs less than a copy of all.
void LookLstm(const LstmRunner& runner, const History& history, int steps, int threads,
              LstmState& state, QuantileBlock& out);

// Parts that states elsewhere (models/lstm/device.h) have in common with this.

// Steps from what a state has seen to `wanted`, the end of a history of so many `steps`; 0 = the
// state is to be warmed.
int64_t NewSteps(const LstmRunner& runner, const LstmSeen& seen, const LstmSeen& wanted,
                 int64_t steps);

// [series] the network's context of each.
std::vector<int32_t> ContextsOf(const LstmRunner& runner, const History& history);

// Whether the series has a sample before the last `steps` steps.
bool HasPast(const History& history, int64_t series, int64_t steps);

// The state of some series, in this order, from the whole history; the network runs through its
// last `network_steps` steps.
LstmBlock WarmBlock(const LstmRunner& runner, const History& history,
                    std::span<const int64_t> series, int64_t network_steps);

// The answer for a series from the network's, rows of `width` floats: of each step its quantiles.
void WriteForecast(ForecastStatus verdict, float level, float scale, const float* scaled,
                   int64_t width, int64_t series, QuantileBlock& out);

// A state as bytes; see docs/models.md for the format.
std::string SaveLstmState(const LstmState& state);

// DATA_LOSS when the bytes are not those of a whole state, FAILED_PRECONDITION when they are of
// another model or version; `state` is then as it was.
absl::Status RestoreLstmState(const LstmRunner& runner, const std::string& bytes, LstmState& state);

}  // namespace foreshadow::models
