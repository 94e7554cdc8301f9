// What the last tick of an earlier run has to say, made again from the history: a server that
// starts anew within the same step has an answer before the next one ends.
#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "models/parallel.h"
#include "service/tick/tick.h"

namespace foreshadow {

// The report of decisions.last_tick_ms. Its forecasts are those of a first tick, which weighs the
// models by the newest steps only; its decisions are those given: none is made, written or begun.
// `samples`: up to the end of that step; `device`: as NewState takes it. CANCELLED when `stop` says
// so.
absl::StatusOr<std::shared_ptr<const TickReport>> Recall(
    const Decisions& decisions, const Fleet& fleet, std::vector<Sample> samples,
    const ModelList& models, const Settings& settings, const kernels::Ops* device,
    const models::Stop& stop);

}  // namespace foreshadow
