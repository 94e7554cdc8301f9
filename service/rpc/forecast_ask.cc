#include "service/rpc/forecast_ask.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>

#include "models/forecaster.h"

namespace foreshadow::rpc {
namespace {

constexpr size_t kLevelsMax = 99;             // every percent
constexpr int64_t kHistoryStepsMax = 50'000;  // of a series that the caller brings
constexpr int64_t kStepMsMin = 1'000;
constexpr int64_t kStepMsMax = 86'400'000;
constexpr int64_t kValuesMax = 60'000'000;  // of one answer: 240 MB, built in memory

absl::Status Invalid(const std::string& what) { return absl::InvalidArgumentError(what); }

absl::Status CheckHistories(const v1::Histories& in) {
  const int64_t series = in.series_ids_size();
  if (series == 0 || series > kSeriesMax) {
    return Invalid(
        fmt::format("histories.series_ids has {} entries: must be 1 .. {}", series, kSeriesMax));
  }
  std::unordered_set<std::string_view> seen;
  for (const std::string& id : in.series_ids()) {
    if (!seen.insert(id).second) {
      return Invalid(fmt::format("histories.series_ids: \"{}\" is given twice", id));
    }
  }
  if (in.signals_size() != 1 && in.signals_size() != series) {
    return Invalid(fmt::format("histories.signals has {} entries: must be 1 or {}",
                               in.signals_size(), series));
  }
  if (in.values_size() % series != 0) {
    return Invalid(fmt::format("histories.values has {} entries: must be a multiple of {} series",
                               in.values_size(), series));
  }
  const int64_t steps = in.values_size() / series;
  if (absl::Status status = CheckHistorySteps(steps, "histories.values"); !status.ok()) {
    return status;
  }
  return CheckHistory({in.values().data(), static_cast<size_t>(in.values_size())},
                      "histories.values");
}

}  // namespace

absl::Status CheckHistory(std::span<const float> values, const std::string& field) {
  // Without a branch first: arrays are large and almost always right.
  bool fine = true;
  for (const float value : values) fine &= !(value < 0 || std::isinf(value));
  for (size_t i = 0; !fine && i < values.size(); ++i) {
    if (!std::isinf(values[i]) && !(values[i] < 0)) continue;
    return Invalid(fmt::format("{}[{}] = {}: must be finite and not negative, or NaN when missing",
                               field, i, values[i]));
  }
  return absl::OkStatus();
}

absl::Status CheckStepMs(int64_t step_ms, const std::string& field) {
  if (step_ms >= kStepMsMin && step_ms <= kStepMsMax) return absl::OkStatus();
  return Invalid(fmt::format("{} = {}: must be {} .. {}", field, step_ms, kStepMsMin, kStepMsMax));
}

absl::Status CheckHistorySteps(int64_t steps, const std::string& field) {
  if (steps <= kHistoryStepsMax) return absl::OkStatus();
  return Invalid(
      fmt::format("{}: {} steps a series, at most {} are allowed", field, steps, kHistoryStepsMax));
}

absl::StatusOr<int> PriorityOf(uint64_t priority) {
  if (priority == 0) return batch::kPriorityNormal;
  if (priority > batch::kPriorityLast) {
    return Invalid(fmt::format("priority = {}: must be {} (first) .. {} (last), or 0 for {}",
                               priority, batch::kPriorityFirst, batch::kPriorityLast,
                               batch::kPriorityNormal));
  }
  return static_cast<int>(priority);
}

absl::Status CheckLevels(std::span<const float> levels, const std::string& field) {
  if (levels.size() > kLevelsMax) {
    return Invalid(
        fmt::format("{} has {} entries: at most {} are allowed", field, levels.size(), kLevelsMax));
  }
  for (size_t i = 0; i < levels.size(); ++i) {
    const bool ascending = i == 0 || levels[i] > levels[i - 1];
    if (!(levels[i] > 0 && levels[i] < 1) || !ascending) {
      return Invalid(
          fmt::format("{}[{}] = {}: must be within (0, 1) and ascending", field, i, levels[i]));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Shape> ShapeOf(const v1::BatchForecastRequest& request, int64_t step_ms) {
  Shape shape;
  const int steps_max = HorizonSteps(step_ms);
  const int64_t horizon_ms = request.horizon_ms() == 0 ? steps_max * step_ms : request.horizon_ms();
  shape.steps = static_cast<int>(std::min<int64_t>(horizon_ms / step_ms, kHorizonStepsMax + 1));
  if (horizon_ms < 0 || shape.steps < 1 || shape.steps > steps_max) {
    return Invalid(fmt::format("horizon_ms = {}: must be {} .. {} at a step of {} ms",
                               request.horizon_ms(), step_ms, steps_max * step_ms, step_ms));
  }
  shape.levels.assign(request.quantile_levels().begin(), request.quantile_levels().end());
  if (absl::Status status = CheckLevels(shape.levels, "quantile_levels"); !status.ok()) {
    return status;
  }
  const auto& own = models::kQuantileLevels;
  if (shape.levels.empty()) shape.levels.assign(own.begin(), own.end());
  shape.own_levels = std::ranges::equal(shape.levels, own);
  return shape;
}

absl::Status CheckSize(int64_t series, const Shape& shape) {
  if (series > kSeriesMax) {
    return Invalid(
        fmt::format("{} series in one answer, at most {} are allowed: ask for fewer or "
                    "use StreamForecast",
                    series, kSeriesMax));
  }
  const int64_t values = series * shape.steps * std::ssize(shape.levels);
  if (values > kValuesMax) {
    return Invalid(
        fmt::format("{} series of {} steps and {} levels are {} values in one answer, at "
                    "most {} are allowed: ask for fewer or use StreamForecast",
                    series, shape.steps, shape.levels.size(), values, kValuesMax));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<SignalKind>> SignalsOf(const v1::StoredAccounts& stored) {
  if (stored.signals_size() == 0) {
    return std::vector<SignalKind>{SignalKind::kCpu, SignalKind::kMemory, SignalKind::kNetwork,
                                   SignalKind::kStorage};
  }
  std::vector<SignalKind> signals;
  for (int i = 0; i < stored.signals_size(); ++i) {
    if (stored.signals(i) < 1 || stored.signals(i) > kSignals) {
      return Invalid(fmt::format("stored.signals[{}] = {}: must be 1 .. {}", i,
                                 static_cast<int>(stored.signals(i)), kSignals));
    }
    const auto signal = static_cast<SignalKind>(stored.signals(i) - 1);
    if (std::find(signals.begin(), signals.end(), signal) != signals.end()) {
      return Invalid(fmt::format("stored.signals[{}] = {} is given twice", i, Name(signal)));
    }
    signals.push_back(signal);
  }
  return signals;
}

absl::StatusOr<batch::Ask> AskOf(const v1::BatchForecastRequest& request, const Shape& shape) {
  const v1::Histories& in = request.histories();
  if (absl::Status status = CheckHistories(in); !status.ok()) return status;
  const auto priority = PriorityOf(request.priority());
  if (!priority.ok()) return priority.status();
  batch::Ask ask;
  ask.priority = *priority;
  ask.end_ms = in.end_ms();
  ask.step_ms = in.step_ms();
  ask.horizon_steps = shape.steps;
  const int64_t series = in.series_ids_size();
  ask.history_steps = in.values_size() / series;
  for (int64_t s = 0; s < series; ++s) {
    const int signal = in.signals(in.signals_size() == 1 ? 0 : static_cast<int>(s));
    if (signal < 1 || signal > kSignals) {
      return Invalid(
          fmt::format("histories.signals[{}] = {}: must be 1 .. {}", s, signal, kSignals));
    }
    ask.signals.push_back(static_cast<SignalKind>(signal - 1));
  }
  ask.values.assign(in.values().begin(), in.values().end());
  return ask;
}

}  // namespace foreshadow::rpc
