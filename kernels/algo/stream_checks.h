// What the callers of the stream's operations must keep to, on every backend.
#pragma once

#include "kernels/algo/stream.h"
#include "kernels/check.h"

namespace foreshadow::kernels {

inline void CheckStreamState(const StreamModel& model, StepMajor<const float> state) {
  FORESHADOW_CHECK(model.period >= 2 && model.window >= 2 * model.period);
  FORESHADOW_CHECK(state.steps == StreamStateRows(model) && state.stride >= state.series);
}

inline void CheckStreamStart(const StreamStartArgs& args) {
  CheckStreamState(args.model, args.state);
  const int64_t series = args.observed.series;
  FORESHADOW_CHECK(args.tick >= 0);
  FORESHADOW_CHECK(args.observed.steps == args.model.window);
  FORESHADOW_CHECK(args.seasonal.steps == args.model.window && args.seasonal.series == series);
  FORESHADOW_CHECK(args.trend.steps == args.model.window && args.trend.series == series);
  FORESHADOW_CHECK(std::ssize(args.decomposed) == series);
  FORESHADOW_CHECK(std::ssize(args.tables) == StreamTableFloats(args.model));
  FORESHADOW_CHECK(args.columns.empty() ? args.state.series == series
                                        : std::ssize(args.columns) == series);
}

inline void CheckStreamUpdate(const StreamUpdateArgs& args) {
  CheckStreamState(args.model, args.state);
  const int64_t series = args.state.series;
  FORESHADOW_CHECK(args.tick > 0);
  FORESHADOW_CHECK(std::ssize(args.observed) == series && std::ssize(args.status) == series);
  FORESHADOW_CHECK(std::ssize(args.trend) == series && std::ssize(args.seasonal) == series);
  FORESHADOW_CHECK(std::ssize(args.remainder) == series);
  FORESHADOW_CHECK(args.expected.steps == 0 || args.expected.series == series);
}

inline void CheckStreamStray(const StreamStrayArgs& args) {
  CheckStreamState(args.model, args.state);
  FORESHADOW_CHECK(std::ssize(args.tables) == StreamTableFloats(args.model));
  FORESHADOW_CHECK(std::ssize(args.trend) == args.state.series);
  FORESHADOW_CHECK(std::ssize(args.seasonal) == args.state.series);
}

}  // namespace foreshadow::kernels
