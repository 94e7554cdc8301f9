// One tick of the engine over all accounts: the nine stages of docs/architecture.md in one
// function.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/ops.h"
#include "models/forecaster.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"
#include "service/world/world.h"

namespace foreshadow {

struct State;  // service/tick/state.h: the hot window, patterns, mixture, decisions

// Destroys a State where only its declaration is known.
struct StateDeleter {
  void operator()(State* state) const;
};
using StatePtr = std::unique_ptr<State, StateDeleter>;

using ModelList = std::vector<std::shared_ptr<const models::Forecaster>>;  // best first

// A state for these cells (by id), with what an earlier run decided. Accounts come with the first
// Inbox, in the order of their registration, and samples of the past with it too. `device`: the
// backend that the analysis and the models that can run on, nullptr = the CPU; it outlives the
// state.
StatePtr NewState(std::vector<Cell> cells, Decisions decisions, const Settings& settings,
                  const kernels::Ops* device = nullptr);

// Runs one tick at world.NowMs(). Deterministic: the same state, inbox, models and world give the
// same report. `candidate` (nullptr = none) forecasts beside the models and is only scored. An
// error means that World::Write failed: nothing was decided or started, the inbox's samples are in
// the window, and the next tick carries on. CANCELLED: likewise, but the world is stopping and the
// state is not to be used again. Called by one thread at a time.
absl::StatusOr<std::shared_ptr<const TickReport>> Tick(
    State& state, Inbox inbox, const ModelList& models, const Settings& settings, World& world,
    const models::Forecaster* candidate = nullptr);

}  // namespace foreshadow
