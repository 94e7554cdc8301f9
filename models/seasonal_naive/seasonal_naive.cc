#include "models/seasonal_naive/seasonal_naive.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "models/empirical.h"
#include "models/parallel.h"
#include "models/sliding.h"

namespace foreshadow::models {
namespace {

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kChunkSeries = 64;
constexpr int kStepsMax = 2'016;    // a week of 5 min: as far as the hot window looks back
constexpr int kErrorsMax = 576;     // two days of 5 min
constexpr int kSeasonsBackMax = 7;  // a missing sample is sought that many seasons back
constexpr int64_t kDayMs = 86'400'000;
constexpr int64_t kEpochSteps = int64_t{1} << 40;  // steps are counted from so long before 1970
constexpr int kLateSteps = 12;  // samples that come so much later than their step are seen
constexpr int64_t kNever = std::numeric_limits<int64_t>::min() / 2;
constexpr int64_t kAlways = std::numeric_limits<int64_t>::max();
static_assert(kErrorsMax % kErrorLanes == 0);

struct Call {
  const History& history;
  int64_t length;    // of the history, in steps
  int64_t end_step;  // counted, like all steps, from kEpochSteps before 1970
  int steps;

  int64_t Period(int64_t s) const {
    return history.periods[s] > 1 ? history.periods[s]
                                  : std::max<int64_t>(1, kDayMs / history.step_ms);
  }
  float sample(int64_t row, int64_t s) const {
    const float value = history.values.at(row, s);
    return std::isfinite(value) ? value : kNone;
  }
  // Errors that the history tells, counted from its end.
  int64_t ErrorsMax(int64_t period) const {
    return std::clamp<int64_t>(length - period, 0, kErrorsMax);
  }
};

// What is carried of a series that has a sample in the window.
struct Carried {
  std::vector<float> errors;  // ring of kErrorsMax; a step's place is its remainder; NaN = none
  Ranks ranks;                // of those
  int64_t period = 0;
  int64_t oldest_step = kAlways;  // that an error rests on which went back more than one season
};

struct SeasonalState {
  int64_t step_ms = 0;
  int64_t end_step = 0;
  int64_t length = 0;
  std::vector<int64_t> last_step;  // [series] of its newest sample
  std::vector<Carried> series;     // empty where nothing is known
};

// Of one thread, reused from series to series.
struct Scratch {
  std::vector<float> errors;
  std::vector<float> points;
};

// The row of the newest sample that lies a whole number of seasons before `row`; -1 if there is
// none.
int64_t SeasonsAgo(const Call& call, int64_t s, int64_t row, int64_t period) {
  const int64_t seasons = row < call.length ? 1 : (row - call.length) / period + 1;
  for (int64_t k = seasons; k < seasons + kSeasonsBackMax; ++k) {
    const int64_t at = row - k * period;
    if (at < 0) break;
    if (!std::isnan(call.sample(at, s))) return at;
  }
  return -1;
}

struct Error {
  float value = kNone;
  int64_t row = -1;  // that was forecast by
};

Error ErrorOf(const Call& call, int64_t s, int64_t row, int64_t period) {
  const float sample = call.sample(row, s);
  if (std::isnan(sample)) return {};
  const int64_t from = SeasonsAgo(call, s, row, period);
  if (from < 0) return {};
  constexpr float kMost = std::numeric_limits<float>::max();
  return {std::clamp(sample - call.sample(from, s), -kMost, kMost), from};
}

// With the offsets of the errors, which offsets_of(magnitude) gives.
template <typename OffsetsOfMagnitude>
void Write(const Call& call, int64_t s, const OffsetsOfMagnitude& offsets_of, Scratch& scratch,
           QuantileBlock& out) {
  const int64_t period = call.Period(s);
  scratch.points.clear();
  for (int step = 0; step < call.steps; ++step) {
    const int64_t row = SeasonsAgo(call, s, call.length + step, period);
    if (row < 0) return WriteMissing(ForecastStatus::kCannot, s, out);
    scratch.points.push_back(call.sample(row, s));
  }
  WriteRows(scratch.points, offsets_of(scratch.points[0]), out.at(s, 0).data());
}

int64_t LastRow(const Call& call, int64_t s) {
  int64_t row = call.length - 1;
  while (row >= 0 && std::isnan(call.sample(row, s))) --row;
  return row;
}

// From the history alone; what is to be carried goes to `keep`, if there is one.
void ForecastAnew(const Call& call, int64_t s, int64_t* last_step, Carried* keep, Scratch& scratch,
                  QuantileBlock& out) {
  const int64_t last = LastRow(call, s);
  if (keep != nullptr) {
    *keep = {};
    *last_step = last < 0 ? kNever : call.end_step - (call.length - 1 - last);
  }
  if (last < 0) return WriteMissing(ForecastStatus::kNoHistory, s, out);
  const int64_t period = call.Period(s);
  scratch.errors.clear();
  if (keep != nullptr) keep->errors.assign(kErrorsMax, kNone);
  for (int64_t row = call.length - call.ErrorsMax(period); row < call.length; ++row) {
    const Error error = ErrorOf(call, s, row, period);
    if (error.row < 0) continue;
    scratch.errors.push_back(error.value);
    if (keep == nullptr) continue;
    const int64_t step = call.end_step - (call.length - 1 - row);
    keep->errors[step % kErrorsMax] = error.value;
    if (row - error.row > period) {
      keep->oldest_step = std::min(keep->oldest_step, step - (row - error.row));
    }
  }
  SortErrors(scratch.errors);
  if (keep != nullptr) {
    keep->period = period;
    keep->ranks = RanksOf(scratch.errors);
  }
  Write(
      call, s, [&](float magnitude) { return OffsetsOf(scratch.errors, magnitude); }, scratch, out);
}

void Push(const Call& call, int64_t s, int64_t row, int64_t& last_step, Carried& carried) {
  const int64_t step = call.end_step - (call.length - 1 - row);
  const Error error = ErrorOf(call, s, row, carried.period);
  if (!std::isnan(call.sample(row, s))) last_step = step;
  float& place = carried.errors[step % kErrorsMax];
  Slide(std::exchange(place, error.value), error.value, carried.ranks);
  if (error.row >= 0 && row - error.row > carried.period) {
    carried.oldest_step = std::min(carried.oldest_step, step - (row - error.row));
  }
}

// Errors that the history does not tell any more, as it began later than a season before them.
void DropOldest(const Call& call, int64_t steps_held, Carried& carried) {
  for (int64_t age = call.ErrorsMax(carried.period);
       age < std::min<int64_t>(steps_held, kErrorsMax); ++age) {
    float& place = carried.errors[(call.end_step - age) % kErrorsMax];
    Slide(std::exchange(place, kNone), kNone, carried.ranks);
  }
}

// Whether the errors before the new steps are other ones than they were.
bool CameLate(const Call& call, int64_t s, int64_t new_steps, const Carried& carried) {
  const int64_t end = std::min(call.ErrorsMax(carried.period), new_steps + kLateSteps);
  for (int64_t back = new_steps; back < end; ++back) {
    const float now = ErrorOf(call, s, call.length - 1 - back, carried.period).value;
    const float then = carried.errors[(call.end_step - back) % kErrorsMax];
    if (now != then && !(std::isnan(now) && std::isnan(then))) return true;
  }
  return false;
}

bool AnySample(const Call& call, int64_t s, int64_t steps) {
  for (int64_t row = std::max<int64_t>(0, call.length - steps); row < call.length; ++row) {
    if (!std::isnan(call.sample(row, s))) return true;
  }
  return false;
}

void Follow(const Call& call, int64_t s, int64_t new_steps, int64_t length_before,
            SeasonalState& state, Scratch& scratch, QuantileBlock& out) {
  Carried& carried = state.series[s];
  int64_t& last_step = state.last_step[s];
  const int64_t start_step = call.end_step - call.length + 1;
  const bool is_known = !carried.errors.empty();
  const bool goes_on = is_known && carried.period == call.Period(s) &&
                       carried.oldest_step >= start_step && !CameLate(call, s, new_steps, carried);
  if (is_known ? !goes_on : AnySample(call, s, new_steps + kLateSteps)) {
    return ForecastAnew(call, s, &last_step, &carried, scratch, out);
  }
  if (is_known) {
    for (int64_t row = call.length - new_steps; row < call.length; ++row) {
      Push(call, s, row, last_step, carried);
    }
    DropOldest(call, length_before - carried.period + new_steps, carried);
  }
  if (last_step < start_step) {
    carried = {};
    return WriteMissing(ForecastStatus::kNoHistory, s, out);
  }
  Settle(carried.errors, carried.ranks);
  Write(
      call, s, [&](float magnitude) { return OffsetsOf(carried.ranks, magnitude); }, scratch, out);
}

class SeasonalNaive : public Forecaster {
 public:
  std::string_view name() const override { return "seasonal-naive"; }
  int MaxSteps(int64_t step_ms) const override { return step_ms > 0 ? kStepsMax : 0; }

  absl::Status Forecast(const History& history, int steps, QuantileBlock& out) const override {
    return Run(history, steps, nullptr, out);
  }

  bool carries() const override { return true; }

  absl::Status Continue(const History& history, int steps, std::any& carried,
                        QuantileBlock& out) const override {
    if (std::any_cast<SeasonalState>(&carried) == nullptr) carried = SeasonalState{};
    return Run(history, steps, std::any_cast<SeasonalState>(&carried), out);
  }

 private:
  static absl::Status Run(const History& history, int steps, SeasonalState* state,
                          QuantileBlock& out) {
    if (absl::Status status = CheckHistory(history, steps, kStepsMax); !status.ok()) return status;
    const Call call{history, history.values.steps, kEpochSteps + history.end_ms / history.step_ms,
                    steps};
    const int64_t series = history.values.series;
    out.Resize(series, steps);
    const int64_t new_steps = state == nullptr ? 0 : NewSteps(call, *state);
    const int64_t length_before = new_steps == 0 ? 0 : state->length;
    int64_t known = 0;
    if (state != nullptr) {
      if (new_steps == 0) *state = SeasonalState{history.step_ms, 0, 0, {}, {}};
      known = std::ssize(state->series);
      state->end_step = call.end_step;
      state->length = call.length;
      state->series.resize(static_cast<size_t>(series));
      state->last_step.resize(static_cast<size_t>(series), kNever);
    }
    const int threads = ThreadCount(0);
    std::vector<Scratch> scratches(static_cast<size_t>(threads));
    ForChunks(series, kChunkSeries, threads, [&](int64_t first, int64_t last, int worker) {
      for (int64_t s = first; s < last; ++s) {
        Scratch& scratch = scratches[worker];
        if (s < known) {
          Follow(call, s, new_steps, length_before, *state, scratch, out);
        } else if (state != nullptr) {
          ForecastAnew(call, s, &state->last_step[s], &state->series[s], scratch, out);
        } else {
          ForecastAnew(call, s, nullptr, nullptr, scratch, out);
        }
      }
    });
    return absl::OkStatus();
  }

  // Steps of the history that follow the state; 0 = all is made anew.
  static int64_t NewSteps(const Call& call, const SeasonalState& state) {
    if (state.step_ms != call.history.step_ms ||
        std::ssize(state.series) > call.history.values.series) {
      return 0;
    }
    const int64_t steps = call.end_step - state.end_step;
    return steps > 0 && steps <= kLateSteps && steps < call.length ? steps : 0;
  }
};

}  // namespace

std::shared_ptr<const Forecaster> MakeSeasonalNaive() { return std::make_shared<SeasonalNaive>(); }

}  // namespace foreshadow::models
